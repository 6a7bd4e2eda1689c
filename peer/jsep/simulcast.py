"""Several encodings of one track in a description: `a=rid` (RFC 8851) and `a=simulcast` (RFC 8853)."""

from __future__ import annotations

from peer.rtp.encodings import ENCODINGS_MAX, scale_down
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sdp.description import MediaSection
from peer.webidl import Members


def rids(section: MediaSection, direction: str) -> list[str]:
    """The ids of the encodings a section wants to `send` or `recv`: of alternatives the first, of duplicates one."""
    parts = (section.simulcast or "").split()
    lists = dict(zip(parts[::2], parts[1::2], strict=False))
    named = {line.split()[0] for line in section.rids if line.split()[1:2] == [direction]}
    wanted = [choice.split(",")[0].removeprefix("~") for choice in lists.get(direction, "").split(";")]
    return [rid for rid in dict.fromkeys(wanted) if rid in named]


def propose(transceiver: RTCRtpTransceiver, section: MediaSection) -> None:
    """The peer offers to receive several encodings: a sender that has one, unnamed, gets as many (W3C §4.4.1.5)."""
    sender = transceiver.sender
    wanted = rids(section, "recv")[:ENCODINGS_MAX]
    if transceiver.kind != "video" or not wanted:
        return
    if len(sender._encodings) == 1 and "rid" not in sender._encodings[0]:
        proposed = [Members(rid=rid, active=True) for rid in wanted]
        scale_down("video", proposed)
        transceiver._encodings_before = sender._encodings
        sender._set_encodings(proposed)


def withdraw(transceiver: RTCRtpTransceiver) -> None:
    """The offer that proposed encodings is rolled back."""
    if transceiver._encodings_before is not None:
        transceiver.sender._set_encodings(transceiver._encodings_before)
        transceiver._encodings_before = None


def settle(transceiver: RTCRtpTransceiver) -> None:
    """What was proposed has been agreed on."""
    transceiver._encodings_before = None


def describe(transceiver: RTCRtpTransceiver, section: MediaSection, offer: MediaSection | None) -> bool:
    """Say in our section which encodings are sent; in an answer, of those the `offer` wants. False when it is one."""
    own = [each["rid"] for each in transceiver.sender._encodings if "rid" in each]
    if offer is not None:
        wanted = rids(offer, "recv")
        own = [rid for rid in own if rid in wanted]
    if not own or transceiver._unicast:
        return False
    section.rids = [f"{rid} send" for rid in own]
    section.simulcast = f"send {';'.join(own)}"
    return True


def agree(transceiver: RTCRtpTransceiver, answer: MediaSection, *, local: bool) -> None:
    """Keep what the answer accepts of the encodings; of what it does not mention, the first (W3C §4.4.1.5)."""
    encodings = transceiver.sender._encodings
    if not any("rid" in each for each in encodings):
        return
    accepted = rids(answer, "send" if local else "recv")
    transceiver._unicast = not accepted
    kept = [each for each in encodings if each.get("rid") in accepted] or encodings[:1]
    if len(kept) != len(encodings):
        transceiver.sender._set_encodings(kept)
