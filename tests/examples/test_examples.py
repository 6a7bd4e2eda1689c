"""The examples that need nothing but a relay, as their users run them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import av
import pytest

from examples import chat, demo, play_file, record_room, send_file, two_peers
from signaling import RelayServer, RelaySettings
from tests.call.test_relay import until


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def somebody_in(server: RelayServer) -> None:
    while (await server.relay.backplane.counts())[1] == 0:
        await asyncio.sleep(0.01)


async def test_two_peers_talk(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    await two_peers.main()
    assert "alice hears: How do you do? Very well!" in capsys.readouterr().out
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_file_arrives_whole_and_under_its_own_name_only(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    original = tmp_path / "here" / "film.bin"
    original.write_bytes(os.urandom(500_000))
    async with RelayServer(RelaySettings(development=True), port=0) as server:
        receiving = asyncio.create_task(
            send_file.receive(server.url, tmp_path / "there", room="r", name="receiver")
        )
        await somebody_in(server)
        await send_file.send(server.url, original, room="r", name="sender")
        await cancelled(receiving)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["film.bin"]
    assert (tmp_path / "there" / "film.bin").read_bytes() == original.read_bytes()


async def test_what_is_piped_into_chat_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"Is anybody there?\n")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        async with demo.demo(port=0) as (server, _):
            await chat.chat(server.url, room="demo", name="Ada")
    assert "Echo bot: You said: Is anybody there?" in capsys.readouterr().out


def film(path: Path, seconds: float) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for number in range(int(seconds * 24)):
            picture = av.VideoFrame(320, 240, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes([number % 256]) * plane.buffer_size)
            picture.pts = number
            container.mux(video.encode(picture))
        for number in range(int(seconds * 48000 / 1024)):
            samples = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            samples.planes[0].update(bytes(samples.planes[0].buffer_size))
            samples.sample_rate, samples.pts = 48000, number * 1024
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


@pytest.mark.real
async def test_what_one_plays_the_other_records(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", 5)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    async with RelayServer(RelaySettings(development=True), port=0) as server:
        recording = asyncio.create_task(record_room.record(server.url, recordings, room="r", name="recorder"))
        await somebody_in(server)
        await play_file.play(
            server.url, str(tmp_path / "film.mp4"), room="r", name="Ada Lovelace", loop=False
        )
        await until(lambda: list(recordings.iterdir()), "a recording")
        await asyncio.sleep(0.5)
        await cancelled(recording)
    [path] = recordings.iterdir()
    assert "-Ada_Lovelace-" in path.name
    with av.open(str(path)) as container:
        counts = {stream.type: 0 for stream in container.streams}
        for packet in container.demux():
            counts[packet.stream.type] += len(packet.decode())
    assert counts["video"] > 60
    assert counts["audio"] > 100
