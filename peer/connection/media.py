"""What a connection sends and receives: tracks, transceivers, data channels (W3C WebRTC §5.1, §6.1)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from aiortc import MediaStreamTrack, RTCDataChannelParameters

from peer.exceptions import InvalidAccessError, InvalidArgumentError, OperationError
from peer.jsep.mline import MLine
from peer.jsep.session import Session
from peer.rtp.encodings import initial_encodings
from peer.rtp.feed import UNBOUND
from peer.rtp.media_stream import MediaStream
from peer.rtp.sender import RTCRtpSender
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from peer.sdp.description import DIRECTIONS
from peer.sdp.direction import make_direction, receives

from .media_line import MediaLine, MediaOwner


class Media:
    """The live media of a connection: a `MediaLine` for each `MLine` of its session, and the data channels.

    `on_channel` is called with each data channel that the peer opens.
    """

    def __init__(
        self, session: Session, owner: MediaOwner, on_channel: Callable[[RTCDataChannel], object]
    ) -> None:
        self._session = session
        self._owner = owner
        self._behaviour = owner.behaviour
        self._on_channel = on_channel
        self._lines: dict[int, MediaLine] = {}
        self._senders: weakref.WeakSet[RTCRtpSender] = weakref.WeakSet()
        """Every sender there has been."""
        self._default_stream = session.random_id()
        self.sctp: RTCSctpTransport | None = None
        self.sctp_started = False
        self.channels: list[RTCDataChannel] = []
        """Every channel there has been and that is not closed, in the order they appeared."""
        self.channels_opened = 0
        self.channels_closed = 0
        self.remote_streams: dict[str, MediaStream] = {}
        """Every stream the peer has named, by its id."""

    @property
    def lines(self) -> list[MediaLine]:
        """The media lines of the session, in the order in which they were added."""
        return [self._lines[line.key] for line in self._session.lines]

    def __getitem__(self, key: int) -> MediaLine:
        return self._lines[key]

    def of_mid(self, mid: str) -> MediaLine | None:
        """The line of a section."""
        line = self._session.line(mid)
        return None if line is None else self._lines[line.key]

    def observe(self) -> None:
        """Write what the senders are set to onto the lines, for descriptions to be made of it."""
        for each in self.lines:
            each.observe()

    def create(
        self, line: MLine, track: MediaStreamTrack | None = None, *, track_id: str | None = None
    ) -> MediaLine:
        """Make the live half of a line. `track` is what it sends, `track_id` the id of what it receives."""
        made = self._lines[line.key] = MediaLine(line, self._owner, track, track_id=track_id)
        self._senders.add(made.sender)
        return made

    def drop(self, key: int) -> None:
        """Forget a line that has left the session."""
        del self._lines[key]

    # Transceivers

    def add_track(self, track: MediaStreamTrack, streams: tuple[MediaStream, ...]) -> RTCRtpSender:
        """W3C `addTrack`."""
        if not isinstance(track, MediaStreamTrack) or track.kind not in ("audio", "video"):
            raise InvalidArgumentError(f'Invalid track kind "{getattr(track, "kind", None)}"')
        self._assert_has_no_sender(track)
        ids = list(dict.fromkeys(stream.id for stream in streams))
        if not ids and self._behaviour.shares_default_stream:
            ids = [self._default_stream]
        free = (
            each
            for each in self.lines
            if each.line.kind == track.kind
            and each.sender.track is None
            and not each.line.is_stopped
            and (not each.line.ever_sent or self._behaviour.reuses_senders)
        )
        chosen = next(free, None)
        if chosen is not None:
            chosen.send_track(track)
            chosen.line.direction = make_direction(True, receives(chosen.line.direction))
        else:
            chosen = self.create(self._session.add_line(track.kind, "sendrecv", "addTrack"), track)
        chosen.line.used_by_track = True
        chosen.set_streams(ids)
        self._owner.changed()
        return chosen.sender

    def remove_track(self, sender: RTCRtpSender) -> None:
        """W3C `removeTrack`."""
        found = next((each for each in self.lines if each.sender is sender), None)
        if found is None:
            if sender in self._senders:
                return  # its transceiver was stopped and is gone
            raise InvalidAccessError("the sender was not made by this connection")
        if sender.track is None or found.line.is_stopped:
            return
        found.send_track(None)
        found.line.direction = make_direction(False, receives(found.line.direction))
        self._owner.changed()

    def add_transceiver(
        self,
        track_or_kind: MediaStreamTrack | str,
        direction: str | None,
        streams: list[MediaStream] | None,
        encodings: list[Any] | None,
        assert_open: Callable[[], None] = lambda: None,
    ) -> RTCRtpTransceiver:
        """W3C `addTransceiver`, with the members of its dictionary."""
        direction = "sendrecv" if direction is None else direction
        track = track_or_kind if isinstance(track_or_kind, MediaStreamTrack) else None
        kind = track.kind if track is not None else track_or_kind
        if kind not in ("audio", "video"):
            raise InvalidArgumentError(f'Invalid track kind "{kind}"')
        if direction not in DIRECTIONS:
            raise InvalidArgumentError(f'Invalid direction "{direction}"')
        assert_open()
        if track is not None and self._behaviour.refuses_used_track:
            self._assert_has_no_sender(track)
        given = initial_encodings(str(kind), encodings)
        made = self.create(self._session.add_line(str(kind), direction, "addTransceiver"), track)
        made.set_streams(list(dict.fromkeys(stream.id for stream in streams or ())))
        made.set_encodings(given)
        self._owner.changed()
        return made.transceiver

    def offer_to_receive(self, kind: str, wanted: bool) -> None:
        """The legacy `offerToReceiveAudio` and `offerToReceiveVideo` (W3C WebRTC §4.4.3.2)."""
        lines = [each.line for each in self.lines if each.line.kind == kind and not each.line.is_stopped]
        if not wanted:
            for line in lines:
                if receives(line.direction):
                    line.direction = make_direction(line.direction == "sendrecv", False)
        elif not any(receives(line.direction) for line in lines):
            self.add_transceiver(kind, "recvonly", None, None)

    def remote_stream(self, id: str) -> MediaStream:
        """The stream of the peer's with this id."""
        return self.remote_streams.setdefault(id, MediaStream(id=id))

    def add_to_stream(self, id: str, track: MediaStreamTrack) -> None:
        """Add a remote track to the stream of the peer's with this id, and tell the stream's listeners."""
        stream = self.remote_stream(id)
        if track not in stream.getTracks():
            stream.addTrack(track)
            stream.emit("addtrack", track)

    def remove_from_stream(self, id: str, track: MediaStreamTrack) -> None:
        """Take a remote track out of the stream of the peer's with this id, and tell the stream's listeners."""
        stream = self.remote_stream(id)
        if track in stream.getTracks():
            stream.removeTrack(track)
            stream.emit("removetrack", track)

    def _assert_has_no_sender(self, track: MediaStreamTrack) -> None:
        if any(each.sender.track is track for each in self.lines if not each.line.is_stopped):
            raise InvalidAccessError("Track already has a sender")

    # Data channels

    def create_sctp(self) -> RTCSctpTransport:
        """The SCTP transport, made where there is none, and described from now on."""
        if self.sctp is None:
            self.sctp = RTCSctpTransport(UNBOUND)
            self.sctp.channels.open_when_confirmed = self._behaviour.opens_channels_when_confirmed
            self.sctp.lives_on = self._sctp_lives_on
            self.sctp.on("datachannel", self._channel_opened)
            self._describe_sctp(self.sctp)
        return self.sctp

    def renew_sctp(self) -> None:
        """Another peer knows nothing of our channels: they close, and new ones start afresh."""
        if self.sctp is not None:
            old, self.sctp = self.sctp, None
            self.sctp_started = False
            old.end(tell_peer=False)
            # The new peer has read the old one's INIT in our offer.
            renewed = self.create_sctp()
            renewed.begin_like(old)
            self._describe_sctp(renewed)

    def restart_sctp(self) -> None:
        """The peer begins security anew, and its end of the channels lives on: so does ours."""
        if self.sctp is not None and self.sctp_started:
            self.sctp_started = False
            self.sctp.begin_again()

    def _sctp_lives_on(self) -> bool:
        if not self._owner.peer_begins_again():
            return False
        self.sctp_started = False
        return True

    def bind_sctp(self, mid: str | None, dtls: Any | None) -> None:
        """Send the channels over a DTLS transport; over none for None."""
        if self.sctp is None:
            return
        if dtls is None:
            self.sctp.setTransport(UNBOUND)
            return
        self.sctp.mid = mid
        if self.sctp.transport is not dtls:
            self.sctp.setTransport(dtls)

    def close_channels(self) -> None:
        """The peer wants none."""
        for channel in list(self.channels):
            channel.become("closed")

    def create_channel(self, label: str, options: Mapping[str, Any]) -> RTCDataChannel:
        """W3C `createDataChannel`, with the members of its dictionary."""
        parameters = channel_parameters(label, options, keep_id=self._behaviour.keeps_channel_ids)
        first = self.sctp is None
        sctp = self.create_sctp()
        if parameters.id is not None and parameters.id in sctp.channels.by_id:
            raise ChannelIdTaken(f"Data channel with ID {parameters.id} already registered")
        channel = RTCDataChannel(sctp, parameters, priority=options.get("priority") or "low")
        self._count(channel)
        if first:
            self._owner.changed()
        return channel

    def _describe_sctp(self, sctp: RTCSctpTransport) -> None:
        data = self._session.data
        data.wanted = True
        data.port = sctp.port
        data.max_message_size = sctp.getCapabilities().maxMessageSize
        data.init = sctp.local_init()

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._count(channel)
        self._on_channel(channel)

    def _count(self, channel: RTCDataChannel) -> None:
        """Count a channel for as long as it lives."""
        self.channels.append(channel)

        def opened(*_: object) -> None:
            self.channels_opened += 1

        def closed(*_: object) -> None:
            self.channels_closed += 1
            if channel in self.channels:
                self.channels.remove(channel)

        if channel.readyState == "open":
            opened()
        else:
            channel.on("open", opened)
        channel.on("close", closed)


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
    """The text without lone surrogates, which UTF-8 cannot carry (WebIDL, USVString)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
