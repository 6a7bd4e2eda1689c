"""Fragments of interleaved messages become messages (RFC 8260 §2): each says which message it is of, and which part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from peer.budgets import MESSAGE_BYTES, REASSEMBLY_BYTES, REASSEMBLY_CHUNKS, STREAMS

from .chunks import FIRST, LAST, MODULO, UNORDERED, ahead
from .reassembly import MessageTooLong, UserMessage


class InterleavedFragment(NamedTuple):
    """An I-DATA chunk."""

    tsn: int
    stream: int
    message: int
    number: int
    """Of the fragment in its message; the first is 0."""
    protocol: int
    """Said by the first fragment alone."""
    flags: int
    data: bytes


@dataclass(slots=True)
class _Partial:
    parts: dict[int, bytes] = field(default_factory=dict)
    protocol: int = 0
    last: int | None = None
    size: int = 0


@dataclass(slots=True)
class _Stream:
    expected: int = 0
    ordered: dict[int, _Partial] = field(default_factory=dict)
    unordered: dict[int, _Partial] = field(default_factory=dict)
    ready: dict[int, tuple[UserMessage, int]] = field(default_factory=dict)
    """Whole ordered messages before whose turn others come, with the number of their fragments."""


class InterleavedReassembly:
    """What has arrived on all streams and has not been delivered, within the budgets."""

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}
        self.size = 0
        """Bytes kept."""
        self.fragments = 0
        """Fragments kept, those of whole messages that wait for their turn included."""

    def takes(self, fragment: InterleavedFragment) -> bool:
        """Whether there is room for a fragment. The one that may complete a message is no exception."""
        return self.fragments < REASSEMBLY_CHUNKS and self.size + len(fragment.data) <= REASSEMBLY_BYTES

    def knows(self, stream: int) -> bool:
        """Whether a stream has a state here, or there is room for one more."""
        return stream in self._streams or len(self._streams) < STREAMS

    def add(self, fragment: InterleavedFragment) -> list[UserMessage]:
        """Take a fragment that `takes` and whose stream this `knows`. Returns what can be delivered, in order.

        Raises `MessageTooLong` for a message that exceeds what was agreed on.
        """
        stream = self._streams.setdefault(fragment.stream, _Stream())
        unordered = bool(fragment.flags & UNORDERED)
        if not unordered and ahead(fragment.message, stream.expected) < 0:
            return []  # of a message that was skipped
        partials = stream.unordered if unordered else stream.ordered
        partial = partials.setdefault(fragment.message, _Partial())
        number = 0 if fragment.flags & FIRST else fragment.number
        if number in partial.parts:
            return []
        partial.parts[number] = fragment.data
        partial.size += len(fragment.data)
        self.size += len(fragment.data)
        self.fragments += 1
        if fragment.flags & FIRST:
            partial.protocol = fragment.protocol
        if fragment.flags & LAST:
            partial.last = number
        if partial.size > MESSAGE_BYTES:
            raise MessageTooLong(f"a message of more than the {MESSAGE_BYTES} bytes that were agreed on")
        if partial.last is None or len(partial.parts) != partial.last + 1:
            return []
        del partials[fragment.message]
        try:
            data = b"".join([partial.parts[number] for number in range(partial.last + 1)])
        except KeyError:  # numbers beyond the last, which nobody sends
            self._release(partial.size, len(partial.parts))
            return []
        message = UserMessage(fragment.stream, partial.protocol, data)
        if unordered:
            self._release(partial.size, len(partial.parts))
            return [message]
        stream.ready[fragment.message] = message, len(partial.parts)
        return self._in_turn(stream)

    def skip(self, number: int, message: int, *, unordered: bool) -> list[UserMessage]:
        """Messages of a stream up to an identifier are abandoned. Returns what can be delivered now."""
        if not self.knows(number):
            return []
        stream = self._streams.setdefault(number, _Stream())
        partials = stream.unordered if unordered else stream.ordered
        for each in [each for each in partials if ahead(each, message) <= 0]:
            partial = partials.pop(each)
            self._release(partial.size, len(partial.parts))
        if unordered or ahead(message, stream.expected) < 0:
            return []
        messages = []
        skipped = [each for each in stream.ready if ahead(each, message) <= 0]
        for each in sorted(skipped, key=lambda each: ahead(each, message)):
            whole, fragments = stream.ready.pop(each)
            self._release(len(whole.data), fragments)
            messages.append(whole)
        stream.expected = (message + 1) % MODULO
        return messages + self._in_turn(stream)

    def prune(self, cumulative: int) -> None:
        """Nothing: what is abandoned is named by its message."""

    def reset(self, number: int) -> None:
        """Forget a stream: its next message is its first."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        for partial in [*stream.ordered.values(), *stream.unordered.values()]:
            self._release(partial.size, len(partial.parts))
        for message, fragments in stream.ready.values():
            self._release(len(message.data), fragments)

    def _in_turn(self, stream: _Stream) -> list[UserMessage]:
        messages = []
        while (ready := stream.ready.pop(stream.expected, None)) is not None:
            self._release(len(ready[0].data), ready[1])
            messages.append(ready[0])
            stream.expected = (stream.expected + 1) % MODULO
        return messages

    def _release(self, size: int, fragments: int) -> None:
        self.size -= size
        self.fragments -= fragments
