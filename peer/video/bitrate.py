"""How many bits a second suit a picture of a size, and which size suits a bitrate."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["BitrateRange", "bitrate_range", "fitting_size"]

_TABLE: Final = (
    # pixels, bit/s at the start, and at most
    (160 * 120, 120_000, 200_000),
    (320 * 240, 300_000, 600_000),
    (640 * 360, 600_000, 1_300_000),
    (640 * 480, 800_000, 1_700_000),
    (960 * 540, 1_000_000, 2_200_000),
    (1280 * 720, 1_500_000, 3_000_000),
    (1920 * 1080, 2_500_000, 5_000_000),
    (3840 * 2160, 6_000_000, 15_000_000),
)
BITS_PER_PIXEL_MIN: Final = 0.5
"""Bits per second for each pixel of the size, below which a smaller picture looks better: 150 kbit/s at 640x480."""
HYSTERESIS: Final = 1.5
"""How much more than that minimum there must be before the picture becomes larger again."""
SCALES: Final = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
SIDE_MIN: Final = 16
"""Pixels; x264 takes no less."""
SIDE_MAX: Final = 16_382
"""Pixels; VP8 has 14 bits for a side (RFC 6386 §9.1)."""


class BitrateRange(NamedTuple):
    """Bits per second for a picture, unless the application says otherwise."""

    start: int
    maximum: int


def bitrate_range(width: int, height: int) -> BitrateRange:
    """Return what a picture of a size takes: at the start, and at most, where more would hardly be seen."""
    pixels = max(1, width * height)
    before = _TABLE[0]
    if pixels <= before[0]:
        return BitrateRange(before[1], before[2])
    for row in _TABLE[1:]:
        if pixels <= row[0]:
            share = (pixels - before[0]) / (row[0] - before[0])
            return BitrateRange(
                round(before[1] + share * (row[1] - before[1])),
                round(before[2] + share * (row[2] - before[2])),
            )
        before = row
    return BitrateRange(before[1], before[2])


def fitting_size(
    width: int,
    height: int,
    bitrate: float,
    used: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Return the largest size, in the shape of the picture, that a bitrate (bits per second) does justice to.

    Sides are even, since 4:2:0 has a colour for two pixels each way. `used` is the size until now: it is kept until
    the bitrate is clearly above what the next larger one needs.
    """
    largest = _even(width, 1.0), _even(height, 1.0)
    for scale in SCALES:
        size = _even(width, scale), _even(height, scale)
        needed = BITS_PER_PIXEL_MIN * size[0] * size[1]
        if used is not None and size != used and size[0] * size[1] > used[0] * used[1]:
            needed *= HYSTERESIS
        if bitrate >= needed:
            return size
        largest = size
    return largest


def _even(side: int, scale: float) -> int:
    return min(SIDE_MAX, max(SIDE_MIN, int(side * scale) // 2 * 2))
