"""RTCPeerConnection-transceivers.https.html, -addTransceiver.https.html, -addTrack.https.html, -removeTrack.https.html,
-setRemoteDescription-tracks.https.html, RTCRtpTransceiver-stop.html, RTCRtpSender-setStreams.https.html"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.wpt.setup import (
    Connections,
    counter,
    exchangeIceCandidates,
    exchangeOfferAnswer,
    needed,
    offer_of,
    turns,
)


def audio() -> peer.MediaStreamTrack:
    return peer.AudioStreamTrack()


async def test_add_track_creates_a_transceiver(pcs: Connections) -> None:
    """addTrack: creates a transceiver with the sender's track, direction sendrecv, mid null"""
    pc = pcs()
    track = audio()
    sender = pc.addTrack(track)
    (transceiver,) = pc.getTransceivers()
    assert transceiver.sender is sender
    assert sender.track is track
    assert (transceiver.direction, transceiver.currentDirection, transceiver.mid) == ("sendrecv", None, None)
    assert transceiver.receiver.track.kind == "audio"
    assert transceiver.receiver.track.muted
    assert transceiver.receiver.track.readyState == "live"
    assert sender.transport is None
    assert transceiver.receiver.transport is None


async def test_add_track_when_closed(pcs: Connections) -> None:
    """addTrack when pc is closed should throw InvalidStateError"""
    pc = pcs()
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        pc.addTrack(audio())


async def test_add_track_twice(pcs: Connections) -> None:
    """Adding the same track multiple times should throw InvalidAccessError"""
    pc = pcs()
    track = audio()
    pc.addTrack(track)
    with pytest.raises(peer.InvalidAccessError):
        pc.addTrack(track)


async def test_add_track_reuses_a_sender(pcs: Connections) -> None:
    """addTrack with existing sender with null track, same kind, and recvonly direction should reuse sender"""
    pc = pcs()
    transceiver = pc.addTransceiver("audio", {"direction": "recvonly"})
    track = audio()
    sender = pc.addTrack(track)
    assert sender is transceiver.sender
    assert transceiver.direction == "sendrecv"
    assert pc.getSenders() == [sender]


async def test_add_track_does_not_reuse_one_that_has_sent(pcs: Connections) -> None:
    """addTrack with existing sender that has been used to send should create a new transceiver"""
    pc1, pc2 = pcs(), pcs()
    sender = pc1.addTrack(audio())
    await exchangeOfferAnswer(pc1, pc2)
    pc1.removeTrack(sender)
    pc1.addTrack(audio())
    assert len(pc1.getTransceivers()) == 2


async def test_add_track_does_not_take_another_kind(pcs: Connections) -> None:
    """addTrack with existing sender with null track, different kind, and recvonly direction should create new sender"""
    pc = pcs()
    pc.addTransceiver("video", {"direction": "recvonly"})
    pc.addTrack(audio())
    assert len(pc.getTransceivers()) == 2


@pytest.mark.parametrize("init", [{}, {"direction": "recvonly"}, {"direction": "inactive"}])
async def test_add_transceiver(pcs: Connections, init: Any) -> None:
    """addTransceiver(kind, init) should initialize direction"""
    pc = pcs()
    transceiver = pc.addTransceiver("audio", init)
    assert transceiver.direction == init.get("direction", "sendrecv")
    assert transceiver.sender.track is None
    assert not transceiver.stopped
    assert pc.getTransceivers() == [transceiver]


@pytest.mark.parametrize(("kind", "init"), [("invalid", {}), ("audio", {"direction": "invalid"})])
async def test_add_transceiver_with_wrong_values(pcs: Connections, kind: str, init: Any) -> None:
    """addTransceiver() with string argument as invalid kind, or invalid direction, should throw TypeError"""
    with pytest.raises(TypeError):
        pcs().addTransceiver(kind, init)


async def test_add_transceiver_does_not_reuse(pcs: Connections) -> None:
    """addTransceiver(track) twice with the same track makes two transceivers"""
    pc = pcs()
    track = audio()
    pc.addTransceiver(track)
    pc.addTransceiver(track)
    assert [t.sender.track for t in pc.getTransceivers()] == [track, track]


@pytest.mark.parametrize("encodings", [[{"rid": "a"}, {"rid": "a"}], [{"rid": "a"}, {}], [{"rid": "@b"}]])
async def test_add_transceiver_with_wrong_rids(pcs: Connections, encodings: Any) -> None:
    """addTransceiver() with rid containing invalid non-alphanumeric characters, or duplicate, should throw TypeError"""
    with pytest.raises(TypeError):
        pcs().addTransceiver("video", {"sendEncodings": encodings})


async def test_track_events_with_streams(pcs: Connections) -> None:
    """addTrack() with a track and two streams makes ontrack fire with a track and two streams."""
    pc1, pc2 = pcs(), pcs()
    streams = peer.MediaStream(), peer.MediaStream()
    track = audio()
    pc1.addTrack(track, *streams)
    events: list[Any] = []
    pc2.on("trackevent", events.append)
    await exchangeOfferAnswer(pc1, pc2)
    (event,) = events
    assert event.track.id == track.id
    assert [stream.id for stream in event.streams] == [stream.id for stream in streams]
    assert all(stream.getTracks() == [event.track] for stream in event.streams)
    assert event.transceiver.receiver is event.receiver
    assert event.receiver.track is event.track


async def test_two_tracks_in_one_stream(pcs: Connections) -> None:
    """addTrack() with two tracks and one stream makes ontrack fire twice with the tracks and shared stream."""
    pc1, pc2 = pcs(), pcs()
    stream = peer.MediaStream()
    pc1.addTrack(audio(), stream)
    pc1.addTrack(peer.VideoStreamTrack(), stream)
    events: list[Any] = []
    pc2.on("trackevent", events.append)
    await exchangeOfferAnswer(pc1, pc2)
    assert events[0].streams == events[1].streams
    assert len(events[0].streams[0].getTracks()) == 2


async def test_no_track_event_when_nothing_is_sent(pcs: Connections) -> None:
    """ontrack should not fire for a recvonly transceiver"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio", {"direction": "recvonly"})
    fired = counter(pc2, "track")
    await exchangeOfferAnswer(pc1, pc2)
    assert fired() == 0
    assert pc1.getTransceivers()[0].currentDirection == "inactive"


async def test_directions_are_negotiated(pcs: Connections) -> None:
    """setRemoteDescription: transceiver.currentDirection is what both agree on"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTrack(audio())
    pc2.addTrack(audio())
    await exchangeOfferAnswer(pc1, pc2)
    (one,), (two,) = pc1.getTransceivers(), pc2.getTransceivers()
    assert one.mid == two.mid
    assert (one.currentDirection, two.currentDirection) == ("sendrecv", "sendrecv")
    two.direction = "sendonly"
    await exchangeOfferAnswer(pc1, pc2)
    assert (one.currentDirection, two.currentDirection) == ("recvonly", "sendonly")
    assert one.direction == "sendrecv"


async def test_remote_offer_creates_a_recvonly_transceiver(pcs: Connections) -> None:
    """setRemoteDescription(offer): creates a transceiver with direction recvonly"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs, audio=True))
    (transceiver,) = pc.getTransceivers()
    assert (transceiver.direction, transceiver.currentDirection) == ("recvonly", None)
    assert transceiver.mid == "0"


async def test_remote_offer_does_not_take_add_transceivers(pcs: Connections) -> None:
    """setRemoteDescription(offer): does not associate a transceiver that addTransceiver made"""
    pc = pcs()
    mine = pc.addTransceiver("audio")
    await pc.setRemoteDescription(await offer_of(pcs, audio=True))
    assert len(pc.getTransceivers()) == 2
    assert mine.mid is None


async def test_remove_track(pcs: Connections) -> None:
    """removeTrack: sets the sender's track to null, and the direction to recvonly"""
    pc = pcs()
    sender = pc.addTrack(audio())
    (transceiver,) = pc.getTransceivers()
    pc.removeTrack(sender)
    assert sender.track is None
    assert transceiver.direction == "recvonly"
    assert pc.getSenders() == [sender]


async def test_remove_track_from_inactive(pcs: Connections) -> None:
    """Calling removeTrack with currentDirection inactive should not change direction"""
    pc = pcs()
    transceiver = pc.addTransceiver(audio(), {"direction": "inactive"})
    pc.removeTrack(transceiver.sender)
    assert transceiver.direction == "inactive"


async def test_remove_track_of_another_connection(pcs: Connections) -> None:
    """addTrack - Calling removeTrack on different connection should throw InvalidAccessError"""
    sender = pcs().addTrack(audio())
    with pytest.raises(peer.InvalidAccessError):
        pcs().removeTrack(sender)


async def test_remove_track_when_closed(pcs: Connections) -> None:
    """addTrack - Calling removeTrack when connection is closed should throw InvalidStateError"""
    pc = pcs()
    sender = pc.addTrack(audio())
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        pc.removeTrack(sender)


async def test_remove_track_again(pcs: Connections) -> None:
    """Calling removeTrack on a sender that has already been removed should have no effect"""
    pc = pcs()
    sender = pc.addTrack(audio())
    pc.removeTrack(sender)
    pc.removeTrack(sender)
    assert sender.track is None


async def test_remove_track_after_stop(pcs: Connections) -> None:
    """Calling removeTrack on a stopped transceiver should be a no-op"""
    pc = pcs()
    transceiver = pc.addTransceiver(audio())
    transceiver.stop()
    pc.removeTrack(transceiver.sender)
    assert transceiver.sender.track is not None


async def test_remote_track_leaves_its_stream(pcs: Connections) -> None:
    """removeTrack() causes onremovetrack and the track to be muted and removed from the remote stream"""
    pc1, pc2 = pcs(), pcs()
    stream = peer.MediaStream()
    sender = pc1.addTrack(audio(), stream)
    tracks: list[Any] = []
    pc2.on("track", tracks.append)
    await exchangeOfferAnswer(pc1, pc2)
    (remote,) = tracks[0].streams
    removed = counter(remote, "removetrack")
    pc1.removeTrack(sender)
    await exchangeOfferAnswer(pc1, pc2)
    assert removed() == 1
    assert remote.getTracks() == []
    assert tracks[0].muted
    pc1.getTransceivers()[0].sender.replaceTrack(audio())
    pc1.getTransceivers()[0].direction = "sendrecv"
    await exchangeOfferAnswer(pc1, pc2)
    assert len(tracks) == 2
    assert tracks[0] is tracks[1]


async def test_set_streams(pcs: Connections) -> None:
    """setStreams causes streams to be reported via ontrack on callee"""
    pc1, pc2 = pcs(), pcs()
    stream = peer.MediaStream()
    transceiver = pc1.addTransceiver("audio")
    transceiver.sender.setStreams(stream)
    tracks: list[Any] = []
    pc2.on("track", tracks.append)
    await exchangeOfferAnswer(pc1, pc2)
    assert [each.id for each in tracks[0].streams] == [stream.id]
    other = peer.MediaStream()
    await turns()
    fired = counter(pc1, "negotiationneeded")
    transceiver.sender.setStreams(other)
    await turns()
    assert fired() == 1
    await exchangeOfferAnswer(pc1, pc2)
    assert [each.id for each in tracks[1].streams] == [other.id]


async def test_stop(pcs: Connections) -> None:
    """A stopped transceiver should list its direction as stopped, and its receiver's track as ended"""
    pc = pcs()
    transceiver = pc.addTransceiver("audio")
    transceiver.stop()
    assert transceiver.direction == "stopped"
    assert transceiver.receiver.track.readyState == "live", "it ends in a task of its own"
    await asyncio.sleep(0)
    assert transceiver.receiver.track.readyState == "ended"
    assert transceiver.currentDirection is None
    assert pc.getReceivers() == [transceiver.receiver], "exposed before negotiation"
    with pytest.raises(peer.InvalidStateError):
        transceiver.direction = "sendrecv"
    assert "m=audio" not in (await pc.createOffer()).sdp


async def test_stop_on_a_closed_connection(pcs: Connections) -> None:
    """Calling stop on a closed peer connection should throw InvalidStateError"""
    pc = pcs()
    transceiver = pc.addTransceiver("audio")
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        transceiver.stop()


async def test_stop_of_the_first_keeps_the_bundle(pcs: Connections) -> None:
    """If a transceiver is stopped locally, setting a locally generated answer should still work, others unaffected"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.addTransceiver("audio")
    pc1.addTransceiver("video")
    await exchangeOfferAnswer(pc1, pc2)
    first, second = pc1.getTransceivers()
    transport = second.sender.transport
    first.stop()
    await exchangeOfferAnswer(pc1, pc2)
    assert first.currentDirection == "stopped"
    assert pc1.getTransceivers() == [second]
    assert second.sender.transport is transport
    assert transport.state != "closed"


async def test_stop_by_the_answerer(pcs: Connections) -> None:
    """checkStopAfterSetRemoteOffer: the answer makes it inactive, and the next offer stops it on both sides"""
    pc1, pc2 = pcs(), pcs()
    mine = pc1.addTransceiver("audio")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    theirs = pc2.getTransceivers()[0]
    theirs.stop()
    asked = needed(pc2)
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    assert mine.currentDirection == "inactive"
    assert (theirs.direction, theirs.currentDirection) == ("stopped", "inactive")
    await asked
    await exchangeOfferAnswer(pc2, pc1)
    assert mine.currentDirection == theirs.currentDirection == "stopped"
    assert pc1.getTransceivers() == pc2.getTransceivers() == []


async def test_codec_preferences(pcs: Connections) -> None:
    """setCodecPreferences() on audio transceiver with codecs reversed; with codecs not in capabilities should throw"""
    pc = pcs()
    transceiver = pc.addTransceiver("audio")
    capabilities: Any = peer.RTCRtpReceiver.getCapabilities("audio")
    codecs = capabilities.codecs
    transceiver.setCodecPreferences(codecs[::-1])
    line = next(line for line in (await pc.createOffer()).sdp.splitlines() if line.startswith("m=audio"))
    assert line.split()[3:] == ["101", "110", "8", "0", "9", "96"]
    transceiver.setCodecPreferences([])
    with pytest.raises(peer.InvalidModificationError):
        transceiver.setCodecPreferences([peer.RTCRtpCodecCapability(mimeType="audio/none", clockRate=1)])


async def test_add_track_does_not_make_an_added_transceiver_attach(pcs: Connections) -> None:
    """checkAddTransceiverThenAddTrackPairs"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio")
    pc2.addTransceiver("audio")
    pc2.addTrack(audio())
    await pc2.setRemoteDescription(await pc1.createOffer())
    first, second = pc2.getTransceivers()
    assert first.mid is None
    assert second.mid is not None


async def test_remote_rollback_with_a_track(pcs: Connections) -> None:
    """checkRemoteRollback"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTrack(audio(), peer.MediaStream())
    offer = await pc1.createOffer()
    await pc2.setRemoteDescription(offer)
    removed = pc2.getTransceivers()[0]
    await pc2.setRemoteDescription({"type": "rollback"})
    assert pc2.getTransceivers() == []
    assert (removed.mid, removed.currentDirection) == (None, "stopped")
    await pc2.setRemoteDescription(offer)
    pc2.addTrack(audio())
    await pc2.setRemoteDescription({"type": "rollback"})
    (kept,) = pc2.getTransceivers()
    assert (kept.mid, kept.direction) == (None, "sendrecv")
    fired = counter(pc2, "track")
    await pc2.setRemoteDescription(offer)
    assert pc2.getTransceivers() == [kept]
    assert fired() == 1
