"""The emitter that objects with events share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pyee.asyncio import AsyncIOEventEmitter

logger = logging.getLogger("peer.events")


class GuardedHandlers(AsyncIOEventEmitter):
    """pyee's emitter, in which a handler that raises hurts nobody else. Put before aiortc's class among the bases.

    Its exception goes to the event loop's exception handler, as a browser reports one to `window.onerror`:
    the other handlers still run, and the operation that emitted the event goes on. (pyee turns it into an `error`
    event, and raises it in the middle of our packet loop when nobody listens to that.)
    """

    _inline: list[tuple[Any, Callable[..., Any]]] | None = None

    def _emit_run(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            result = f(*args, **kwargs)
        except (Exception, asyncio.CancelledError) as exc:
            # The cancellation is of something the handler asked about: nobody can cancel it while it runs.
            self._report(exc, f)
            return
        if not (asyncio.iscoroutine(result) or isinstance(result, asyncio.Future)):
            return
        if self._inline is not None:
            self._inline.append((result, f))
            return
        self._follow(result, f)

    def _follow(self, result: Any, f: Callable[..., Any]) -> None:
        task = asyncio.ensure_future(result)

        def done(task: asyncio.Future[Any]) -> None:
            self._waiting.discard(task)
            if not task.cancelled() and (exc := task.exception()) is not None:
                self._report(exc, f)

        task.add_done_callback(done)
        self._waiting.add(task)

    async def _emit_inline(self, event: str) -> None:
        """Emit, and run the first coroutine among the handlers as part of the calling task.

        Up to its first wait it runs here and now, as a handler in a browser does, with nothing coming in between.
        """
        waiting: list[tuple[Any, Callable[..., Any]]] = []
        self._inline = waiting
        try:
            self.emit(event)
        finally:
            self._inline = None
        for result, handler in waiting[1:]:
            self._follow(result, handler)
        if waiting:
            result, handler = waiting[0]
            try:
                await result
            except Exception as exc:
                self._report(exc, handler)

    def _report(self, exc: BaseException, handler: Callable[..., Any]) -> None:
        message = f"Exception in an event handler of {type(self).__name__}"
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a track may be stopped from anywhere
            logger.error(message, exc_info=exc)
            return
        loop.call_exception_handler({"message": message, "exception": exc, "handler": handler})


class EventEmitter(GuardedHandlers):
    """The base of our objects that have events."""
