"""From packets that come when they like to 20 ms of samples every 20 ms.

Theory of operation
-------------------
`insert` takes packets, `take` gives one block; both are told the time, neither waits. Every packet has a *lateness
budget*: it is needed at the tick whose block begins to use its samples. `delay`, that tick minus the packet's RTP
time, is compared with what the jitter buffer says is late enough, the *target*:

| situation at a tick                                  | what happens                                             |
|------------------------------------------------------|----------------------------------------------------------|
| the next packet is there                             | decode it                                                |
| it is missing, the one after it is there with FEC    | decode its low-rate copy                                 |
| it is missing, a later one is there                  | conceal it: it counts as lost; go on behind it           |
| nothing is there                                     | conceal, without giving the missing packet up: if it     |
|                                                      | still comes it is played (the delay has grown by that    |
|                                                      | much), if a later one comes the concealment stands for it|
| nothing is there, and the sender said so (DTX)       | comfort noise                                            |
| delay far above the target                           | take pitch periods out, until a packet's worth is gone   |
| delay below the target                               | repeat pitch periods, until a packet's worth has come    |
| delay a few milliseconds off                         | shift the phase of the ticks, within ±10 ms              |

So the output runs at this machine's clock, exactly, but for the few milliseconds a block may be taken before its tick
when what it needs has just come (`is_ready`). A sender whose clock is faster or slower is followed by the same rules,
an inaudible pitch period every minute or so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .decoders import AudioDecoder, DecodeError
from .jitter_buffer import AudioPacket, JitterBuffer
from .opus import Pcm
from .timestretch import MIN_LAG_SECONDS, QUIET_RMS, lengthen, rms, shorten

BLOCK_SECONDS = 0.020
MARGIN_SECONDS = 0.005
"""Beyond the measured quantile: timers and the loop are not exact either."""
SHRINK_ABOVE_SECONDS = 0.022
SHRINK_AT_LIMIT_SECONDS = 0.015
GROW_BELOW_SECONDS = 0.008
PHASE_LIMIT_SECONDS = 0.010
PHASE_STEP_SECONDS = 0.00025
SKIP_ABOVE_SECONDS = 0.25
"""After an outage, what is this much too old is passed over instead of being caught up with."""
SILENT_AFTER_SECONDS = 0.4
"""Concealment has faded out by then; plain silence is cheaper."""


@dataclass(slots=True)
class PlayoutBlock:
    """20 ms of output."""

    samples: Pcm
    """Shape (frames, channels)."""
    timestamp: float | None
    """RTP time of the first sample (unwrapped, in ticks of the RTP clock); None in a long silence."""
    concealed: bool
    """Something in here was made up for lost audio. FEC and comfort noise do not count."""


@dataclass(slots=True)
class PlayoutCounters:
    """W3C names it `RTCInboundRtpStreamStats`; here in samples of the decoder's rate and in packets."""

    total_samples: int = 0
    concealed_samples: int = 0
    silent_concealed_samples: int = 0
    concealment_events: int = 0
    inserted_samples: int = 0
    removed_samples: int = 0
    comfort_noise_samples: int = 0
    fec_packets: int = 0
    decoded_packets: int = 0
    undecodable_packets: int = 0
    skipped_packets: int = 0
    delay_sum: float = 0.0
    """Seconds packets waited, summed over the samples they gave (W3C `jitterBufferDelay`)."""
    target_sum: float = 0.0
    """The same of the delay aimed at (W3C `jitterBufferTargetDelay`)."""
    emitted: int = 0


class Playout:
    """One stream's way from packets to samples. No clock, no I/O; see the module's page."""

    def __init__(self, decoder: AudioDecoder, *, margin: float = MARGIN_SECONDS) -> None:
        self.decoder = decoder
        self.buffer = JitterBuffer(decoder.clock_rate)
        self.counters = PlayoutCounters()
        self.block_size = int(decoder.sample_rate * BLOCK_SECONDS)
        self.delay: float | None = None
        """What the newest packet decoded had to be early by: its tick minus its RTP time."""
        self.minimum_delay = 0.0
        """Seconds an undelayed packet waits at least: what the application wants as `jitterBufferTarget`."""
        self._margin = margin
        self._rate = decoder.sample_rate
        self._clock = decoder.clock_rate
        self._nothing: Pcm = np.zeros((0, decoder.channels), np.int16)
        self._pending = self._nothing
        self._pending_concealed = 0
        self._packet_samples = self.block_size
        self._head: float | None = None
        self._waited = 0
        self._fec_seen = False
        self._dtx = False
        self._concealing = False
        self._generation = 0
        self._correcting = 0
        self._phase = 0.0
        self._taken_at = 0.0
        self._aim: float | None = None

    def insert(
        self, sequence_number: int, timestamp: int, payload: bytes, now: float, *, timely: bool = True
    ) -> bool:
        """Take a packet; arguments as in `JitterBuffer.insert`. Empty payloads (probes, padding) are ignored."""
        if not payload:
            return False
        return self.buffer.insert(sequence_number, timestamp, payload, now, timely=timely)

    def target(self, now: float) -> float | None:
        """The delay aimed at, as an offset against RTP time; None before the first packet."""
        offset = self.buffer.latest_useful_offset()
        if offset is None:
            return None
        reserve = 0.0
        if self.buffer.losses.is_lossy(now) and self._fec_seen:
            reserve = self._packet_samples / self._rate
        wanted = offset + self._margin + reserve
        if self.minimum_delay:
            earliest = self.buffer.offsets.earliest
            assert earliest is not None
            return max(wanted, earliest + self.minimum_delay)
        return wanted

    @property
    def target_delay(self) -> float | None:
        """How long an undelayed packet is meant to wait, in seconds (W3C `jitterBufferTargetDelay`, per sample)."""
        earliest = self.buffer.offsets.earliest
        return None if earliest is None or self._aim is None else self._aim - earliest

    def statistics(self) -> dict[str, float]:
        """The members of the W3C's RTCInboundRtpStreamStats that the playout knows (webrtc-stats §8.2)."""
        counters, buffer = self.counters, self.buffer.counters
        return {
            "packetsDiscarded": buffer.late + buffer.overflowed + counters.skipped_packets,
            "totalSamplesReceived": counters.total_samples,
            "concealedSamples": counters.concealed_samples,
            "silentConcealedSamples": counters.silent_concealed_samples,
            "concealmentEvents": counters.concealment_events,
            "insertedSamplesForDeceleration": counters.inserted_samples,
            "removedSamplesForAcceleration": counters.removed_samples,
            "jitterBufferDelay": counters.delay_sum,
            "jitterBufferTargetDelay": counters.target_sum,
            "jitterBufferEmittedCount": counters.emitted,
        }

    def resynchronise(self, now: float) -> float | None:
        """Playing was suspended: go to the live edge, forgetting what waited too long.

        Returns when the next block is to be taken; None when there is nothing to play until a packet comes.
        """
        self._pending = self._pending[:0]
        self._pending_concealed = 0
        self._waited = 0
        self._correcting = 0
        target = self.target(now)
        if target is None:
            return None
        self.counters.skipped_packets += self.buffer.drop_before(int((now - target) * self._clock))
        first = self.buffer.peek()
        self.buffer.next_timestamp = None
        if first is None:
            return None
        self.buffer.next_timestamp = first.timestamp
        return max(first.timestamp / self._clock + target, now)

    def is_ready(self) -> bool:
        """Whether the packet that the next block begins to use is there, and is enough for it."""
        lacking = self.block_size - len(self._pending)
        packet = self.buffer.peek()
        return (
            packet is not None
            and packet.timestamp == self.buffer.next_timestamp
            and 0 < lacking <= self._packet_samples
        )

    def take(self, now: float, at: float | None = None) -> PlayoutBlock:
        """The next 20 ms, for the tick that is due at `now`; `at`: when it is really taken, if that is earlier."""
        self._taken_at = now if at is None else at
        if self.buffer.generation != self._generation:
            self._generation = self.buffer.generation
            self._waited = 0
            self._head = None
        decoded = False
        while len(self._pending) < self.block_size:
            decoded = self._produce(now) or decoded
        if decoded:
            self._aim = self.target(now)
            self.counters.target_sum += (self.target_delay or 0.0) * self._packet_samples
            self._steer(now)
        size = self.block_size
        if len(self._pending) == size:
            samples, self._pending = self._pending, self._nothing
        else:
            samples, self._pending = self._pending[:size], self._pending[size:]
        counters = self.counters
        counters.total_samples += size
        concealed = self._pending_concealed > 0
        self._pending_concealed = max(0, min(self._pending_concealed - size, len(self._pending)))
        timestamp = self._head
        if timestamp is not None:
            self._head = timestamp + size * self._clock / self._rate
        return PlayoutBlock(samples, timestamp, concealed)

    def phase_step(self, now: float) -> float:
        """How much later (or earlier, if negative) than 20 ms after this tick the next should be, in seconds."""
        target = self._aim
        if self.delay is None or self._correcting or target is None:
            return 0.0
        step = (target - self.delay) / 50
        step = min(max(step, -PHASE_STEP_SECONDS), PHASE_STEP_SECONDS)
        step = min(max(step, -PHASE_LIMIT_SECONDS - self._phase), PHASE_LIMIT_SECONDS - self._phase)
        self._phase += step
        return step

    def _produce(self, now: float) -> bool:
        """Append some samples to what is pending; returns whether a real packet was decoded."""
        buffer = self.buffer
        packet = buffer.peek()
        if packet is None:
            self._expand()
            return False
        if buffer.next_timestamp is None:
            buffer.next_timestamp = packet.timestamp
        gap = packet.timestamp - buffer.next_timestamp
        if self._waited and gap <= self._waited * self._clock // self._rate:
            packet = self._skip_stale(packet, now)
            return self._decode(packet, now)
        if gap <= 0:
            return self._decode(packet, now)
        missing = gap * self._rate // self._clock - self._waited
        unit = self._packet_samples
        if not self._dtx and missing <= unit and self.decoder.has_fec(packet.payload):
            self._fec_seen = True
            try:
                recovered = self.decoder.recover(packet.payload, unit)
            except DecodeError:
                pass
            else:
                self.counters.fec_packets += 1
                self._concealing = False
                self._append(recovered[-missing:])
                self._waited = 0
                buffer.next_timestamp = packet.timestamp
                return False
        # More than a few seconds ahead: the sender paused or dropped a stretch. Nobody waits that long.
        if gap > 5 * self._clock and not self._dtx:
            buffer.next_timestamp = packet.timestamp
            self._waited = 0
            return False
        self._expand(min(missing, unit))
        return False

    def _expand(self, samples: int | None = None) -> None:
        count = samples if samples is not None else self._packet_samples
        count = min(count, self.block_size)
        counters = self.counters
        if self._waited > SILENT_AFTER_SECONDS * self._rate and not self._dtx:
            made: Pcm = np.zeros((count, self.decoder.channels), np.int16)
            counters.silent_concealed_samples += count
        else:
            made = self.decoder.conceal(count)
        self._waited += count
        if self._dtx:
            counters.comfort_noise_samples += count
        else:
            counters.concealed_samples += count
            if not self._concealing:
                counters.concealment_events += 1
                self._concealing = True
            self._pending_concealed = len(self._pending) + count
        self._append(made)

    def _skip_stale(self, packet: AudioPacket, now: float) -> AudioPacket:
        """After an outage everything held up comes at once: go on near the live edge, not where it broke off."""
        target = self.target(now)
        if target is None:
            return packet
        oldest = int((now - target - SKIP_ABOVE_SECONDS) * self._clock)
        newest = self.buffer.newest_timestamp
        if packet.timestamp < oldest and newest is not None:
            self.counters.skipped_packets += self.buffer.drop_before(min(oldest, newest))
            kept = self.buffer.peek()
            assert kept is not None
            return kept
        return packet

    def _decode(self, packet: AudioPacket, now: float) -> bool:
        buffer, counters = self.buffer, self.counters
        buffer.pop()
        try:
            samples = self.decoder.decode(packet.payload)
        except DecodeError:
            counters.undecodable_packets += 1
            buffer.next_timestamp = packet.timestamp
            return False
        self._fec_seen = self._fec_seen or self.decoder.has_fec(packet.payload)
        count = len(samples)
        self._head = packet.timestamp - len(self._pending) * self._clock / self._rate
        self._append(samples)
        self._packet_samples = count
        self._waited = 0
        self._concealing = False
        self._dtx = self.decoder.is_dtx(packet.payload)
        self.delay = now - packet.timestamp / self._clock
        buffer.next_timestamp = packet.timestamp + count * self._clock // self._rate
        counters.decoded_packets += 1
        counters.delay_sum += max(self._taken_at - packet.arrived, 0.0) * count
        counters.emitted += count
        return True

    def _append(self, samples: Pcm) -> None:
        self._pending = samples if not len(self._pending) else np.concatenate((self._pending, samples))

    def _steer(self, now: float) -> None:
        """Bring the delay nearer to the target by stretching what is pending."""
        target = self._aim
        if target is None or self.delay is None:
            return
        error = self.delay - target
        smallest = int(self._rate * MIN_LAG_SECONDS)
        spare = (len(self._pending) - self.block_size) % self.block_size
        if self._correcting < 0 and spare >= smallest:
            self._shrink(error, spare, now)
        elif self._correcting > 0 and spare:
            self._grow(error, max(self.block_size - spare, 2 * smallest))
        elif error > SHRINK_ABOVE_SECONDS or (
            error > SHRINK_AT_LIMIT_SECONDS and self._phase <= PHASE_STEP_SECONDS - PHASE_LIMIT_SECONDS
        ):
            self._shrink(error, self.block_size, now)
        elif error < -GROW_BELOW_SECONDS or (
            error < -self._margin / 2 and self._phase >= PHASE_LIMIT_SECONDS - PHASE_STEP_SECONDS
        ):
            self._grow(error, self.block_size)
        else:
            self._correcting = 0
            if spare and int(self._pending[0, 0]) < QUIET_RMS and rms(self._pending) < QUIET_RMS:
                self._remove(spare, 1.0)  # what a correction left over only makes everything later

    def _shrink(self, error: float, most: int, now: float) -> None:
        spare = len(self._pending) - self.block_size
        if spare < int(self._rate * MIN_LAG_SECONDS):
            following = self.buffer.peek()
            if following is None or following.timestamp != self.buffer.next_timestamp:
                return
            self._decode(following, now)
            spare = len(self._pending) - self.block_size
        self._correcting = -1
        self._remove(min(most, spare), 0.85 if error < 0.03 else 0.6 if error < 0.1 else 0.3)

    def _remove(self, most: int, likeness: float) -> None:
        shorter, removed = shorten(self._pending, self._rate, most, likeness=likeness)
        if removed:
            self._pending = shorter
            self.counters.removed_samples += removed
            if self._head is not None:
                self._head += removed * self._clock / self._rate

    def _grow(self, error: float, most: int) -> None:
        likeness = 0.85 if error > -0.03 else 0.5
        longer, inserted = lengthen(self._pending, self._rate, most, likeness=likeness)
        if inserted:
            self._pending = longer
            self.counters.inserted_samples += inserted
            crossed = len(longer) - len(longer) % self.block_size > len(longer) - inserted
            self._correcting = 0 if crossed else 1
            if self._head is not None:
                self._head -= inserted * self._clock / self._rate
