"""What a PATCH asks for, and whether it may (RFC 9725 §4.3.1 to §4.3.3). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .fragment import IceFragment

__all__ = ["PatchVerdict", "entity_tags", "judge_patch"]

PatchVerdict: TypeAlias = Literal[
    "trickle", "restart", "stale", "precondition-required", "precondition-failed"
]
"""Take the candidates; restart ICE; ignore candidates of a generation that is gone; answer 428; answer 412."""


@dataclass(frozen=True)
class SessionTag:
    """What a server knows of a session's ICE: the entity tag it gave last, and the peer's credentials."""

    etag: str
    ufrag: str
    pwd: str
    former: frozenset[str] = frozenset()
    """Username fragments of generations that restarts have replaced."""


def entity_tags(header: str | None) -> list[str] | None:
    """Return the tags of an `If-Match` header without their quotes, None without the header.

    A star stands for any session, and so does a quoted one, as clients send it.
    """
    if header is None:
        return None
    if header.strip() in ("*", '"*"'):
        return ["*"]
    return [match[1] for match in re.finditer(r'(?:W/)?"([^"]*)"', header)] or [header.strip()]


def judge_patch(
    fragment: IceFragment, if_match: str | None, known: SessionTag, *, lenient: bool = False
) -> PatchVerdict:
    """Say what to do with a fragment.

    Credentials decide, not the header: a pair that differs from the last known one is a restart (RFC 9725 §4.3.3).
    `lenient` takes candidates without `If-Match`, which WHEP's clients often lack.
    """
    tags = entity_tags(if_match)
    restarts = fragment.ufrag is not None and (fragment.ufrag, fragment.pwd) != (known.ufrag, known.pwd)
    if restarts and fragment.ufrag in known.former:
        return "stale"
    if tags is None:
        return "trickle" if lenient and not restarts else "precondition-required"
    if "*" not in tags and known.etag not in tags:
        return "precondition-failed"
    return "restart" if restarts else "trickle"
