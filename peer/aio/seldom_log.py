"""A log that strangers cannot fill: what a peer causes is told once a second, with a count of what was not told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

__all__ = ["SeldomLog"]

INTERVAL: Final = 1.0
"""Seconds between two lines of one kind."""


class SeldomLog:
    """Logs each kind of line at most once in `interval` seconds; the next one says how many were left out.

    The kind of a line is its format string, so that this must not hold what a peer has sent. One of these belongs to
    one object (a connection's transport), whose peer then cannot hide what another object has to say.
    """

    def __init__(
        self,
        logger: logging.Logger,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._interval = interval
        self._clock = clock
        self._told: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, message: str, *values: object, error: BaseException | None = None) -> None:
        """Log a warning, with the traceback of `error` if there is one."""
        self._log(logging.WARNING, message, values, error)

    def info(self, message: str, *values: object) -> None:
        """Log what is worth knowing and no reason for worry."""
        self._log(logging.INFO, message, values, None)

    def _log(self, level: int, message: str, values: tuple[object, ...], error: BaseException | None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        now = self._clock()
        told = self._told.get(message)
        if told is not None and now - told < self._interval:
            self._left_out[message] = self._left_out.get(message, 0) + 1
            return
        self._told[message] = now
        left_out = self._left_out.pop(message, 0)
        if left_out:
            message, values = message + " (and %d more like it)", (*values, left_out)
        self._logger.log(level, message, *values, exc_info=error, stacklevel=3)
