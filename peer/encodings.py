"""What `sendEncodings`, `getParameters` and `setParameters` may say (W3C WebRTC §5.2.8 to §5.2.10)."""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .exceptions import (
    InvalidAccessError,
    InvalidArgumentError,
    InvalidModificationError,
    InvalidRangeError,
    InvalidStateError,
)
from .members import Members

_RID: Final = re.compile(r"[A-Za-z0-9]{1,255}")
_VIDEO_ONLY: Final = ("scaleResolutionDownBy", "maxFramerate")
_PRIORITIES: Final = ("very-low", "low", "medium", "high")
_READ_ONLY: Final = ("codecs", "headerExtensions", "rtcp")


def initial_encodings(kind: str, given: Sequence[Mapping[str, Any]] | None) -> list[Members]:
    """The encodings a transceiver begins with. One is sent, the first: there is no simulcast.

    Raises `InvalidArgumentError` for a wrong `rid`, `InvalidAccessError` for a member that can not be set,
    `InvalidRangeError` for a number out of range.
    """
    encodings = [Members(each) for each in given or ()]
    rids = [each.get("rid") for each in encodings]
    named = [rid for rid in rids if rid is not None]
    if named and len(named) != len(rids):
        raise InvalidArgumentError("either every encoding has a rid, or none")
    if len(rids) > 1 and not named:
        raise InvalidArgumentError("several encodings need a rid each")
    if len(set(named)) != len(named):
        raise InvalidArgumentError("two encodings have the same rid")
    for rid in named:
        if not isinstance(rid, str) or not _RID.fullmatch(rid):
            raise InvalidArgumentError(f"a rid is 1 to 255 letters and digits, not {rid!r:.50}")
    for each in encodings:
        if unsettable := [name for name in ("ssrc", "rtx", "fec") if name in each]:
            raise InvalidAccessError(f"{unsettable[0]} can not be chosen")
        each.setdefault("active", True)
        check_encoding(kind, each)
        drop_video_only(kind, each)
    if kind == "audio":
        del encodings[1:]
    if len(encodings) == 1:
        encodings[0].pop("rid", None)
    if kind == "video" and encodings and any("scaleResolutionDownBy" in each for each in encodings):
        for each in encodings:
            each.setdefault("scaleResolutionDownBy", 1.0)
    elif kind == "video":
        for power, each in enumerate(reversed(encodings)):
            each["scaleResolutionDownBy"] = float(2**power)
    return encodings or [_default(kind)]


def _default(kind: str) -> Members:
    return Members(active=True, scaleResolutionDownBy=1.0) if kind == "video" else Members(active=True)


def drop_video_only(kind: str, encoding: Members) -> None:
    if kind == "audio":
        for name in _VIDEO_ONLY:
            encoding.pop(name, None)


def check_encoding(kind: str, encoding: Mapping[str, Any]) -> None:
    for name, kinds in (
        ("active", (bool,)),
        ("maxBitrate", (int,)),
        ("maxFramerate", (int, float)),
        ("scaleResolutionDownBy", (int, float)),
    ):
        value = encoding.get(name)
        if value is not None and not (
            isinstance(value, kinds) and (name == "active" or not isinstance(value, bool))
        ):
            raise InvalidArgumentError(f"{name} can not be {value!r:.50}")
    if encoding.get("maxBitrate", 0) is not None and encoding.get("maxBitrate", 0) < 0:
        raise InvalidArgumentError("maxBitrate can not be negative")
    for name in ("priority", "networkPriority"):
        if encoding.get(name, "low") not in _PRIORITIES:
            raise InvalidArgumentError(
                f"{name} is one of {', '.join(_PRIORITIES)}, not {encoding[name]!r:.50}"
            )
    if kind == "video" and encoding.get("scaleResolutionDownBy", 1.0) < 1.0:
        raise InvalidRangeError("scaleResolutionDownBy must be at least 1")
    if kind == "video" and encoding.get("maxFramerate", 0.0) < 0.0:
        raise InvalidRangeError("maxFramerate can not be negative")


class ParametersTransaction:
    """`getParameters` and the `setParameters` that must follow it (W3C WebRTC §5.2.5)."""

    def __init__(self, kind: str, encodings: list[Members]) -> None:
        self._kind = kind
        self.encodings = encodings
        self._last: Members | None = None

    def get(self, codecs: list[Members], extensions: list[Members], rtcp: Members) -> Members:
        self._last = Members(
            transactionId=secrets.token_hex(8),
            encodings=copy.deepcopy(self.encodings),
            codecs=codecs,
            headerExtensions=extensions,
            rtcp=rtcp,
        )
        return copy.deepcopy(self._last)

    def set(self, parameters: Any) -> None:
        """Raises what `RTCRtpSender.setParameters` raises; nothing has changed then."""
        if not isinstance(parameters, Mapping):
            raise InvalidArgumentError(
                f"setParameters takes what getParameters gave, not {parameters!r:.100}"
            )
        last = self._last
        if last is None:
            raise InvalidStateError("call getParameters first: setParameters takes what it gave, changed")
        for name in ("transactionId", "encodings", *_READ_ONLY):
            if parameters.get(name) is None:
                raise MissingMember(f"{name} is missing")
        if parameters["transactionId"] != last["transactionId"]:
            raise InvalidModificationError("these parameters are not those getParameters gave last")
        for name in _READ_ONLY:
            if parameters[name] != last[name]:
                raise InvalidModificationError(f"{name} can not be changed")
        given = parameters["encodings"]
        if len(given) != len(last["encodings"]):
            raise InvalidModificationError("encodings can not be added or removed")
        for before, after in zip(last["encodings"], given, strict=True):
            for name in ("rid", "ssrc", "rtx", "fec"):
                if before.get(name) != after.get(name):
                    raise InvalidModificationError(f"{name} can not be changed")
            check_encoding(self._kind, after)
        self._last = None
        self.encodings = [Members(each) for each in given]
        for each in self.encodings:
            each.setdefault("active", True)
            drop_video_only(self._kind, each)
            if self._kind == "video":
                each.setdefault("scaleResolutionDownBy", 1.0)


class MissingMember(InvalidArgumentError, InvalidModificationError):
    """A required member is not there (a `TypeError` by WebIDL)."""
