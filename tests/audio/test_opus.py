from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.audio.opus import OpusDecoder, OpusEncoder, OpusError, packet_has_fec, packet_samples, version
from tests.audio.signals import frequency, loudness, roughness, tone, voice


def encoded(samples: np.ndarray, rate: int = 48000, **settings: object) -> list[bytes]:
    encoder = OpusEncoder(rate, samples.shape[1])
    for name, value in settings.items():
        getattr(encoder, f"set_{name}")(value)
    size = rate // 50
    return [encoder.encode(samples[i * size : (i + 1) * size]) for i in range(len(samples) // size)]


def test_the_library_in_use_says_its_version() -> None:
    assert version().startswith("libopus")


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_a_tone_keeps_its_pitch_and_level(rate: int) -> None:
    packets = encoded(tone(1.0, rate), rate, bitrate=40000)
    decoder = OpusDecoder(rate)
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert len(heard) == rate
    assert frequency(heard[rate // 4 :], rate) == pytest.approx(440, abs=2)
    assert loudness(heard[rate // 4 :]) == pytest.approx(loudness(tone(1.0, rate)), rel=0.1)


def test_both_channels_of_stereo_arrive_apart() -> None:
    left, right = tone(1.0, frequency=300), tone(1.0, frequency=900)
    packets = encoded(np.concatenate((left, right), axis=1), bitrate=96000)
    decoder = OpusDecoder(48000, 2)
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert frequency(heard[9600:, :1], 48000) == pytest.approx(300, abs=2)
    assert frequency(heard[9600:, 1:], 48000) == pytest.approx(900, abs=2)


def test_a_lost_packet_is_concealed_without_a_click() -> None:
    signal = voice(1.0)
    packets = encoded(signal, bitrate=40000)
    decoder = OpusDecoder()
    heard = [decoder.conceal(960) if i in (20, 33) else decoder.decode(p) for i, p in enumerate(packets)]
    assert all(len(block) == 960 for block in heard)
    assert loudness(heard[20]) > 0.3 * loudness(heard[19])
    # A step of a tenth of the loudness would be heard as a click.
    assert roughness(np.concatenate(heard)) < 0.1 * np.abs(signal).max()


def test_fec_brings_back_the_packet_before() -> None:
    signal = voice(1.0)
    packets = encoded(signal, bitrate=32000, fec=True, expected_loss=20, signal="voice")
    carrying = [i for i, packet in enumerate(packets) if packet_has_fec(packet)]
    assert len(carrying) > 25
    lost = carrying[20] - 1
    whole, holed, concealed = OpusDecoder(), OpusDecoder(), OpusDecoder()
    for packet in packets[:lost]:
        for decoder in (whole, holed, concealed):
            decoder.decode(packet)
    said = whole.decode(packets[lost]).astype(float)
    recovered = holed.recover(packets[lost + 1], 960).astype(float)
    assert loudness(recovered - said) < 0.5 * loudness(said)
    assert loudness(recovered - said) < loudness(concealed.conceal(960) - said)


def test_packets_without_fec_do_not_claim_it() -> None:
    assert not any(packet_has_fec(packet) for packet in encoded(voice(0.5), bitrate=32000, signal="music"))


def test_silence_with_dtx_costs_next_to_nothing() -> None:
    silence = np.zeros((48000, 1), np.int16)
    packets = encoded(silence, dtx=True, signal="voice")
    assert sum(len(packet) <= 2 for packet in packets) > len(packets) // 2


@pytest.mark.parametrize("ms", [10, 20, 40, 60])
def test_a_packet_knows_how_long_it_is(ms: int) -> None:
    encoder = OpusEncoder(48000)
    assert packet_samples(encoder.encode(tone(ms / 1000))) == 48 * ms


@given(st.binary(max_size=60))
def test_no_bytes_whatever_hurt_the_decoder(data: bytes) -> None:
    decoder = OpusDecoder()
    packet_has_fec(data)
    with contextlib.suppress(OpusError):
        assert decoder.decode(data).shape[1] == 1
    assert len(decoder.conceal(960)) == 960


def test_what_is_no_opus_frame_is_refused_in_words() -> None:
    with pytest.raises(OpusError, match="invalid argument"):
        OpusEncoder(48000).encode(np.zeros((961, 1), np.int16))
    with pytest.raises(ValueError, match="resample"):
        OpusEncoder(44100)
    with pytest.raises(OpusError, match="corrupted"):
        OpusDecoder().decode(b"")
