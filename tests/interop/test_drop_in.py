"""aiortc's own example programs, from its source distribution, with nothing but their import changed."""

from __future__ import annotations

import os
from pathlib import Path

import aiortc
import pytest

import peer
import peer.aiortc
from tests.interop.aiortc_program import running, seen, with_our_import, write_film


def test_every_public_name_of_aiortc_is_there_under_both_imports() -> None:
    for name in aiortc.__all__:
        assert hasattr(peer, name), name
        assert hasattr(peer.aiortc, name), name
    assert issubclass(peer.RTCSessionDescription, aiortc.RTCSessionDescription)
    assert issubclass(peer.RTCIceCandidate, aiortc.RTCIceCandidate)


async def test_the_import_for_aiortc_programs_waits_for_candidates() -> None:
    connection = peer.aiortc.RTCPeerConnection(peer.aiortc.RTCConfiguration(iceServers=[]))
    connection.createDataChannel("x")
    await connection.setLocalDescription(await connection.createOffer())
    assert connection.iceGatheringState == "complete"
    assert "a=end-of-candidates" in connection.localDescription.sdp  # type: ignore[union-attr]
    await connection.close()


@pytest.mark.real
@pytest.mark.timeout(400)
async def test_datachannel_cli(source: Path, tmp_path: Path) -> None:
    program = with_our_import(source / "examples/datachannel-cli/cli.py", tmp_path)
    signalling = ("--signaling", "unix-socket", "--signaling-path", str(tmp_path / "s"))
    async with running(program, "offer", *signalling) as offer:
        await offer.exists(tmp_path / "s")
        async with running(program, "answer", *signalling):
            await offer.says("RTT")
            assert "pong" in offer.output


@pytest.mark.real
@pytest.mark.timeout(400)
async def test_datachannel_filexfer(source: Path, tmp_path: Path) -> None:
    program = with_our_import(source / "examples/datachannel-filexfer/filexfer.py", tmp_path)
    (tmp_path / "in").write_bytes(os.urandom(300_000))
    signalling = ("--signaling", "unix-socket", "--signaling-path", str(tmp_path / "s"))
    async with running(program, "send", str(tmp_path / "in"), *signalling) as send:
        await send.exists(tmp_path / "s")
        async with running(program, "receive", str(tmp_path / "out"), *signalling) as receive:
            await receive.rest()
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


@pytest.mark.real
@pytest.mark.timeout(400)
async def test_videostream_cli(source: Path, tmp_path: Path) -> None:
    program = with_our_import(source / "examples/videostream-cli/cli.py", tmp_path)
    film, there = write_film(tmp_path / "film.mp4"), tmp_path / "there.ts"
    sends = ("--play-from", str(film), "--record-to", str(tmp_path / "back-%3d.png"))
    signalling = ("--signaling", "unix-socket", "--signaling-path", str(tmp_path / "s"))
    async with running(program, "offer", *signalling, *sends) as offer:
        await offer.exists(tmp_path / "s")
        async with running(program, "answer", *signalling, "--record-to", str(there)) as answer:
            await answer.exists(there, 30_000)
            await offer.exists(tmp_path / "back-009.png")
            assert "Receiving video" in offer.output
            await answer.interrupt()
            assert (await offer.rest()).endswith("Exiting\n")  # the other said goodbye
    pictures, loudness = seen(there)
    assert pictures > 9
    assert loudness > 0.05
    assert seen(tmp_path / "back-008.png") == (1, 0)  # of the flag
