"""Several encodings of one track in a description: `a=rid` (RFC 8851) and `a=simulcast` (RFC 8853)."""

from __future__ import annotations

from peer.sdp.description import MediaSection
from peer.webidl import Members

from .effects import Effect, SetEncodings
from .mline import MLine


def rids(section: MediaSection, direction: str) -> list[str]:
    """The ids of the encodings a section wants to `send` or `recv`: of alternatives the first, of duplicates one."""
    parts = (section.simulcast or "").split()
    lists = dict(zip(parts[::2], parts[1::2], strict=False))
    named = {line.split()[0] for line in section.rids if line.split()[1:2] == [direction]}
    wanted = [choice.split(",")[0].removeprefix("~") for choice in lists.get(direction, "").split(";")]
    return [rid for rid in dict.fromkeys(wanted) if rid in named]


def propose(line: MLine, section: MediaSection, encodings_max: int) -> list[Effect]:
    """The peer offers to receive several encodings: a sender that has one, unnamed, gets as many (W3C §4.4.1.5)."""
    wanted = rids(section, "recv")[:encodings_max]
    if line.kind != "video" or not wanted or len(line.encodings) != 1 or "rid" in line.encodings[0]:
        return []
    line.encodings_before = line.encodings
    return _use(line, [Members(rid=rid, active=True) for rid in wanted])


def withdraw(line: MLine) -> list[Effect]:
    """The offer that proposed encodings is rolled back."""
    before, line.encodings_before = line.encodings_before, None
    return [] if before is None else _use(line, before)


def settle(line: MLine) -> None:
    """What was proposed has been agreed on."""
    line.encodings_before = None


def describe(line: MLine, section: MediaSection, offer: MediaSection | None) -> bool:
    """Say in our section which encodings are sent; in an answer, of those the `offer` wants. False when it is one."""
    own = [each["rid"] for each in line.encodings if "rid" in each]
    if offer is not None:
        wanted = rids(offer, "recv")
        own = [rid for rid in own if rid in wanted]
    if not own or line.unicast:
        return False
    section.rids = [f"{rid} send" for rid in own]
    section.simulcast = f"send {';'.join(own)}"
    return True


def agree(line: MLine, answer: MediaSection, *, local: bool) -> list[Effect]:
    """Keep what the answer accepts of the encodings; of what it does not mention, the first (W3C §4.4.1.5)."""
    if not any("rid" in each for each in line.encodings):
        return []
    accepted = rids(answer, "send" if local else "recv")
    line.unicast = not accepted
    kept = [each for each in line.encodings if each.get("rid") in accepted] or line.encodings[:1]
    return _use(line, kept) if len(kept) != len(line.encodings) else []


def _use(line: MLine, encodings: list[Members]) -> list[Effect]:
    line.encodings = encodings
    return [SetEncodings(line.key, tuple(encodings))]
