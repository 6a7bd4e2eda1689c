"""Fragments become messages, and ordered messages come in order (RFC 9260 §6.5, §6.6, §6.9; RFC 3758 §3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from peer.budgets import MESSAGE_BYTES, REASSEMBLY_BYTES, REASSEMBLY_CHUNKS, STREAMS

LAST: Final = 0x01
FIRST: Final = 0x02
UNORDERED: Final = 0x04
"""Flags of a DATA chunk (RFC 9260 §3.3.1)."""

_TSN: Final = 2**32
_SEQUENCE: Final = 2**16


class Fragment(NamedTuple):
    """A DATA chunk."""

    tsn: int
    stream: int
    sequence: int
    protocol: int
    flags: int
    data: bytes


class UserMessage(NamedTuple):
    """What is delivered."""

    stream: int
    protocol: int
    data: bytes


class MessageTooLong(ValueError):
    """The peer sends a message longer than it was told that we take."""


@dataclass(slots=True)
class _Run:
    """Neighbouring fragments of one message, by the TSNs of the first and the last of them."""

    start: int
    end: int
    size: int


class _Stream:
    """One inbound stream. Work for a fragment does not grow with how many there are."""

    def __init__(self) -> None:
        self.expected = 0
        """The sequence number of the ordered message whose turn it is."""
        self.fragments: dict[int, Fragment] = {}
        self.runs: dict[int, _Run] = {}
        """By the TSNs of both their ends."""
        self.ready: dict[int, tuple[UserMessage, int]] = {}
        """Whole ordered messages before whose turn others come, by sequence number, with their fragments' number."""

    def add(self, fragment: Fragment) -> list[Fragment] | None:
        """Take a fragment. Returns the fragments of the message it completes, in order, or None."""
        tsn, flags = fragment.tsn, fragment.flags
        run = _Run(tsn, tsn, len(fragment.data))
        self.fragments[tsn] = fragment
        before = None if flags & FIRST else self.runs.get((tsn - 1) % _TSN)
        if before is not None and before.end == (tsn - 1) % _TSN and self._goes_on(before.end, fragment):
            run = _Run(before.start, tsn, before.size + run.size)
            self._forget(before)
        after = None if flags & LAST else self.runs.get((tsn + 1) % _TSN)
        if (
            after is not None
            and after.start == (tsn + 1) % _TSN
            and self._is_continued(fragment, after.start)
        ):
            run = _Run(run.start, after.end, run.size + after.size)
            self._forget(after)
        if run.size > MESSAGE_BYTES:
            raise MessageTooLong(f"a message of more than the {MESSAGE_BYTES} bytes that were agreed on")
        if not (self.fragments[run.start].flags & FIRST and self.fragments[run.end].flags & LAST):
            self.runs[run.start] = self.runs[run.end] = run
            return None
        length = (run.end - run.start) % _TSN + 1
        return [self.fragments.pop((run.start + number) % _TSN) for number in range(length)]

    def prune(self, cumulative: int) -> list[Fragment]:
        """Return, and forget, the fragments of messages that cannot be whole any more: TSNs up to one are over."""
        gone: list[Fragment] = []
        for run in {id(each): each for each in self.runs.values()}.values():
            begun = self.fragments[run.start].flags & FIRST or _after(run.start - 1, cumulative)
            goes_on = self.fragments[run.end].flags & LAST or _after(run.end + 1, cumulative)
            if not (begun and goes_on):
                self._forget(run)
                length = (run.end - run.start) % _TSN + 1
                gone += [self.fragments.pop((run.start + number) % _TSN) for number in range(length)]
        return gone

    def _goes_on(self, tsn: int, fragment: Fragment) -> bool:
        before = self.fragments[tsn]
        return not before.flags & LAST and _of_one_message(before, fragment)

    def _is_continued(self, fragment: Fragment, tsn: int) -> bool:
        after = self.fragments[tsn]
        return not after.flags & FIRST and _of_one_message(fragment, after)

    def _forget(self, run: _Run) -> None:
        del self.runs[run.start]
        self.runs.pop(run.end, None)


class Reassembly:
    """What has arrived on all streams and has not been delivered, within the budgets."""

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}
        self.size = 0
        """Bytes kept."""
        self.fragments = 0
        """Fragments kept, those of whole messages that wait for their turn included."""

    def takes(self, fragment: Fragment) -> bool:
        """Whether there is room for a fragment. The one that may complete a message is no exception."""
        return self.fragments < REASSEMBLY_CHUNKS and self.size + len(fragment.data) <= REASSEMBLY_BYTES

    def knows(self, stream: int) -> bool:
        """Whether a stream has a state here, or there is room for one more."""
        return stream in self._streams or len(self._streams) < STREAMS

    def add(self, fragment: Fragment) -> list[UserMessage]:
        """Take a fragment that `takes` and whose stream this `knows`. Returns what can be delivered, in order.

        Raises `MessageTooLong` for a message that exceeds what was agreed on.
        """
        stream = self._streams.setdefault(fragment.stream, _Stream())
        self.size += len(fragment.data)
        self.fragments += 1
        whole = stream.add(fragment)
        if whole is None:
            return []
        message = UserMessage(fragment.stream, whole[0].protocol, b"".join(each.data for each in whole))
        if fragment.flags & UNORDERED:
            self._release(message, len(whole))
            return [message]
        sequence = whole[0].sequence
        if (sequence - stream.expected) % _SEQUENCE >= _SEQUENCE // 2:
            # Of the past: a FORWARD TSN has skipped it, or its sequence number is wrong. Delivered, as it is whole.
            self._release(message, len(whole))
            return [message]
        replaced = stream.ready.get(sequence)
        if replaced is not None:
            self._release(*replaced)
        stream.ready[sequence] = (message, len(whole))
        return self._in_turn(stream)

    def skip(self, stream: int, sequence: int) -> list[UserMessage]:
        """Ordered messages of a stream up to a sequence number are abandoned. Returns what can be delivered now."""
        if stream not in self._streams:
            if not self.knows(stream):
                return []
            self._streams[stream] = _Stream()
        state = self._streams[stream]
        target = (sequence + 1) % _SEQUENCE
        if (target - state.expected) % _SEQUENCE >= _SEQUENCE // 2:
            return []
        messages = []
        skipped = [each for each in state.ready if (each - target) % _SEQUENCE >= _SEQUENCE // 2]
        for number in sorted(skipped, key=lambda each: (each - state.expected) % _SEQUENCE):
            message, fragments = state.ready.pop(number)
            self._release(message, fragments)
            messages.append(message)
        state.expected = target
        return messages + self._in_turn(state)

    def prune(self, cumulative: int) -> None:
        """Forget what cannot be whole any more, as TSNs up to one are over."""
        for stream in self._streams.values():
            if stream.runs:
                for fragment in stream.prune(cumulative):
                    self.size -= len(fragment.data)
                    self.fragments -= 1

    def reset(self, stream: int) -> None:
        """Forget a stream: its next message is its first."""
        state = self._streams.pop(stream, None)
        if state is not None:
            for fragment in state.fragments.values():
                self.size -= len(fragment.data)
                self.fragments -= 1
            for message, fragments in state.ready.values():
                self._release(message, fragments)

    def _in_turn(self, stream: _Stream) -> list[UserMessage]:
        messages = []
        while (ready := stream.ready.pop(stream.expected, None)) is not None:
            self._release(*ready)
            messages.append(ready[0])
            stream.expected = (stream.expected + 1) % _SEQUENCE
        return messages

    def _release(self, message: UserMessage, fragments: int) -> None:
        self.size -= len(message.data)
        self.fragments -= fragments


def _of_one_message(one: Fragment, other: Fragment) -> bool:
    unordered = one.flags & UNORDERED
    return unordered == other.flags & UNORDERED and (bool(unordered) or one.sequence == other.sequence)


def _after(tsn: int, cumulative: int) -> bool:
    return 0 < (tsn - cumulative) % _TSN < _TSN // 2
