"""What `sendEncodings`, `getParameters` and `setParameters` may say (W3C WebRTC §5.2.8 to §5.2.10)."""

from __future__ import annotations

import asyncio
import copy
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiortc.rtcrtpparameters import RTCRtpCodecCapability, RTCRtpParameters

from peer.exceptions import (
    InvalidAccessError,
    InvalidArgumentError,
    InvalidModificationError,
    InvalidRangeError,
    InvalidStateError,
    OperationError,
)
from peer.sdp.description import format_parameters
from peer.webidl import Members

from .codecs import capabilities, codec_capability, codec_key, is_media_codec

ENCODINGS_MAX: Final = 3
"""How many encodings of one track are sent: browsers send as many."""
_RID: Final = re.compile(r"[A-Za-z0-9]{1,16}")
"""RFC 8851 §10, as long as a one-byte header extension has room for (RFC 8285 §4.2)."""
_VIDEO_ONLY: Final = ("scaleResolutionDownBy", "maxFramerate")
_PRIORITIES: Final = ("very-low", "low", "medium", "high")
_READ_ONLY: Final = ("codecs", "headerExtensions", "rtcp")


def initial_encodings(kind: str, given: Sequence[Mapping[str, Any]] | None) -> list[Members]:
    """The encodings a transceiver begins with; those beyond `ENCODINGS_MAX` are left out (W3C WebRTC §5.1).

    Raises `InvalidArgumentError` for a wrong `rid`, `InvalidAccessError` for a member that cannot be set,
    `InvalidRangeError` for a number out of range, `OperationError` for a codec that cannot be sent.
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
            raise InvalidArgumentError(f"a rid is 1 to 16 letters and digits, not {rid!r:.50}")
    choosable = [capability_member(codec) for codec in capabilities(kind).codecs] if encodings else []
    for each in encodings:
        if unsettable := [name for name in ("ssrc", "rtx", "fec") if name in each]:
            raise InvalidAccessError(f"{unsettable[0]} cannot be chosen")
        each.setdefault("active", True)
        check_encoding(kind, each)
        drop_video_only(kind, each)
        check_codec(each, choosable, OperationError)
    del encodings[1 if kind == "audio" else ENCODINGS_MAX :]
    if len(encodings) == 1:
        encodings[0].pop("rid", None)
    scale_down(kind, encodings)
    return encodings or [_default(kind)]


def scale_down(kind: str, encodings: Sequence[Members]) -> None:
    """Each encoding without `scaleResolutionDownBy` gets one: 1 where others have it, else each half the next."""
    if kind != "video":
        return
    given = any("scaleResolutionDownBy" in each for each in encodings)
    for power, each in enumerate(reversed(encodings)):
        each.setdefault("scaleResolutionDownBy", 1.0 if given else float(2**power))


def capability_member(codec: RTCRtpCodecCapability) -> Members:
    """A codec as `getCapabilities` tells it, as a dictionary."""
    line = format_parameters(codec.parameters)
    return Members(
        mimeType=codec.mimeType,
        clockRate=codec.clockRate,
        **({} if codec.channels is None else {"channels": codec.channels}),
        **({"sdpFmtpLine": line} if line else {}),
    )


def parameter_members(parameters: RTCRtpParameters) -> tuple[list[Members], list[Members]]:
    """Codecs and header extensions, as `getParameters` tells them."""
    codecs = [
        Members(
            payloadType=codec.payloadType,
            mimeType=codec.mimeType,
            clockRate=codec.clockRate,
            **({} if codec.channels is None else {"channels": codec.channels}),
            **({"sdpFmtpLine": format_parameters(codec.parameters)} if codec.parameters else {}),
        )
        for codec in parameters.codecs
    ]
    extensions = [
        Members(uri=extension.uri, id=extension.id, encrypted=False)
        for extension in parameters.headerExtensions
    ]
    return codecs, extensions


def check_codec(encoding: Members, choosable: Sequence[Mapping[str, Any]], error: type[Exception]) -> None:
    """Raises `error` when the encoding asks for a codec that is none of those."""
    if encoding.get("codec") is None:
        encoding.pop("codec", None)
        return
    wanted = codec_capability(encoding["codec"])
    if wanted is None or not any(same_codec(capability_member(wanted), each) for each in choosable):
        raise error(f"{encoding['codec']!r:.200} is no codec that can be sent here")
    if not isinstance(encoding["codec"], Mapping):
        encoding["codec"] = capability_member(wanted)


def same_codec(wanted: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether two codecs are one, in what makes them incompatible: name, clock, channels, profile."""
    one, other = codec_capability(wanted), codec_capability(known)
    if one is None or other is None or not is_media_codec(one):
        return False
    return codec_key(one) == codec_key(other)


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
            raise InvalidArgumentError(f"{name} cannot be {value!r:.50}")
    if encoding.get("maxBitrate", 0) is not None and encoding.get("maxBitrate", 0) < 0:
        raise InvalidArgumentError("maxBitrate cannot be negative")
    for name in ("priority", "networkPriority"):
        if encoding.get(name, "low") not in _PRIORITIES:
            raise InvalidArgumentError(
                f"{name} is one of {', '.join(_PRIORITIES)}, not {encoding[name]!r:.50}"
            )
    if kind == "video" and encoding.get("scaleResolutionDownBy", 1.0) < 1.0:
        raise InvalidRangeError("scaleResolutionDownBy must be at least 1")
    if kind == "video" and encoding.get("maxFramerate", 0.0) < 0.0:
        raise InvalidRangeError("maxFramerate cannot be negative")


class ParametersTransaction:
    """`getParameters` and the `setParameters` that must follow it at once (W3C WebRTC §5.2)."""

    def __init__(self, kind: str, encodings: list[Members]) -> None:
        self._kind = kind
        self.encodings = encodings
        self._last: Members | None = None

    def get(self, codecs: list[Members], extensions: list[Members], rtcp: Members) -> Members:
        if self._last is None:
            self._last = Members(
                transactionId=secrets.token_hex(8),
                encodings=copy.deepcopy(self.encodings),
                codecs=codecs,
                headerExtensions=extensions,
                rtcp=rtcp,
            )
            _soon(self.forget)
        return copy.deepcopy(self._last)

    def forget(self) -> None:
        """What `getParameters` gave no longer holds: ask again."""
        self._last = None

    def set(self, parameters: Any) -> asyncio.Future[None]:
        """Raises what `RTCRtpSender.setParameters` raises; nothing has changed then.

        The future is done when `getParameters` tells the new state.
        """
        if not isinstance(parameters, Mapping):
            raise InvalidArgumentError(
                f"setParameters takes what getParameters gave, not {parameters!r:.100}"
            )
        last = self._last
        if last is None:
            raise InvalidStateError(
                "call getParameters again: setParameters takes what it gave, changed, before anything is awaited"
            )
        for name in ("transactionId", "encodings", *_READ_ONLY):
            if parameters.get(name) is None:
                raise MissingMember(f"{name} is missing")
        if parameters["transactionId"] != last["transactionId"]:
            raise InvalidModificationError("these parameters are not those getParameters gave last")
        for name in _READ_ONLY:
            if parameters[name] != last[name]:
                raise InvalidModificationError(f"{name} cannot be changed")
        given = [Members(each) for each in parameters["encodings"]]
        if len(given) != len(last["encodings"]) or len(given) != len(self.encodings):
            raise InvalidModificationError("encodings cannot be added or removed")
        choosable = last["codecs"] or [capability_member(codec) for codec in capabilities(self._kind).codecs]
        for before, after in zip(last["encodings"], given, strict=True):
            for name in ("rid", "ssrc", "rtx", "fec"):
                if before.get(name) != after.get(name):
                    raise InvalidModificationError(f"{name} cannot be changed")
            check_encoding(self._kind, after)
            drop_video_only(self._kind, after)
            check_codec(after, choosable, InvalidModificationError)
            after.setdefault("active", True)
            if self._kind == "video":
                after.setdefault("scaleResolutionDownBy", 1.0)
        self.encodings = given
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take_effect() -> None:
            self.forget()
            if not done.done():
                done.set_result(None)

        _soon(take_effect)
        return done

    def codecs_agreed(self, codecs: Sequence[Mapping[str, Any]]) -> None:
        """A codec that has been negotiated away is no longer asked for (W3C WebRTC §4.4.1.5)."""
        for each in self.encodings:
            if "codec" in each and not any(same_codec(each["codec"], codec) for codec in codecs):
                del each["codec"]


def _soon(task: Callable[[], None]) -> None:
    """Once the event loop has turned twice: what awaits nothing, or what is done already, comes before."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, task)


class MissingMember(InvalidArgumentError, InvalidModificationError):
    """A required member is not there (a `TypeError` by WebIDL)."""
