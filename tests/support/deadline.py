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
    """Something took longer than it may; or, if `hung`, would never have ended."""

    def __init__(self, message: str, *, hung: bool = False) -> None:
        super().__init__(message)
        self.hung = hung


class _BrokenOff(BaseException):
    """Passes whoever catches every `Exception`."""


@contextmanager
def at_most(seconds: float, hang: float = HANG_SECONDS) -> Iterator[None]:
    """What is done inside may use `seconds` of processor time; what takes `hang` seconds is broken off.

    Raises `TookTooLong`. In the main thread only, and in Python code only: a signal is what ends it.
    """
    where: list[str] = []

    def break_off(_: int, frame: FrameType | None) -> None:
        where.append(f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "somewhere")
        raise _BrokenOff

    handler_before = signal.signal(signal.SIGALRM, break_off)
    left, interval = signal.setitimer(signal.ITIMER_REAL, hang)
    began = time.thread_time()
    try:
        yield
    except _BrokenOff:
        pass
    finally:
        took = time.thread_time() - began
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, handler_before)
    if where:
        raise TookTooLong(f"not done after {hang:g} s, at {where[0]}", hung=True)
    if took > seconds:
        raise TookTooLong(f"took {took * 1000:.0f} ms of processor time, more than {seconds * 1000:.0f} ms")
