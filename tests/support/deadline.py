"""How long a piece of code may take that must never take long, and an end for what would never end by itself."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

HANG_SECONDS: Final = 2.0

_LOOKS: Final = 8
"""How often in `hang` seconds somebody looks whether it is time."""

_STUCK: Final = 10

_OURS: Final = (__file__, contextlib.__file__)
"""Code between the pieces, which is not to be broken off."""


class TookTooLong(AssertionError):
    """Something took longer than it may; or, if `hung`, would never have ended."""

    def __init__(self, message: str, *, hung: bool = False) -> None:
        super().__init__(message)
        self.hung = hung


class _BrokenOff(BaseException):
    """Passes whoever catches every `Exception`."""


class Watch:
    """Breaks off what does not end, of one piece of code after another: one timer serves all of them.

    A piece that has used `hang` seconds of processor time is broken off, or one that has been there for `_STUCK` times
    as long: a machine may be busy with something else. In the main thread only, and in Python code only: a signal is
    what ends it.
    """

    def __init__(self, hang: float = HANG_SECONDS) -> None:
        self.took = 0.0
        """Seconds of processor time of the piece that ended last."""
        self._hang = hang
        self._running = False
        self._where = ""

    def __enter__(self) -> Watch:
        self._before: Any = signal.signal(signal.SIGALRM, self._look)
        self._timer_before = signal.setitimer(signal.ITIMER_REAL, self._hang / _LOOKS, self._hang / _LOOKS)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, *self._timer_before)
        signal.signal(signal.SIGALRM, self._before)

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """What is done inside may use so many seconds of processor time. Raises `TookTooLong`."""
        self._where = ""
        self._began = self._allowed_from = time.thread_time()
        self._since = time.monotonic()
        self._running = True
        try:
            yield
        except _BrokenOff:
            pass
        finally:
            self._running = False
            self.took = time.thread_time() - self._began
        if self._where:
            raise TookTooLong(
                f"not done after {self.took:.1f} s of processor time, at {self._where}", hung=True
            )
        if self.took > seconds:
            allowed = f"more than {seconds * 1000:.0f} ms"
            raise TookTooLong(f"took {self.took * 1000:.0f} ms of processor time, {allowed}")

    def _look(self, _: int, frame: FrameType | None) -> None:
        if not self._running or frame is None or frame.f_code.co_filename in _OURS:
            return
        used, waited = time.thread_time() - self._allowed_from, time.monotonic() - self._since
        if used < self._hang and waited < self._hang * _STUCK:
            return
        # What swallows this is broken off again.
        self._allowed_from, self._since = time.thread_time(), time.monotonic()
        self._where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        raise _BrokenOff


@contextlib.contextmanager
def at_most(seconds: float, hang: float = HANG_SECONDS) -> Iterator[None]:
    """What is done inside may use `seconds` of processor time; what takes `hang` seconds is broken off.

    Raises `TookTooLong`. In the main thread only, and in Python code only.
    """
    with Watch(hang) as watch, watch.at_most(seconds):
        yield
