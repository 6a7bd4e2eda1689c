"""How long a piece of code may take that must never take long, and an end for what would never end by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

HANG_SECONDS: Final = 2.0

_LOOKS: Final = 8
"""How often in `hang` seconds somebody looks whether it is time."""


class TookTooLong(AssertionError):
    """Something took longer than it may; or, if `hung`, would never have ended."""

    def __init__(self, message: str, *, hung: bool = False) -> None:
        super().__init__(message)
        self.hung = hung


class _BrokenOff(BaseException):
    """Passes whoever catches every `Exception`."""


class Watch:
    """Breaks off what takes `hang` seconds, of one piece of code after another: one timer serves all of them.

    In the main thread only, and in Python code only: a signal is what ends it.
    """

    def __init__(self, hang: float = HANG_SECONDS) -> None:
        self.took = 0.0
        """Seconds of processor time of the piece that ended last."""
        self._hang = hang
        self._due: float | None = None
        self._where = ""

    def __enter__(self) -> Watch:
        self._before: Any = signal.signal(signal.SIGALRM, self._look)
        self._timer_before = signal.setitimer(signal.ITIMER_REAL, self._hang / _LOOKS, self._hang / _LOOKS)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, *self._timer_before)
        signal.signal(signal.SIGALRM, self._before)

    def _begin(self) -> None:
        self._where = ""
        self._due = time.monotonic() + self._hang
        self._began = time.thread_time()

    def _end(self) -> None:
        self.took = time.thread_time() - self._began
        self._due = None
        if self._where:
            raise TookTooLong(f"not done after {self._hang:g} s, at {self._where}", hung=True)

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """What is done inside may use so many seconds of processor time. Raises `TookTooLong`."""
        self._begin()
        try:
            yield
        except _BrokenOff:
            pass
        finally:
            self._end()
        if self.took > seconds:
            allowed = f"more than {seconds * 1000:.0f} ms"
            raise TookTooLong(f"took {self.took * 1000:.0f} ms of processor time, {allowed}")

    def _look(self, _: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._due is None or now < self._due:
            return
        # What swallows this one is broken off again.
        self._due = now + self._hang
        self._where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "somewhere"
        raise _BrokenOff


@contextmanager
def at_most(seconds: float, hang: float = HANG_SECONDS) -> Iterator[None]:
    """What is done inside may use `seconds` of processor time; what takes `hang` seconds is broken off.

    Raises `TookTooLong`. In the main thread only, and in Python code only.
    """
    with Watch(hang) as watch, watch.at_most(seconds):
        yield
