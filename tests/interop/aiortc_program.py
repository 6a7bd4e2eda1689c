"""aiortc's example programs, with nothing but their import changed, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0

# The examples take uvloop where it is installed, and ask for a loop in a way that uvloop has given up.
RUN = """
import runpy, sys
sys.modules["uvloop"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def with_our_import(example: Path, to: Path) -> Path:
    """The program, in a copy of its directory."""
    directory = to / example.parent.name
    shutil.copytree(example.parent, directory)
    program = directory / example.name
    text = re.sub(r"^(from|import) aiortc\b", r"\1 peer.aiortc", program.read_text(), flags=re.MULTILINE)
    assert "peer.aiortc" in text
    program.write_text(text)
    return program


class Program:
    """A program that runs, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._heard = asyncio.Condition()
        self.listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._heard:
                self.output += line.decode()
                self._heard.notify_all()
        await self.process.wait()
        async with self._heard:
            self._heard.notify_all()

    async def says(self, wanted: str) -> str:
        """Wait until it has said something that matches; what matched."""

        def found() -> bool:
            return re.search(wanted, self.output) is not None or self.process.returncode is not None

        async with self._heard:
            await asyncio.wait_for(self._heard.wait_for(found), PATIENCE)
        match = re.search(wanted, self.output)
        assert match is not None, f"it ended without saying {wanted!r}:\n{self.output}"
        return match[0]

    async def exists(self, path: Path, size: int = 0) -> None:
        """Wait until the program has made a file of at least so many bytes."""
        for _ in range(int(PATIENCE / 0.02)):
            if path.exists() and path.stat().st_size >= size:  # noqa: ASYNC240
                return
            assert self.process.returncode is None, self.output
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path.name} was not made")

    async def rest(self) -> str:
        """Wait for the end; all it has said."""
        await asyncio.wait_for(asyncio.shield(self.listening), PATIENCE)
        return self.output

    async def interrupt(self) -> str:
        """Press control-C, and wait for the end; all it has said."""
        self.process.send_signal(signal.SIGINT)
        return await self.rest()


@asynccontextmanager
async def running(program: Path, *arguments: str) -> AsyncIterator[Program]:
    """The program in its directory; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, str(program), *arguments),
        cwd=program.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    running = Program(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.listening


def write_film(path: Path, seconds: int = 15, *, audio: bool = True) -> Path:
    """A film of noise, 160 × 120 at 30 frames a second, with a tone of 440 Hz."""
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=30, options={"g": "30", "bf": "0", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        sound: Any = out.add_stream("aac", rate=48000, layout="mono") if audio else None
        for number in range(seconds * 30):
            picture = rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(video.encode(frame))
            if sound is not None:
                at = (np.arange(1600) + number * 1600) / 48000
                samples = (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
                tone = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = 48000, number * 1600, Fraction(1, 48000)
                out.mux(sound.encode(tone))
        for stream in (video, sound):
            if stream is not None:
                out.mux(stream.encode(None))
    return path


def seen(path: Path) -> tuple[int, float]:
    """How many pictures a recording has, and the loudness (RMS, of 1) of its sound."""
    pictures, samples = 0, [np.zeros(1)]
    with av.open(str(path)) as film:
        frame: Any
        for frame in film.decode():
            if isinstance(frame, av.VideoFrame):
                pictures += 1
            else:
                sound = frame.to_ndarray().astype(np.float64).ravel()
                samples.append(sound if frame.format.name.startswith("flt") else sound / 32768)
    return pictures, float(np.sqrt(np.mean(np.concatenate(samples) ** 2)))
