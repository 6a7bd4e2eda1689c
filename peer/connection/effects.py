"""Carries out what negotiation returns: the only place where descriptions touch transports and media."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, assert_never

from peer.ice.credentials import IceCredentials
from peer.jsep import effects as e
from peer.jsep.session import Session
from peer.rtp.track_event import RTCTrackEvent

from .media import Media
from .transports import Transports


class EffectsOwner(Protocol):
    """What the connection does with effects that are neither of transports nor of media."""

    def release(self, line: int) -> None:
        """Give back in the background what a stopped line has taken."""

    def tell_state(self, changed: bool, rolled_back: bool) -> None:
        """Bring the states up to date, and tell of the signalling state if it `changed`."""

    def tell_track(self, event: RTCTrackEvent) -> None:
        """Tell of a track of the peer's."""


class Effects:
    """Carries out effects, in their order. None of them waits for anything."""

    def __init__(self, session: Session, transports: Transports, media: Media, owner: EffectsOwner) -> None:
        self._session = session
        self._transports = transports
        self._media = media
        self._owner = owner

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """Do all of it. Raises `ValueError` for credentials that no ICE agent can have."""
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: e.Effect) -> None:
        transports, media = self._transports, self._media
        match effect:
            case e.OpenTransport(transport):
                transports.open(transport)
            case e.DiscardTransport(transport):
                transports.discard(transport)
            case e.SetIceRole(transport, role):
                transports[transport].ice.set_role(role)
            case e.Gather(transport, ufrag, pwd, ipv4_first):
                transports[transport].ice.gather(IceCredentials(ufrag, pwd), ipv4_first=ipv4_first)
            case e.UndoGathering(transport):
                transports[transport].ice.rollback()
            case e.ForgetPeer(transport):
                transports[transport].ice.forget_peer()
            case e.StartIce(transport, ufrag, pwd, lite):
                transports[transport].ice.start(IceCredentials(ufrag, pwd), lite=lite)
            case e.ForgoHandshake(transport):
                transports[transport].ice.forgo_handshake()
            case e.AddRemoteCandidate(transport, candidate, ufrag):
                transports[transport].ice.add_remote_candidate(candidate, ufrag)
            case e.StartDtls(transport, fingerprints, role):
                transports.connect(transport, fingerprints, role)
            case e.RenewDtls(transport, path_before):
                transports.renew_dtls(transport, path_before=path_before)
            case e.NotePaths(settled):
                transports.note_paths(settled=settled)
            case e.Bind(line, transport):
                self._bind(line, transport)
            case e.AddTransceiver(line, track_id):
                added = next(each for each in self._session.lines if each.key == line)
                media.create(added, track_id=track_id)
            case e.HideTransport(line, hidden):
                media[line].hide_transport(hidden)
            case e.NameTrack(line, track_id):
                media[line].name_track(track_id)
            case e.SetDirection(line, direction):
                media[line].set_direction(direction)
            case e.SetReceptive(line, receptive):
                media[line].set_receptive(receptive)
            case e.Agree(line):
                media[line].agree(effect)
            case e.SetEncodings(line, encodings):
                media[line].set_encodings(list(encodings))
            case e.ForgetParameters():
                for each in media.lines:
                    each.forget_parameters()
            case e.StopTransceiver(line):
                media[line].stop_for_good()
                self._owner.release(line)
            case e.DropTransceiver(line):
                media.drop(line)
            case e.SetRemoteStreams(line, streams):
                media[line].receiver.track.streams = [media.remote_stream(id) for id in streams]
            case e.OpenData():
                media.create_sctp()
            case e.RenewData():
                media.renew_sctp()
            case e.RestartData():
                media.restart_sctp()
            case e.RefuseData():
                media.close_channels()
            case e.LimitMessages(size):
                if media.sctp is not None:
                    media.sctp.limit_messages(size)
            case e.AgreeDataRole(is_server):
                if media.sctp is not None:
                    media.sctp.role_agreed(is_server=is_server)
            case e.TellState(changed, rolled_back):
                self._owner.tell_state(changed, rolled_back)
            case e.Mute() | e.RemoveFromStream() | e.AddToStream() | e.TellTrack():
                self._tell_of_track(effect)
            case _:
                assert_never(effect)

    def _bind(self, line: int | None, transport: str | None) -> None:
        bound = self._transports.get(transport)
        dtls = None if bound is None else bound.dtls
        if line is None:
            self._media.bind_sctp(self._session.data.mid, dtls)
        else:
            self._media[line].bind(dtls)

    def _tell_of_track(self, effect: e.Mute | e.RemoveFromStream | e.AddToStream | e.TellTrack) -> None:
        media = self._media
        line = media[effect.line]
        track = line.receiver.track
        match effect:
            case e.Mute():
                line.mute()
            case e.RemoveFromStream(stream):
                media.remove_from_stream(stream, track)
            case e.AddToStream(stream):
                media.add_to_stream(stream, track)
            case e.TellTrack(_, streams):
                self._owner.tell_track(
                    RTCTrackEvent(
                        receiver=line.receiver,
                        track=track,
                        streams=[media.remote_stream(id) for id in streams],
                        transceiver=line.transceiver,
                    )
                )
