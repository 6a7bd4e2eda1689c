from __future__ import annotations

import copy

import numpy as np
import pytest

from peer.audio.decoders import create_decoder
from peer.audio.encoders import EncodedPacket, Packetizer, audio_level
from peer.audio.opus import packet_has_fec, packet_samples
from peer.audio.opus_settings import OpusSettings
from tests.audio.pipe import G722, OPUS, PCMA, PCMU
from tests.audio.signals import frequency, tone, voice


def push_all(
    packetizer: Packetizer, samples: np.ndarray, rate: int, size: int | None = None, pts: int = 0
) -> list[EncodedPacket]:
    size = size or rate // 50
    out = []
    for begin in range(0, len(samples) - size + 1, size):
        out += packetizer.push(samples[begin : begin + size], rate, pts + begin)
    return out


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("codec", [OPUS, PCMU, PCMA, G722], ids=lambda codec: codec.name)
def test_any_rate_goes_out_in_any_codec_at_the_right_pitch(rate: int, codec: object) -> None:
    packets = push_all(Packetizer(codec, OpusSettings()), tone(1.0, rate), rate)  # type: ignore[arg-type]
    decoder = create_decoder(codec)  # type: ignore[arg-type]
    heard = np.concatenate([decoder.decode(packet.payload) for packet in packets])
    assert len(heard) / decoder.sample_rate == pytest.approx(1.0, abs=0.045)
    assert frequency(heard[len(heard) // 4 :], decoder.sample_rate) == pytest.approx(440, abs=3)
    steps = np.diff([packet.timestamp for packet in packets])
    assert set(steps) == {decoder.clock_rate // 50}


@pytest.mark.parametrize("ptime", [10, 20, 40, 60])
def test_packets_are_as_long_as_was_agreed(ptime: int) -> None:
    packets = push_all(Packetizer(OPUS, OpusSettings(ptime=ptime)), tone(1.2), 48000)  # type: ignore[arg-type]
    assert {packet_samples(packet.payload) for packet in packets} == {48 * ptime}
    assert set(np.diff([packet.timestamp for packet in packets])) == {48 * ptime}
    assert len(packets) == 1200 // ptime


def test_blocks_of_any_size_make_the_same_packets() -> None:
    whole = push_all(Packetizer(OPUS, OpusSettings()), tone(0.5), 48000)
    uneven = push_all(Packetizer(OPUS, OpusSettings()), tone(0.5), 48000, size=333)
    assert [p.payload for p in uneven] == [p.payload for p in whole[: len(uneven)]]


def test_a_jump_in_the_input_is_a_jump_of_the_timestamp() -> None:
    packetizer = Packetizer(OPUS, OpusSettings())
    before = push_all(packetizer, tone(0.1, 24000), 24000)
    after = push_all(packetizer, tone(0.1, 24000), 24000, pts=2400 + 12000)
    assert after[0].timestamp - before[-1].timestamp == 960 + 24000
    assert after[0].marker


def test_rounding_in_the_inputs_times_does_not_reach_the_output() -> None:
    packetizer = Packetizer(OPUS, OpusSettings())
    out = []
    for i in range(50):
        out += packetizer.push(tone(0.02), 48000, i * 960 + (-7 if i % 2 else 5))
    assert set(np.diff([packet.timestamp for packet in out])) == {960}


def test_another_track_goes_on_where_the_clock_is() -> None:
    packetizer = Packetizer(OPUS, OpusSettings())
    before = push_all(packetizer, tone(0.1), 48000)
    packetizer.restart(2.0)
    after = push_all(packetizer, tone(0.1, 16000), 16000, pts=10**9)
    assert after[0].timestamp - before[-1].timestamp == 960 + 96000


def test_fec_is_sent_while_the_far_end_reports_loss() -> None:
    packetizer = Packetizer(OPUS, OpusSettings())
    assert not any(packet_has_fec(p.payload) for p in push_all(packetizer, voice(0.5), 48000))
    packetizer.report_loss(0.1)
    protected = [packet_has_fec(p.payload) for p in push_all(packetizer, voice(0.5), 48000, pts=24000)]
    assert sum(protected[3:]) > 0.6 * len(protected[3:])
    for _ in range(8):
        packetizer.report_loss(0.0)
    later = push_all(packetizer, voice(0.5), 48000, pts=48000)
    assert not any(packet_has_fec(p.payload) for p in later[3:])


def test_no_fec_where_it_was_not_agreed() -> None:
    packetizer = Packetizer(OPUS, OpusSettings().for_remote({"useinbandfec": 0}))
    packetizer.report_loss(0.2)
    assert not any(packet_has_fec(p.payload) for p in push_all(packetizer, voice(0.5), 48000))


def test_dtx_sends_next_to_nothing_in_silence_and_marks_what_comes_after() -> None:
    packetizer = Packetizer(OPUS, OpusSettings(dtx=True))
    spoken = push_all(packetizer, voice(0.5), 48000)
    silent = push_all(packetizer, np.zeros((96000, 1), np.int16), 48000, pts=24000)
    assert len(spoken) == 25
    assert len(silent) < 35
    again = push_all(packetizer, voice(0.5), 48000, pts=120000)
    assert any(packet.marker for packet in again[:2])
    assert again[-1].timestamp - spoken[-1].timestamp == 24000 + 96000


def test_a_lower_bitrate_makes_smaller_packets() -> None:
    def size(bitrate: int) -> int:
        packetizer = Packetizer(OPUS, OpusSettings(bitrate=bitrate))
        return sum(len(packet.payload) for packet in push_all(packetizer, voice(1.0), 48000))

    assert size(12000) < 0.5 * size(48000)


def test_stereo_is_sent_only_where_both_want_it() -> None:
    stereo = np.concatenate((tone(0.2), tone(0.2, frequency=880)), axis=1)
    for channels, flag in ((1, 0), (2, 4)):
        settings = OpusSettings(channels=channels).for_remote({"stereo": 1})  # type: ignore[arg-type]
        packets = push_all(Packetizer(OPUS, settings), stereo, 48000)
        assert packets[-1].payload[0] & 4 == flag


def test_a_track_may_change_its_format() -> None:
    packetizer = Packetizer(OPUS, OpusSettings())
    out = push_all(packetizer, tone(0.2, 16000), 16000)
    out += push_all(packetizer, np.repeat(tone(0.2), 2, axis=1), 48000, pts=9600)
    assert set(np.diff([packet.timestamp for packet in out])) == {960}


@pytest.mark.parametrize(("amplitude", "level"), [(32767, 3), (3277, 23), (1, 93), (0, 127)])
def test_the_level_is_in_decibels_below_overload(amplitude: int, level: int) -> None:
    assert audio_level(tone(0.1, amplitude=amplitude)) == pytest.approx(level, abs=2)


def test_an_unknown_codec_is_refused_in_words() -> None:
    codec = copy.copy(OPUS)
    codec.mimeType = "audio/telephone-event"
    with pytest.raises(ValueError, match="telephone-event"):
        create_decoder(codec)
