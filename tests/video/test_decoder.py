"""Frames are decoded off the loop, never late, and never at whatever size a peer claims."""

from __future__ import annotations

import asyncio
import threading
from fractions import Fraction
from typing import Any

import av
import pytest
from aiortc.codecs import get_encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from peer.video import decoder as module
from peer.video.decoder import BEHIND_MAX, FrameDecoder
from peer.video.jitter_buffer import EncodedFrame

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=96)


def encoded(number: int = 0, *, key: bool = True) -> EncodedFrame:
    """A picture of 64×48 as its encoder makes it."""
    picture = av.VideoFrame(64, 48, "yuv420p")
    picture.pts, picture.time_base = number * 3000, Fraction(1, 90000)
    payloads, _ = get_encoder(VP8).encode(picture, force_keyframe=True)
    data = b"".join(VpxPayloadDescriptor.parse(payload)[1] for payload in payloads)
    return EncodedFrame(data, number * 3000, key, 0.0)


def claiming(width: int, height: int) -> EncodedFrame:
    data = (
        b"\x10\x00\x00\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes(50)
    )
    return EncodedFrame(data, 0, True, 0.0)


class Sink:
    def __init__(self) -> None:
        self.pictures: list[Any] = []
        self.threads: set[int] = set()
        self.key_frames_wanted = 0
        self.came = asyncio.Event()
        self.decoder = FrameDecoder(self.decoded, self.wanted)

    def decoded(self, picture: Any, _: EncodedFrame) -> None:
        self.pictures.append(picture)
        self.threads.add(threading.get_ident())
        self.came.set()

    def wanted(self) -> None:
        self.key_frames_wanted += 1


async def test_what_came_before_anybody_read_is_shown_from_its_key_frame_on() -> None:
    sink = Sink()
    sink.decoder.put(VP8, encoded())
    assert not sink.pictures
    sink.decoder.read()
    await asyncio.wait_for(sink.came.wait(), 5)
    assert (sink.pictures[0].width, sink.pictures[0].height) == (64, 48)
    assert sink.threads == {threading.get_ident()}  # pictures are handed over on the loop
    sink.decoder.close()


async def test_nothing_refers_to_a_key_frame_that_never_came() -> None:
    sink = Sink()
    sink.decoder.read()
    assert sink.key_frames_wanted == 1
    sink.decoder.put(VP8, encoded(key=False))
    assert sink.decoder.dropped == 1
    sink.decoder.close()


async def test_a_few_bytes_that_claim_a_picture_of_gigabytes_are_not_decoded() -> None:
    sink = Sink()
    sink.decoder.read()
    sink.decoder.put(VP8, claiming(16383, 16383))
    while not sink.decoder.failures:
        await asyncio.sleep(0.001)
    assert not sink.pictures
    sink.decoder.put(VP8, encoded(1))  # and the next good one is
    await asyncio.wait_for(sink.came.wait(), 5)
    sink.decoder.close()


async def test_a_decoder_that_is_late_drops_what_waits_and_asks_for_a_key_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(module.FrameDecoder, "_decode", lambda *_: gate.wait(10) and [])
    loop = asyncio.get_running_loop()
    clock = [loop.time()]
    monkeypatch.setattr(loop, "time", lambda: clock[0])
    sink = Sink()
    sink.decoder.read()
    sink.decoder.put(VP8, EncodedFrame(b"x", 0, True, 0.0))
    for number in range(1, 100):
        clock[0] += BEHIND_MAX / 10
        sink.decoder.put(VP8, EncodedFrame(b"x", number, False, 0.0))
    assert sink.decoder.dropped > 80
    assert sink.key_frames_wanted >= 2
    gate.set()
    sink.decoder.close()


async def test_closing_waits_for_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(module.FrameDecoder, "_decode", lambda *_: gate.wait(10) and [])
    sink = Sink()
    sink.decoder.read()
    sink.decoder.put(VP8, EncodedFrame(b"x", 0, True, 0.0))
    sink.decoder.close()
    assert not gate.is_set()
    gate.set()
