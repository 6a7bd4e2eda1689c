"""What a connection sends and receives: tracks, transceivers, data channels (W3C WebRTC §5.1, §6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiortc
from aiortc import MediaStreamTrack, RTCDataChannelParameters

from peer.exceptions import InvalidAccessError, InvalidArgumentError, OperationError
from peer.rtp.encodings import initial_encodings
from peer.rtp.media_stream import MediaStream
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sender import RTCRtpSender
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.data_channel import RTCDataChannel
from peer.sdp.description import DIRECTIONS
from peer.sdp.direction import make_direction, receives

from .lifecycle import ConnectionLife


class ConnectionMedia(ConnectionLife):
    """Adding and taking away what will be negotiated."""

    def addTrack(self, track: MediaStreamTrack, *streams: MediaStream) -> RTCRtpSender:
        """Send a track, in the given streams or in none. (With `aiortc_compat`, those without share one, as in aiortc.)

        Raises `InvalidStateError` when closed, `InvalidAccessError` when the track has a sender already.
        """
        self._assert_open()
        if not isinstance(track, MediaStreamTrack) or track.kind not in ("audio", "video"):
            raise InvalidArgumentError(f'Invalid track kind "{getattr(track, "kind", None)}"')
        self._assert_has_no_sender(track)
        session = self._session
        ids = list(dict.fromkeys(stream.id for stream in streams))
        if not ids and self._configuration.aiortc_compat:
            ids = [session.default_stream_id]
        transceiver = next(
            (
                t
                for t in session.transceivers
                if t.kind == track.kind
                and t.sender.track is None
                and not t.stopped
                and not t.sender._ever_sent
            ),
            None,
        )
        if transceiver is not None:
            transceiver.sender._replace(track)
            transceiver.sender._track_id = track.id
            transceiver._direction = make_direction(True, receives(transceiver.direction))
            transceiver._added_by_track = transceiver._added_by_track or transceiver._from_remote
        else:
            transceiver = session.create_transceiver(track.kind, "sendrecv", track)
            transceiver._added_by_track = True
        transceiver._taken_by_track = True
        transceiver.sender._streams = ids
        self._update_negotiation_needed()
        return transceiver.sender

    def removeTrack(self, sender: RTCRtpSender) -> None:
        """Stop sending what a sender sends. The transceiver stays, for receiving and for another track.

        Raises `InvalidAccessError` for a sender of another connection, `InvalidStateError` when closed.
        """
        if not isinstance(sender, aiortc.RTCRtpSender):
            raise InvalidArgumentError(f"removeTrack takes an RTCRtpSender, not {sender!r:.100}")
        self._assert_open()
        transceiver = next((t for t in self._session.transceivers if t.sender is sender), None)
        if transceiver is None:
            if getattr(sender, "_owner", self) is self:
                return  # its transceiver was stopped and is gone
            raise InvalidAccessError("the sender was not made by this connection")
        if sender.track is None or transceiver.stopped:
            return
        sender._replace(None)
        transceiver._direction = make_direction(False, receives(transceiver._direction))
        self._update_negotiation_needed()

    def addTransceiver(
        self,
        trackOrKind: MediaStreamTrack | str,
        init: str | Mapping[str, Any] | None = None,
        *,
        direction: str | None = None,
        streams: list[MediaStream] | None = None,
        sendEncodings: list[Any] | None = None,
    ) -> RTCRtpTransceiver:
        """A new transceiver for a track, or for a kind (`"audio"`, `"video"`).

        `init` is the W3C's dictionary (`direction`, `streams`, `sendEncodings`), or aiortc's direction.
        Raises `InvalidArgumentError` for a value that is none.
        """
        if isinstance(init, Mapping):
            direction = init.get("direction", direction)
            streams = init.get("streams", streams)
            sendEncodings = init.get("sendEncodings", sendEncodings)
        elif init is not None:
            direction = init
        direction = "sendrecv" if direction is None else direction
        track = trackOrKind if isinstance(trackOrKind, MediaStreamTrack) else None
        kind = track.kind if track is not None else trackOrKind
        if kind not in ("audio", "video"):
            raise InvalidArgumentError(f'Invalid track kind "{kind}"')
        if direction not in DIRECTIONS:
            raise InvalidArgumentError(f'Invalid direction "{direction}"')
        self._assert_open()
        if track is not None and self._configuration.aiortc_compat:
            self._assert_has_no_sender(track)
        encodings = initial_encodings(str(kind), sendEncodings)
        transceiver = self._session.create_transceiver(str(kind), direction, track)
        transceiver.sender._owner = self
        transceiver.sender._streams = list(dict.fromkeys(stream.id for stream in streams or ()))
        transceiver.sender._set_encodings(encodings)
        self._update_negotiation_needed()
        return transceiver

    def getTransceivers(self) -> list[RTCRtpTransceiver]:
        """Those that are in use, in the order they were added."""
        return list(self._session.transceivers)

    def getSenders(self) -> list[RTCRtpSender]:
        return [t.sender for t in self._session.transceivers if not t._is_stopped]

    def getReceivers(self) -> list[RTCRtpReceiver]:
        return [t.receiver for t in self._session.transceivers if not t._is_stopped]

    def createDataChannel(
        self,
        label: str,
        maxPacketLifeTime: int | Mapping[str, Any] | None = None,
        maxRetransmits: int | None = None,
        ordered: bool = True,
        protocol: str = "",
        negotiated: bool = False,
        id: int | None = None,
        *,
        priority: str = "low",
    ) -> RTCDataChannel:
        """A new data channel. The W3C's dictionary may stand in the place of all that follows `label`.

        `maxPacketLifeTime` (milliseconds) or `maxRetransmits` make it unreliable; `negotiated` with `id` (0 to 65534)
        makes one that both sides create themselves.
        Raises `InvalidStateError` when closed, `InvalidArgumentError` for what can not be, `OperationError` when the
        id is taken.
        """
        options: dict[str, Any]
        if isinstance(maxPacketLifeTime, Mapping):
            options = dict(maxPacketLifeTime)
        else:
            options = {
                "maxPacketLifeTime": maxPacketLifeTime,
                "maxRetransmits": maxRetransmits,
                "ordered": ordered,
                "protocol": protocol,
                "negotiated": negotiated,
                "id": id,
                "priority": priority,
            }
        self._assert_open()
        parameters = channel_parameters(label, options, keep_id=self._configuration.aiortc_compat)
        first = self._session.sctp is None
        sctp = self._session.create_sctp()
        if parameters.id is not None and parameters.id in sctp._data_channels:
            raise ChannelIdTaken(f"Data channel with ID {parameters.id} already registered")
        channel = RTCDataChannel(sctp, parameters, priority=options.get("priority") or "low")
        self._session.add_channel(channel)
        if first:
            self._update_negotiation_needed()
        return channel

    def _assert_has_no_sender(self, track: MediaStreamTrack) -> None:
        if any(t.sender.track is track for t in self._session.transceivers if not t.stopped):
            raise InvalidAccessError("Track already has a sender")


class ChannelIdTaken(OperationError, ValueError):
    """There is a data channel of that id (W3C `OperationError`)."""


def channel_parameters(label: Any, options: Mapping[str, Any], *, keep_id: bool) -> RTCDataChannelParameters:
    """`createDataChannel`'s options as they are used. Raises InvalidArgumentError (W3C WebRTC 1.0 §6.1)."""
    if not isinstance(label, str):
        raise InvalidArgumentError(f"the label of a data channel is a string, not {label!r:.100}")
    life, retransmits, id = options.get("maxPacketLifeTime"), options.get("maxRetransmits"), options.get("id")
    negotiated = bool(options.get("negotiated", False))
    if life is not None and retransmits is not None:
        raise InvalidArgumentError("Cannot specify both maxPacketLifeTime and maxRetransmits")
    for name, value, top in (
        ("maxPacketLifeTime", life, 65535),
        ("maxRetransmits", retransmits, 65535),
        ("id", id, 65535),
    ):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= top
        ):
            raise InvalidArgumentError(f"{name} must be a number from 0 to {top}, not {value!r:.50}")
    if negotiated and (id is None or id == 65535):
        raise InvalidArgumentError("ID must be in range 0-65534 if data channel is negotiated out-of-band")
    if not negotiated and not keep_id:
        id = None  # only both sides together can choose it
    if options.get("priority", "low") not in (None, "very-low", "low", "medium", "high"):
        raise InvalidArgumentError(
            f"priority is very-low, low, medium or high, not {options['priority']!r:.50}"
        )
    ordered = options.get("ordered", True)
    return RTCDataChannelParameters(
        label=_scalar_values(label),
        maxPacketLifeTime=life,
        maxRetransmits=retransmits,
        ordered=True if ordered is None else bool(ordered),
        protocol=_scalar_values(options.get("protocol") or ""),
        negotiated=negotiated,
        id=id,
    )


def _scalar_values(text: str) -> str:
    """The text without lone surrogates, which UTF-8 can not carry (WebIDL, USVString)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
