"""Our client and our server together: publish, play, trickle, restart, leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import peer
from peer import MediaStreamTrack, whep, whip
from peer.audio import AudioSink, ToneTrack
from peer.whip.fragment import credentials_of
from tests.whip.serving import Served, serving


class Room:
    """Publishers' tracks by path, for players of the same path."""

    def __init__(self) -> None:
        self.relay = peer.MediaRelay()
        self.tracks: dict[str, list[MediaStreamTrack]] = {}
        self.published: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
        self.sessions: list[whip.ServerSession] = []

    async def on_publish(self, session: whip.ServerSession) -> None:
        self.sessions.append(session)
        async for track in session.tracks():
            self.tracks.setdefault(session.path, []).append(track)
            self.published.put_nowait(track)

    async def on_play(self, session: whip.ServerSession) -> None:
        self.sessions.append(session)
        for track in self.tracks.get(session.path, ()):
            session.pc.addTrack(track)


@pytest.fixture
async def room() -> Room:
    return Room()


@pytest.fixture
async def served(room: Room) -> AsyncIterator[Served]:
    async with serving(on_publish=room.on_publish, on_play=room.on_play) as served:
        yield served


async def test_what_is_published_can_be_played(room: Room, served: Served) -> None:
    async with whip.publish(served.whip(), tracks=[ToneTrack(440)]) as publishing:
        assert publishing.url is not None
        await asyncio.wait_for(room.published.get(), 5)
        async with whep.play(served.whep(), kinds=["audio"]) as playing:
            async for track in playing.tracks():
                async with AudioSink(track, 16000) as sink:
                    async for chunk in sink:
                        if abs(chunk.samples).max() > 1000:
                            break
                break
    await served.emptied()


async def test_leaving_the_block_deletes_the_session(served: Served) -> None:
    async with whip.publish(served.whip(), tracks=[ToneTrack(440)]):
        assert len(served.endpoints.sessions) == 1
    assert not served.endpoints.sessions


async def test_cancelling_deletes_the_session_too(served: Served) -> None:
    inside = asyncio.Event()

    async def publish() -> None:
        async with whip.publish(served.whip(), tracks=[ToneTrack(440)]):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(publish())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not served.endpoints.sessions


async def test_a_restart_moves_to_new_credentials_in_the_same_session(room: Room, served: Served) -> None:
    async with whip.publish(served.whip(), tracks=[ToneTrack(440)]) as session:
        [serving_session] = room.sessions
        tag, old = serving_session.etag, serving_session.pc.localDescription
        await session.restart()
        new = serving_session.pc.localDescription
        assert old is not None
        assert new is not None
        assert credentials_of(old.sdp) != credentials_of(new.sdp)
        assert serving_session.etag != tag
        assert session.pc.signalingState == "stable"
        ice = serving_session.pc.getTransceivers()[0].receiver.transport.iceTransport
        async with asyncio.timeout(5):
            while (pair := ice.getSelectedCandidatePair()) is None or (
                pair.local.usernameFragment != credentials_of(new.sdp)[0]
            ):
                await asyncio.sleep(0.01)
        assert session.pc.connectionState == "connected"
        assert list(served.endpoints.sessions) == [serving_session.id]


async def test_a_session_that_the_server_ends_is_over_for_its_client(room: Room, served: Served) -> None:
    async with whip.publish(served.whip(), tracks=[ToneTrack(440)]) as session:
        await room.sessions[0].close()
        await asyncio.wait_for(session.closed(), 5)
    await served.emptied()


async def test_a_track_of_nobody_ends_when_the_session_does(room: Room, served: Served) -> None:
    async with whip.publish(served.whip("a"), tracks=[ToneTrack(440)]):
        await asyncio.wait_for(room.published.get(), 5)
        async with whep.play(served.whep("a"), kinds=["audio"]) as playing:
            tracks = playing.tracks()
            await asyncio.wait_for(anext(tracks), 5)
    with pytest.raises(StopAsyncIteration):
        await anext(tracks)


async def test_a_token_is_checked_for_every_request(room: Room) -> None:
    async def authorize(token: str | None, path: str, action: str) -> bool:
        return token == "secret" and path == "live" and action == "publish"

    async with serving(on_publish=room.on_publish, authorize=authorize) as served:
        with pytest.raises(whip.Unauthorized) as missing:
            async with whip.publish(served.whip(), tracks=[ToneTrack(440)]):
                pass
        assert missing.value.status == 401
        with pytest.raises(whip.Unauthorized) as wrong:
            async with whip.publish(served.whip(), tracks=[ToneTrack(440)], token="guess"):
                pass
        assert wrong.value.status == 403
        async with whip.publish(served.whip(), tracks=[ToneTrack(440)], token="secret"):
            pass
        assert not served.endpoints.sessions


async def test_mounted_anywhere_the_session_is_found(room: Room) -> None:
    async with (
        serving(mount="/media/v1", on_publish=room.on_publish) as served,
        whip.publish(served.whip(), tracks=[ToneTrack(440)]) as session,
    ):
        assert session.url is not None
        assert "/media/v1/sessions/" in session.url


async def test_a_handler_that_fails_before_the_answer_is_a_500_and_leaves_nothing() -> None:
    async def fail(session: whip.ServerSession) -> None:
        raise RuntimeError("no camera")

    async with serving(on_publish=fail) as served:
        with pytest.raises(whip.WhipError) as error:
            async with whip.publish(served.whip(), tracks=[ToneTrack(440)]):
                pass
        assert error.value.status == 500
        assert not served.endpoints.sessions


async def test_a_handler_may_refuse_with_a_status_of_its_own() -> None:
    async def refuse(session: whip.ServerSession) -> None:
        raise whip.Reject(409, "somebody publishes here already")

    async with serving(on_publish=refuse) as served:
        with pytest.raises(whip.WhipError, match="somebody publishes here already") as error:
            async with whip.publish(served.whip(), tracks=[ToneTrack(440)]):
                pass
        assert error.value.status == 409
