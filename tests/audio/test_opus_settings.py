from __future__ import annotations

import pytest

from peer.audio.opus_settings import OpusSettings


def test_the_default_offers_fec_and_mono() -> None:
    assert OpusSettings().format_parameters() == {"minptime": 10, "useinbandfec": 1}


def test_wishes_are_offered() -> None:
    settings = OpusSettings(
        channels=2, dtx=True, fec=False, max_average_bitrate=20000, max_playback_rate=16000
    )
    assert settings.format_parameters() == {
        "minptime": 10,
        "useinbandfec": 0,
        "usedtx": 1,
        "stereo": 1,
        "sprop-stereo": 1,
        "maxaveragebitrate": 20000,
        "maxplaybackrate": 16000,
    }


def test_the_far_end_limits_what_is_sent() -> None:
    ours = OpusSettings(channels=2, bitrate=64000, dtx=True, ptime=60)
    sent = ours.for_remote({"maxaveragebitrate": "20000", "useinbandfec": 1, "maxptime": 40, "minptime": 10})
    assert (sent.bitrate, sent.fec, sent.ptime) == (20000, True, 40)
    assert sent.channels == 1
    assert not sent.dtx


def test_the_far_end_must_ask_for_stereo_dtx_and_fec() -> None:
    sent = OpusSettings(channels=2, dtx=True).for_remote({"stereo": 1, "usedtx": 1})
    assert (sent.channels, sent.dtx, sent.fec) == (2, True, False)


def test_nonsense_in_a_description_changes_nothing() -> None:
    ours = OpusSettings()
    sent = ours.for_remote({"maxaveragebitrate": "lots", "ptime": None, "stereo": "yes", "useinbandfec": 1})
    assert sent == ours


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 3},
        {"bitrate": 100},
        {"ptime": 30},
        {"complexity": 11},
        {"application": "radio"},
        {"signal": "noise"},
        {"max_average_bitrate": 1},
    ],
)
def test_impossible_wishes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OpusSettings(**wrong)  # type: ignore[arg-type]
