"""FFmpeg's WHIP publisher, the one in PyAV's wheel, and a peer connection that answers it over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from peer import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from tests.interop.coturn import make_certificate

pytestmark = pytest.mark.real


class Answerer:
    """What a WHIP endpoint comes down to: an offer comes by POST, its answer goes back with 201."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection({"iceServers": []})
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.pc.on("track", lambda track: self.tracks.__setitem__(track.kind, track))
        self.answered_at = self.connected_at = 0.0
        self.connected = asyncio.Event()
        self.pc.on("connectionstatechange", self._changed)

    def _changed(self) -> None:
        if self.pc.connectionState == "connected" and not self.connected_at:
            self.connected_at = asyncio.get_running_loop().time()
            self.connected.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (
                    int(line.split(":")[1])
                    for line in head.splitlines()
                    if line.lower().startswith("content-length")
                ),
                0,
            )
            body = (await reader.readexactly(length)).decode()
            if not head.startswith("POST"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            await self.pc.setRemoteDescription(RTCSessionDescription(body, "offer"))
            await self.pc.setLocalDescription()
            await self.pc.gathering_complete()
            assert self.pc.localDescription is not None
            answer = self.pc.localDescription.sdp.encode()
            writer.write(
                b"HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: /session\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(answer)
            )
            writer.write(answer)
            self.answered_at = asyncio.get_running_loop().time()
            await writer.drain()
        finally:
            writer.close()


async def test_ffmpeg_publishes_to_a_peer_within_three_tenths_of_a_second(tmp_path: Path) -> None:
    answerer = Answerer()
    server = await asyncio.start_server(answerer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    files = [str(file) for file in make_certificate(tmp_path)]
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.interop.whip_publisher", f"http://127.0.0.1:{port}/whip", *files
    )
    try:
        async with asyncio.timeout(20):
            await answerer.connected.wait()
            assert answerer.connected_at - answerer.answered_at <= 0.3
            for track in (answerer.tracks["video"], answerer.tracks["audio"]):
                frames = [await track.recv() for _ in range(5)]
                assert all(frame.pts is not None for frame in frames)
    finally:
        with contextlib.suppress(ProcessLookupError):
            publisher.kill()
        await publisher.wait()
        await answerer.pc.close()
        server.close()
        await server.wait_closed()
