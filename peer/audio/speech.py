"""Speech from any text-to-speech program that writes WAV to its output, such as espeak-ng."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np

from .opus import Pcm
from .wav import WavError, read_wav_header

ESPEAK = ("espeak-ng", "--stdin", "--stdout")
READ_AT_ONCE = 16384


class SpeechError(RuntimeError):
    """The text-to-speech program is missing, failed, or wrote something else than WAV."""


@dataclass(frozen=True, slots=True)
class SpokenPiece:
    """A part of what is being said, as samples."""

    samples: Pcm
    """int16, shape (frames, channels)."""
    sample_rate: int


async def speak(text: str, command: Sequence[str] = ESPEAK) -> AsyncGenerator[SpokenPiece, None]:
    """Say `text`, piece by piece as the program makes it.

    `command` gets the text on its input and writes 16-bit WAV to its output. Leaving the iteration early ends the
    program. Raises `SpeechError`.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SpeechError(f"{command[0]} is not installed (Debian: apt-get install {command[0]})")
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(text.encode())
        process.stdin.close()
        data = b""
        header: tuple[int, int, int] | None = None
        while header is None:
            more = await process.stdout.read(READ_AT_ONCE)
            if not more:
                said = (await process.stderr.read()).decode(errors="replace").strip()
                raise SpeechError(f"{command[0]} spoke nothing{': ' + said[:500] if said else ''}")
            data += more
            try:
                header = read_wav_header(data)
            except WavError as error:
                raise SpeechError(f"{command[0]}: {error}") from None
        rate, channels, begin = header
        data = data[begin:]
        while True:
            whole = len(data) // (2 * channels) * 2 * channels
            if whole:
                yield SpokenPiece(np.frombuffer(data[:whole], "<i2").reshape(-1, channels), rate)
                data = data[whole:]
            more = await process.stdout.read(READ_AT_ONCE)
            if not more:
                break
            data += more
        if await process.wait():
            said = (await process.stderr.read()).decode(errors="replace").strip()
            raise SpeechError(f"{command[0]} failed: {said[:500] or process.returncode}")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        # The transport holds the pipes; left alone they are closed by the garbage collector, with a warning.
        process._transport.close()  # type: ignore[attr-defined]
