"""What WHIP asks of an offer (RFC 9725 §4.4). No I/O."""

from __future__ import annotations

import re
from typing import Literal

from .server_session import Reject

__all__ = ["check_offer"]


def check_offer(sdp: str, action: Literal["publish", "play"]) -> None:
    """Raise `Reject` for an offer that the endpoint must not take: 400 where nothing can be read, else 422."""
    if not sdp.startswith("v=0"):
        raise Reject(400, "an offer begins with v=0")
    sections = re.split(r"^m=", sdp, flags=re.MULTILINE)[1:]
    if not sections:
        raise Reject(400, "the offer has no media section")
    media = [section for section in sections if section.startswith(("audio ", "video "))]
    for kind in ("audio", "video"):
        if sum(section.startswith(f"{kind} ") for section in media) > 1:
            raise Reject(
                422, f"one {kind} section at the most: a session is a single stream (RFC 9725 §4.4.2)"
            )
    if not media:
        raise Reject(422, "the offer has neither audio nor video")
    if any("a=rtcp-mux" not in section for section in media):
        raise Reject(422, "RTP and RTCP must share a port: a=rtcp-mux is missing (RFC 9725 §4.4.1)")
    if len(sections) > 1 and "a=group:BUNDLE" not in sdp:
        raise Reject(422, "all sections must be bundled: a=group:BUNDLE is missing (RFC 9725 §4.4.1)")
    wrong = "a=recvonly" if action == "publish" else "a=sendonly"
    if all(wrong in section for section in media):
        raise Reject(422, f"whoever wants to {action} does not offer {wrong[2:]}")
    if any(re.search(r"^a=setup:passive", section, re.MULTILINE) for section in media) and action == "play":
        raise Reject(422, "a player offers a=setup:actpass or active")
