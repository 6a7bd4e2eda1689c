from __future__ import annotations

import random

import numpy as np
import pytest

from peer.audio.decoders import OpusAudioDecoder
from peer.audio.opus import OpusEncoder, Pcm
from peer.audio.playout import PHASE_LIMIT_SECONDS
from tests.audio.signals import loudness, roughness, voice
from tests.audio.trace import DELAY, Arrival, RampDecoder, jittered, lossy, play, steady


def numbers(samples: Pcm) -> list[int]:
    """The packets heard, in order, each once."""
    flat = samples[:, 0]
    change = np.flatnonzero(np.diff(flat)) + 1
    return [int(value) - 1 for value in flat[np.concatenate(([0], change))]]


def test_a_perfect_network_costs_a_few_milliseconds() -> None:
    heard = play(steady(20))
    assert heard.median_age(begin=5) < DELAY + 0.020
    assert not any(heard.concealed)
    order = numbers(heard.samples)
    assert order == list(range(order[0], order[0] + len(order)))


def test_every_block_is_twenty_milliseconds_and_none_is_missing() -> None:
    heard = play(lossy(jittered(steady(20), lambda at, chance: chance.uniform(0, 0.05)), 0.1))
    assert all(len(block) == 160 for block in heard.blocks)
    assert np.diff(heard.at).max() < 0.0205


def test_jitter_makes_the_delay_grow_and_its_end_makes_it_shrink() -> None:
    arrivals = jittered(steady(30), lambda at, chance: chance.uniform(0, 0.030) if at < 15 else 0.0)
    heard = play(arrivals)
    assert heard.median_age(begin=5, end=15) < DELAY + 0.060
    assert sum(heard.concealed) <= 5
    assert heard.median_age(begin=19.5, end=20.5) < DELAY + 0.030


def test_single_losses_are_recovered_from_fec_without_growing_the_delay() -> None:
    heard = play(lossy(steady(60), 0.03), RampDecoder(fec=True))
    counters = heard.playout.counters
    assert heard.median_age(begin=5) < DELAY + 0.050
    assert counters.fec_packets > 60
    # Before the first losses are known nothing waits for FEC; after that only two in a row need concealing.
    assert sum(heard.concealed) < 0.015 * len(heard.concealed)


def test_without_fec_a_lost_packet_is_concealed_and_the_next_is_on_time() -> None:
    arrivals = [arrival for arrival in steady(10) if arrival.number != 200]
    heard = play(arrivals)
    assert heard.concealed.count(True) == 1
    assert 200 not in numbers(heard.samples)
    assert heard.median_age(begin=8) == pytest.approx(heard.median_age(begin=2, end=4), abs=0.002)


def test_swapped_packets_are_played_in_order_once_they_are_expected() -> None:
    arrivals = steady(20)
    for i in range(100, 900, 20):
        arrivals[i].at += 0.025  # overtaken by the next
    heard = play(arrivals)
    order = [number for number in numbers(heard.samples) if number >= 0]
    assert order == sorted(order)
    assert sum(heard.concealed) <= 8
    assert not any(heard.concealed[400:])
    assert heard.playout.buffer.counters.reordered == 40


def test_a_late_packet_is_played_if_nothing_has_taken_its_place() -> None:
    arrivals = steady(4)
    for arrival in arrivals[100:]:
        arrival.at += 0.045  # another route, from one packet to the next
    heard = play(arrivals)
    order = [number for number in numbers(heard.samples) if number >= 0]
    assert order == list(range(order[0], order[0] + len(order)))
    assert 2 <= sum(heard.concealed) <= 4


def held_up(arrivals: list[Arrival], *outages: float, lasting: float) -> list[Arrival]:
    """What would have come during these times comes at their end, all at once."""
    return [
        Arrival(next((at + lasting for at in outages if at <= a.at < at + lasting), a.at), a.number)
        for a in arrivals
    ]


def test_after_an_outage_that_stands_alone_the_delay_is_back_within_a_second() -> None:
    for lasting in (0.1, 0.3, 0.6):
        heard = play(held_up(steady(20), 10.0, lasting=lasting))
        before = heard.median_age(begin=5, end=9.9)
        assert heard.median_age(begin=11, end=11.5) < before + 0.010
        assert heard.median_age(begin=12) < before + 0.005


def test_speech_held_up_in_an_outage_is_caught_up_with_without_clicks() -> None:
    encoder = OpusEncoder(48000)
    said = voice(20.0)
    payloads = [encoder.encode(said[i : i + 960]) for i in range(0, len(said) - 959, 960)]
    arrivals = held_up(steady(len(payloads) * 0.02), 10.0, lasting=0.3)
    heard = play(arrivals, OpusAudioDecoder(), payload=payloads.__getitem__)
    assert heard.median_age(begin=13) < heard.median_age(begin=5, end=9.9) + 0.010
    assert roughness(heard.samples[11 * 48000 :]) < 6000


def test_outages_that_keep_coming_are_waited_for() -> None:
    outages = [5 + 0.5 * i for i in range(60)]
    heard = play(held_up(steady(40), *outages, lasting=0.1))
    later = [concealed for at, concealed in zip(heard.at, heard.concealed, strict=True) if at > 15]
    assert sum(later) < 0.02 * len(later)


def test_a_pause_that_shifts_all_that_follows_is_no_outage() -> None:
    arrivals = [Arrival(a.at + (0.2 if a.at >= 10 else 0.0), a.number) for a in steady(20)]
    heard = play(arrivals)
    assert heard.median_age(begin=12) == pytest.approx(heard.median_age(begin=5, end=9.9) + 0.2, abs=0.03)
    assert sum(heard.concealed) <= 12


def test_a_long_outage_is_not_made_up_for() -> None:
    arrivals = steady(30)
    for arrival in arrivals[500:750]:
        arrival.at = 15.0 + DELAY - 0.002 + arrival.number * 1e-6
    heard = play(arrivals)
    assert heard.median_age(begin=20) < DELAY + 0.050
    playout = heard.playout
    assert playout.counters.skipped_packets + playout.buffer.counters.overflowed > 150


def test_silence_from_the_sender_is_filled_for_as_long_as_it_lasts() -> None:
    arrivals = [arrival for arrival in steady(20) if not 200 <= arrival.number < 500]
    heard = play(arrivals)
    assert len(heard.blocks) == pytest.approx(20 * 50, abs=5)
    assert numbers(heard.samples)[-1] > 950
    assert heard.median_age(begin=15) < DELAY + 0.040
    # The pause lasted as long as it was: what comes after it is heard at its own time.
    first = next(i for i, block in enumerate(heard.blocks) if block.max() > 500)
    assert heard.at[first] == pytest.approx(500 * 0.02 + heard.median_age(begin=15), abs=0.045)


def test_a_sender_that_pauses_without_advancing_its_timestamps_is_played_on() -> None:
    arrivals = steady(4) + [Arrival(a.at + 6.0, a.number) for a in steady(8)[200:]]
    heard = play(arrivals)
    order = [number for number in numbers(heard.samples) if number >= 0]
    assert order == sorted(order)
    assert order[-1] > 390
    assert heard.playout.counters.skipped_packets <= 2


def test_a_sender_that_begins_anew_is_followed_at_once() -> None:
    playout_from = play(steady(2)).playout
    for i in range(100):
        now = 3.0 + i * 0.02
        playout_from.insert(30000 + i, 4_000_000_000 + i * 160, RampDecoder.payload(7000 + i), now)
        block = playout_from.take(now + 0.010)
    assert block.samples.max() > 7000
    assert playout_from.buffer.counters.resets == 1


def test_an_application_may_ask_for_a_longer_delay() -> None:
    heard = play(steady(10), minimum_delay=0.150)
    assert heard.median_age(begin=5) == pytest.approx(DELAY + 0.150, abs=0.025)


def test_the_statistics_tell_how_long_packets_wait() -> None:
    known = play(lossy(steady(20), 0.05)).playout.statistics()
    assert known["jitterBufferDelay"] / known["jitterBufferEmittedCount"] < 0.030
    assert known["jitterBufferTargetDelay"] / known["jitterBufferEmittedCount"] < 0.010
    assert known["concealedSamples"] / known["totalSamplesReceived"] == pytest.approx(0.05, abs=0.02)
    assert 30 < known["concealmentEvents"] < 60


@pytest.mark.parametrize("size", [80, 160, 320, 480])
def test_packets_of_ten_to_sixty_milliseconds_are_played(size: int) -> None:
    arrivals = steady(10, size=size)
    heard = play(arrivals, size=size)
    assert not any(heard.concealed[10:])
    assert heard.median_age(begin=5) < DELAY + 0.030 + size / 8000


def test_a_packet_that_cannot_be_decoded_counts_as_lost() -> None:
    def payload(number: int) -> bytes:
        return b"rubbish" if number % 50 == 49 else RampDecoder.payload(number)

    heard = play(steady(10), payload=payload)
    assert heard.playout.counters.undecodable_packets >= 9
    assert 8 <= sum(heard.concealed) <= 20
    assert heard.median_age(begin=8) < DELAY + 0.050


@pytest.mark.slow
@pytest.mark.parametrize("drift", [100e-6, -100e-6])
def test_an_hour_of_clock_drift_neither_grows_nor_leaves_gaps(drift: float) -> None:
    arrivals = steady(3600, drift=drift, size=480)  # packets of 60 ms: a third of the work
    heard = play(arrivals, size=480, drift=drift, keep_samples=False)
    ages = np.array(heard.age)
    assert not any(heard.concealed)
    assert ages.max() < DELAY + 0.100
    assert np.median(ages[-5000:]) == pytest.approx(np.median(ages[5000:10000]), abs=0.012)
    # A third of a second more (or less) was said than this clock has room for.
    counters = heard.playout.counters
    excess = counters.removed_samples - counters.inserted_samples
    assert excess / 8000 == pytest.approx(3600 * drift, abs=0.06)


def test_ticks_stay_on_this_machines_clock() -> None:
    heard = play(jittered(steady(60, drift=200e-6), lambda at, chance: chance.uniform(0, 0.02)), drift=200e-6)
    elapsed = heard.at[-1] - heard.at[0]
    assert elapsed == pytest.approx((len(heard.at) - 1) * 0.020, abs=PHASE_LIMIT_SECONDS + 1e-6)


def opus_speech(seconds: float) -> tuple[Pcm, list[bytes]]:
    said = voice(seconds)
    encoder = OpusEncoder(48000)
    encoder.set_bitrate(40000)
    encoder.set_fec(True)
    encoder.set_expected_loss(10)
    encoder.set_signal("voice")
    return said, [encoder.encode(said[i : i + 960]) for i in range(0, len(said), 960)]


@pytest.mark.slow
def test_speech_through_loss_and_jitter_has_no_clicks() -> None:
    said, packets = opus_speech(20.0)
    arrivals = lossy(jittered(steady(20), lambda at, chance: chance.uniform(0, 0.02)), 0.1)
    heard = play(arrivals, OpusAudioDecoder(), payload=lambda number: packets[number])
    samples = heard.samples
    assert heard.playout.counters.concealment_events > 5
    assert roughness(samples) < 0.15 * np.abs(said).max()
    assert loudness(samples) == pytest.approx(loudness(said), rel=0.15)


def test_speech_sped_up_after_jitter_has_no_clicks() -> None:
    said, packets = opus_speech(12.0)

    def lateness(at: float, chance: random.Random) -> float:
        return chance.uniform(0, 0.120) if at < 5 else 0.0

    heard = play(jittered(steady(12), lateness), OpusAudioDecoder(), payload=lambda number: packets[number])
    assert heard.playout.counters.removed_samples > 0.05 * 48000
    assert heard.median_age(begin=10.5) < DELAY + 0.040
    late = heard.samples[int(5.5 * 48000) :]
    assert roughness(late) < 0.15 * np.abs(said).max()
