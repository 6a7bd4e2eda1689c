"""Two peers in one program, trickling to each other without any server, and how long each step takes.

python -m examples.two_peers
"""

from __future__ import annotations

import asyncio
import time

from peer import RTCPeerConnection


async def main() -> None:
    began = time.perf_counter()

    def note(what: str) -> None:
        print(f"{(time.perf_counter() - began) * 1000:7.1f} ms  {what}")

    alice, bob = RTCPeerConnection(), RTCPeerConnection()
    answered = asyncio.Event()

    # Whatever one peer finds goes to the other at once; this is all that signalling has to do.
    for name, here, there in (("alice", alice, bob), ("bob", bob, alice)):

        @here.on("icecandidate")
        async def trickle(candidate, name=name, there=there) -> None:  # type: ignore[no-untyped-def]
            note(f"{name}: {candidate.candidate if candidate else 'no more candidates'}")
            if there.connectionState != "closed":
                await there.addIceCandidate(candidate)

        @here.on("connectionstatechange")
        def changed(name=name, here=here) -> None:  # type: ignore[no-untyped-def]
            note(f"{name}: {here.connectionState}")

    channel = alice.createDataChannel("chat")

    @channel.on("open")
    def opened() -> None:
        note("alice: channel open")
        channel.send("How do you do?")

    @channel.on("message")
    def replied(text: str) -> None:
        note(f"alice hears: {text}")
        answered.set()

    @bob.on("datachannel")
    def offered(remote) -> None:  # type: ignore[no-untyped-def]
        remote.on("message", lambda text: remote.send(f"{text} Very well!"))

    try:
        await alice.setLocalDescription()
        await bob.setRemoteDescription(alice.localDescription)
        await bob.setLocalDescription()
        await alice.setRemoteDescription(bob.localDescription)
        async with asyncio.timeout(10):
            await answered.wait()
    finally:
        await asyncio.gather(alice.close(), bob.close())


if __name__ == "__main__":
    asyncio.run(main())
