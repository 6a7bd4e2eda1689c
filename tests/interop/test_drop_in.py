"""aiortc's own example programs, from its source distribution, with nothing but their import changed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import aiortc
import pytest

import peer
import peer.aiortc

from .test_aiortc_suite import source

__all__ = ["source"]

ROOT = Path(__file__).parents[2]

# The examples take uvloop where it is installed, and ask for a loop in a way that uvloop has given up.
RUN = """
import runpy, sys
sys.modules["uvloop"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


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


async def start(program: Path, *arguments: str, cwd: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RUN,
        str(program),
        *arguments,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )


def with_our_import(example: Path, to: Path) -> Path:
    text = re.sub(r"^(from|import) aiortc\b", r"\1 peer.aiortc", example.read_text(), flags=re.MULTILINE)
    program = to / example.name
    assert "peer.aiortc" in text
    program.write_text(text)
    return program


def there(path: Path) -> bool:
    return path.exists()


async def listening(process: asyncio.subprocess.Process, path: Path) -> None:
    for _ in range(400):
        if there(path):
            return
        assert process.returncode is None
        await asyncio.sleep(0.05)
    pytest.fail(f"nothing ever listened on {path}")


async def saying(process: asyncio.subprocess.Process, wanted: str) -> str:
    assert process.stdout is not None
    heard = ""
    while wanted not in heard:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line, heard
        heard += line.decode()
    return heard


@pytest.mark.real
@pytest.mark.timeout(400)
async def test_datachannel_cli(source: Path, tmp_path: Path) -> None:
    program = with_our_import(source / "examples/datachannel-cli/cli.py", tmp_path)
    signalling = ("--signaling", "unix-socket", "--signaling-path", str(tmp_path / "s"))
    offer = await start(program, "offer", *signalling, cwd=tmp_path)
    await listening(offer, tmp_path / "s")
    answer = await start(program, "answer", *signalling, cwd=tmp_path)
    try:
        assert "pong" in await saying(offer, "RTT")
    finally:
        for process in (offer, answer):
            process.kill()
            await process.wait()


@pytest.mark.real
@pytest.mark.timeout(400)
async def test_datachannel_filexfer(source: Path, tmp_path: Path) -> None:
    program = with_our_import(source / "examples/datachannel-filexfer/filexfer.py", tmp_path)
    (tmp_path / "in").write_bytes(os.urandom(300_000))
    signalling = ("--signaling", "unix-socket", "--signaling-path", str(tmp_path / "s"))
    send = await start(program, "send", str(tmp_path / "in"), *signalling, cwd=tmp_path)
    await listening(send, tmp_path / "s")
    receive = await start(program, "receive", str(tmp_path / "out"), *signalling, cwd=tmp_path)
    try:
        await asyncio.wait_for(receive.wait(), 30)
    finally:
        for process in (send, receive):
            if process.returncode is None:
                process.kill()
            await process.wait()
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
