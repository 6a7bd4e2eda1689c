from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from peer.audio import SpeechError, speak
from peer.audio.wav import WavError, read_wav, read_wav_header
from tests.audio.signals import loudness, tone


@pytest_asyncio.fixture(autouse=True)
async def programs_are_waited_for() -> AsyncIterator[None]:
    yield
    # asyncio waits for a program in a thread, which ends a moment after it.
    while any(thread.name.startswith("asyncio-waitpid") for thread in threading.enumerate()):
        await asyncio.sleep(0.01)


def wav(samples: np.ndarray, rate: int = 22050, length: int | None = None) -> bytes:
    data = samples.tobytes()
    size = len(data) if length is None else length
    form = struct.pack("<HHIIHH", 1, samples.shape[1], rate, rate * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def program(tmp_path: Path, code: str) -> tuple[str, ...]:
    path = tmp_path / "voice.py"
    path.write_text(code)
    return (sys.executable, str(path))


def test_a_wav_file_whose_length_is_a_lie_is_read_to_its_end() -> None:
    rate, samples = read_wav(wav(tone(0.1, 22050), length=0x7FFFF000))
    assert rate == 22050
    assert np.array_equal(samples, tone(0.1, 22050))


@given(st.binary(max_size=100))
def test_no_bytes_whatever_are_more_than_not_a_wav_file(data: bytes) -> None:
    for whole in (data, b"RIFF" + data, wav(tone(0.001))[:40] + data):
        with contextlib.suppress(WavError):
            rate, samples = read_wav(whole)
            assert rate > 0
            assert samples.ndim == 2


def test_a_header_that_is_not_all_there_yet_is_waited_for() -> None:
    whole = wav(tone(0.01))
    for cut in range(44):
        assert read_wav_header(whole[:cut]) is None
    assert read_wav_header(whole[:44]) == (22050, 1, 44)


async def test_a_program_speaks_piece_by_piece(tmp_path: Path) -> None:
    code = f"import sys; sys.stdin.read(); sys.stdout.buffer.write({wav(tone(1.0, 22050))!r})"
    pieces = [piece async for piece in speak("hello", program(tmp_path, code))]
    assert all(piece.sample_rate == 22050 for piece in pieces)
    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), tone(1.0, 22050))


async def test_leaving_early_ends_the_program(tmp_path: Path) -> None:
    code = (
        f"import sys, time; sys.stdout.buffer.write({wav(tone(0.1))!r});"
        " sys.stdout.buffer.flush(); time.sleep(600)"
    )
    async with asyncio.timeout(20):
        async with aclosing(speak("hello", program(tmp_path, code))) as pieces:
            async for _ in pieces:
                break


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('no voice here')", "no voice here"),
        ("print('this is text and longer than a header')", "no WAV file"),
        ("pass", "spoke nothing"),
    ],
)
async def test_a_program_that_fails_is_quoted(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(SpeechError, match=words):
        [piece async for piece in speak("hello", program(tmp_path, code))]


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(SpeechError, match="no-such-voice is not installed"):
        [piece async for piece in speak("hello", ("no-such-voice",))]


@pytest.mark.real
async def test_espeak_speaks() -> None:
    pieces = [piece async for piece in speak("Hello, how are you today?")]
    samples = np.concatenate([piece.samples for piece in pieces])
    assert 0.8 < len(samples) / pieces[0].sample_rate < 4.0
    assert loudness(samples) > 300
