"""Programs that end without saying goodbye: nothing is printed, and nothing keeps them from ending."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import asyncio, sys
import peer
from peer import RTCConfiguration, RTCPeerConnection

async def connected(module=peer):
    one = module.RTCPeerConnection(RTCConfiguration(iceServers=[]) if module is peer else None)
    two = module.RTCPeerConnection(RTCConfiguration(iceServers=[]) if module is peer else None)
    channel = one.createDataChannel("chat")
    open_ = asyncio.Event()
    channel.on("open", open_.set)
    await one.setLocalDescription(await one.createOffer())
    if module is peer:
        await one.gathering_complete()
    await two.setRemoteDescription(one.localDescription)
    await two.setLocalDescription(await two.createAnswer())
    if module is peer:
        await two.gathering_complete()
    await one.setRemoteDescription(two.localDescription)
    await open_.wait()
    return one, two, channel
"""

BEGINNINGS = {
    "connected": "pair = await connected()",
    "connected with aiortc's import": """
import peer.aiortc
pair = await connected(peer.aiortc)
""",
    "media flows": """
one, two, _ = pair = await connected()
one.addTrack(peer.AudioSource(48000))
one.addTransceiver("video")
await one.setLocalDescription()
await two.setRemoteDescription(one.localDescription)
await two.setLocalDescription()
await one.setRemoteDescription(two.localDescription)
""",
    "still gathering": """
one = RTCPeerConnection(RTCConfiguration(iceServers=[peer.RTCIceServer("stun:192.0.2.1")]))
one.createDataChannel("chat")
await one.setLocalDescription(await one.createOffer())
""",
    "still checking": """
one, two = RTCPeerConnection(), RTCPeerConnection()
one.createDataChannel("chat")
await one.setLocalDescription(await one.createOffer())
await two.setRemoteDescription(one.localDescription)
await two.setLocalDescription(await two.createAnswer())
await one.setRemoteDescription(two.localDescription)
""",
    "nothing done": "one = RTCPeerConnection()",
    "no relay to signal through": """
from signaling import SignalingClient
client = SignalingClient("ws://127.0.0.1:9/ws", room="r")
task = asyncio.ensure_future(client.__aenter__())
await asyncio.sleep(0.05)
""",
}

ENDS = {
    "returns": ("", 0, ""),
    "raises": ("raise LookupError('the program is wrong')", 1, "LookupError: the program is wrong"),
    "exits": ("sys.exit(3)", 3, ""),
}


def run(beginning: str, end: str) -> subprocess.CompletedProcess[str]:
    body = textwrap.indent(beginning.strip() + "\n" + end, "    ")
    program = f"{PREAMBLE}\nasync def main():\n{body}\n\nasyncio.run(main())\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Each starts a program of its own; one of each way to end is quick enough for every day.
DAILY = {("connected", "returns"), ("still checking", "raises"), ("no relay to signal through", "exits")}


@pytest.mark.parametrize(
    ("beginning", "end"),
    [
        pytest.param(beginning, end, marks=[] if (beginning, end) in DAILY else pytest.mark.slow)
        for beginning in BEGINNINGS
        for end in ENDS
    ],
)
def test_a_program_that_closes_nothing_says_nothing(beginning: str, end: str) -> None:
    statement, code, last = ENDS[end]
    done = run(BEGINNINGS[beginning], statement)
    said = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert said[-1:] == ([last] if last else []), done.stderr
    for trouble in ("Task was destroyed", "never awaited", "ResourceWarning"):
        assert trouble not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_ctrl_c_ends_a_call_with_nothing_but_its_own_traceback() -> None:
    body = "pair = await connected(); print('ready', flush=True); await asyncio.sleep(60)"
    program = f"{PREAMBLE}\nasync def main():\n    {body}\n\nasyncio.run(main())\n"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert said.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert "Task was destroyed" not in said
    assert "ResourceWarning" not in said
