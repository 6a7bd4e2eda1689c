"""RTCSessionDescription (W3C WebRTC §4.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import aiortc

from peer.exceptions import InvalidArgumentError
from peer.jsep.session import Description

RTCSdpType: TypeAlias = Literal["offer", "pranswer", "answer", "rollback"]

SDP_TYPES = ("offer", "pranswer", "answer", "rollback")


@dataclass(init=False, eq=False)
class RTCSessionDescription(aiortc.RTCSessionDescription):
    """One side of an offer/answer exchange: `type` is offer, pranswer, answer or rollback, `sdp` the text.

    Takes `sdp` and `type` (positional as in aiortc), or the W3C's dictionary `{"type": …, "sdp": …}`.
    Raises `InvalidArgumentError` (a `TypeError` and a `ValueError`) for another type.
    """

    sdp: str
    type: str

    def __init__(
        self,
        sdp: str | Mapping[str, Any] = "",
        type: str | None = None,
    ) -> None:
        if isinstance(sdp, Mapping):
            type = sdp.get("type") if type is None else type
            sdp = sdp.get("sdp", "")
        if not isinstance(sdp, str):
            raise InvalidArgumentError(f"'sdp' must be a string, not {sdp.__class__.__name__}")
        if type not in SDP_TYPES:
            raise InvalidArgumentError(f"'type' must be in {list(SDP_TYPES)} (got '{type}')")
        self.sdp = sdp
        self.type = type

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, aiortc.RTCSessionDescription):
            return NotImplemented
        return (self.type, self.sdp) == (other.type, other.sdp)

    __hash__ = None  # type: ignore[assignment]

    def toJSON(self) -> dict[str, str]:
        """`{"type": …, "sdp": …}`, as a browser takes it."""
        return {"type": self.type, "sdp": self.sdp}


class ShownDescriptions:
    """The descriptions of a session as objects: the same ones until something is added to them (W3C WebRTC §4.4.2)."""

    def __init__(self) -> None:
        self._shown: WeakKeyDictionary[Description, RTCSessionDescription] = WeakKeyDictionary()

    def show(self, description: Description | None) -> RTCSessionDescription | None:
        """Return the object that shows a description; None for none."""
        if description is None:
            return None
        text = str(description)
        shown = self._shown.get(description)
        if shown is None or shown.sdp != text:
            shown = self._shown[description] = RTCSessionDescription(sdp=text, type=description.type)
        return shown


def session_description(value: object) -> RTCSessionDescription:
    """Whatever a caller may hand in for a description: ours, aiortc's, or a browser's dictionary."""
    if isinstance(value, RTCSessionDescription):
        return value
    if isinstance(value, aiortc.RTCSessionDescription):
        return RTCSessionDescription(sdp=value.sdp, type=value.type)
    if isinstance(value, Mapping):
        return RTCSessionDescription(value)
    raise InvalidArgumentError(
        f"a description must be an RTCSessionDescription or a dictionary with 'type' and 'sdp', not {value!r:.100}"
    )
