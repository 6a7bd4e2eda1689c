"""Sound of any format, made into even frames on one time line."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from av import AudioFrame, AudioResampler

__all__ = ["BYTES_PER_SAMPLE", "RATE", "SoundFrames", "sound_frame"]

RATE: Final = 48000
BYTES_PER_SAMPLE: Final = 4
"""Of 16-bit stereo."""
_SIZE: Final = RATE // 50
_TOLERANCE: Final = _SIZE
"""Samples by which time stamps may be off before silence fills a gap or doubled sound is cut."""
_LONGEST_SILENCE: Final = 60 * RATE


class SoundFrames:
    """Turns decoded sound into frames of 20 ms, 16-bit stereo at 48 kHz, whose `pts` counts samples without a gap.

    What is missing between two frames, by their time, is filled with silence; what is there twice is cut.
    `begin` is the time of the first frame in seconds.
    """

    def __init__(self, begin: float = 0.0, size: int = _SIZE) -> None:
        self._position = round(begin * RATE)
        """Of the first sample in `_samples`."""
        self._samples = bytearray()
        self._size = size
        self._resampler: AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None

    @property
    def end(self) -> float:
        """The time in seconds up to which there is sound."""
        return (self._position + len(self._samples) // BYTES_PER_SAMPLE) / RATE

    def push(self, frame: AudioFrame, time: float | None) -> Iterator[AudioFrame]:
        """Take a frame that begins at `time` seconds, or directly after the last; give the frames that are full."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._format:
            self._append(self._rest())
            self._format = form
            self._resampler = AudioResampler("s16", "stereo", RATE)
        assert self._resampler is not None
        if time is not None:
            missing = round(time * RATE) - self._position - len(self._samples) // BYTES_PER_SAMPLE
        else:
            missing = 0
        cut = 0
        if missing > _TOLERANCE:
            for _ in range(min(missing, _LONGEST_SILENCE) // self._size):
                self._samples += bytes(self._size * BYTES_PER_SAMPLE)
                yield from self._full()
            self._samples += bytes(min(missing, _LONGEST_SILENCE) % self._size * BYTES_PER_SAMPLE)
        elif missing < -_TOLERANCE:
            cut = -missing * BYTES_PER_SAMPLE
        # The frame may be somebody else's too, and the resampler looks at its time stamp.
        self._append(self._resampler.resample(frame), cut)
        yield from self._full()

    def silence_until(self, time: float) -> Iterator[AudioFrame]:
        """Give silence up to `time` seconds."""
        missing = round(time * RATE) - self._position - len(self._samples) // BYTES_PER_SAMPLE
        if missing > 0:
            self._samples += bytes(missing * BYTES_PER_SAMPLE)
        yield from self._full()

    def flush(self, pad: bool = True) -> Iterator[AudioFrame]:
        """Give what is left; the last frame is filled up with silence, or, without `pad`, shorter."""
        self._append(self._rest())
        yield from self._full()
        if self._samples:
            if pad:
                self._samples += bytes(self._size * BYTES_PER_SAMPLE - len(self._samples))
            yield self._take(len(self._samples))

    def _rest(self) -> list[AudioFrame]:
        return [] if self._resampler is None else self._resampler.resample(None)

    def _append(self, frames: list[AudioFrame], cut: int = 0) -> None:
        for frame in frames:
            data = memoryview(bytes(frame.planes[0]))[: frame.samples * BYTES_PER_SAMPLE]
            self._samples += data[cut:]
            cut = max(0, cut - len(data))

    def _full(self) -> Iterator[AudioFrame]:
        while len(self._samples) >= self._size * BYTES_PER_SAMPLE:
            yield self._take(self._size * BYTES_PER_SAMPLE)

    def _take(self, size: int) -> AudioFrame:
        frame = sound_frame(bytes(self._samples[:size]), self._position)
        del self._samples[:size]
        self._position += frame.samples
        return frame


def sound_frame(samples: bytes, pts: int) -> AudioFrame:
    """Make a frame of 16-bit stereo at 48 kHz; `pts` in samples."""
    frame = AudioFrame(format="s16", layout="stereo", samples=len(samples) // BYTES_PER_SAMPLE)
    frame.planes[0].update(samples)
    frame.sample_rate = RATE
    frame.time_base = Fraction(1, RATE)
    frame.pts = pts
    return frame
