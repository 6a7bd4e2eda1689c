"""How long a piece of code may take that must never take long, and an end for what would never end by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

HANG_SECONDS: Final = 2.0


class TookTooLong(AssertionError):
    """Something took longer than it may."""


@contextmanager
def at_most(seconds: float, hang: float = HANG_SECONDS) -> Iterator[None]:
    """What is done inside may use `seconds` of processor time; what takes `hang` seconds is broken off.

    In the main thread only, and in Python code only: a signal is what ends it.
    """

    def broken_off(_: int, frame: FrameType | None) -> None:
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "somewhere"
        raise TookTooLong(f"not done after {hang} s, at {where}")

    before_handler = signal.signal(signal.SIGALRM, broken_off)
    left, interval = signal.setitimer(signal.ITIMER_REAL, hang)
    began = time.thread_time()
    try:
        yield
        took = time.thread_time() - began
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, before_handler)
    if took > seconds:
        raise TookTooLong(f"took {took * 1000:.0f} ms of processor time, more than {seconds * 1000:.0f} ms")
