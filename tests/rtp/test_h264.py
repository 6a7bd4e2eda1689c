"""Which forms of H.264 are one format, and which level is agreed on."""

from __future__ import annotations

import pytest

from peer.rtp.h264 import H264Format, H264Profile

P = H264Profile


@pytest.mark.parametrize(
    ("told", "profile", "level"),
    [
        ("42e01f", P.CONSTRAINED_BASELINE, 31),
        ("42C02A", P.CONSTRAINED_BASELINE, 42),
        ("424015", P.CONSTRAINED_BASELINE, 21),
        ("4d801f", P.CONSTRAINED_BASELINE, 31),
        ("58c01f", P.CONSTRAINED_BASELINE, 31),
        ("42001f", P.BASELINE, 31),
        ("58801f", P.BASELINE, 31),
        ("4d001f", P.MAIN, 31),
        ("4d401e", P.MAIN, 30),
        ("4d0033", P.MAIN, 51),
        ("64001f", P.HIGH, 31),
        ("640c34", P.CONSTRAINED_HIGH, 52),
        ("42f00b", P.CONSTRAINED_BASELINE, 9),  # level 1b, by a constraint flag
        ("42e00b", P.CONSTRAINED_BASELINE, 11),
        ("640009", P.HIGH, 9),
    ],
)
def test_a_profile_level_id_is_read_by_its_constraints(told: str, profile: H264Profile, level: int) -> None:
    read = H264Format.of({"profile-level-id": told})
    assert (read.profile, read.level) == (profile, level)


@pytest.mark.parametrize("told", ["", "zz", "42e01", "42e01f0", "f4001f", "7a001f", "64081f", "42e0１f"])
def test_what_is_no_profile_of_ours_is_refused(told: str) -> None:
    with pytest.raises(ValueError, match="profile"):
        H264Format.of({"profile-level-id": told})


@pytest.mark.parametrize("mode", ["2", "", "x", None, "01"])
def test_a_mode_that_is_neither_0_nor_1_is_refused(mode: str | None) -> None:
    with pytest.raises(ValueError, match="packetization-mode"):
        H264Format.of({"packetization-mode": mode})


def test_who_says_nothing_takes_one_unit_in_a_packet() -> None:
    assert H264Format.of({}).key == (P.CONSTRAINED_BASELINE, 0)


@pytest.mark.parametrize(
    ("theirs", "asymmetric", "level"),
    [
        ("42e00a", True, 31),
        ("42e00a", False, 10),
        ("42e033", False, 31),
        ("42f00b", False, 9),
        ("42e00b", False, 11),
    ],
)
def test_the_level_is_the_lower_one_unless_both_let_the_two_differ(
    theirs: str, asymmetric: bool, level: int
) -> None:
    told = {"profile-level-id": theirs, "level-asymmetry-allowed": str(int(asymmetric))}
    assert H264Format.of(told).agreed().level == level


@pytest.mark.parametrize("profile", list(P))
@pytest.mark.parametrize("level", [9, 10, 11, 31, 51])
@pytest.mark.parametrize("mode", [0, 1])
def test_what_is_written_reads_the_same(profile: H264Profile, level: int, mode: int) -> None:
    written = H264Format(profile, mode, level)
    assert H264Format.of(written.parameters) == written
