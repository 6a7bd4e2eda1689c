"""What is to be done when the event loop ends, and nobody has said goodbye before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["AtLoopEnd"]


class AtLoopEnd:
    """Awaits `release()` while `asyncio.run` shuts its loop down, unless `done` was awaited before.

    `asyncio.run` cancels every task, and what one leaves behind at its end (a goodbye, another task) would never run.
    After that it closes the asynchronous generators that are still suspended, and waits for them: here is one that is.
    A loop that is closed without `loop.shutdown_asyncgens()` releases nothing.
    """

    def __init__(self, release: Callable[[], Awaitable[object]]) -> None:
        self._release: Callable[[], Awaitable[object]] | None = release
        self._suspended: AsyncGenerator[None, None] | None = None

    def watch(self) -> None:
        """Begin; in a running loop, whose end it will be. Does nothing if it has begun."""
        if self._suspended is None and self._release is not None:
            self._suspended = self._wait()
            step = self._suspended.__anext__()
            try:
                step.__await__().__next__()
            except StopIteration:
                pass
            else:
                raise AssertionError("a generator that awaits nothing yields at once")

    async def done(self) -> None:
        """There is nothing to release any more."""
        self._release = None
        suspended, self._suspended = self._suspended, None
        if suspended is not None:
            await suspended.aclose()

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            release, self._release, self._suspended = self._release, None, None
            if release is not None:
                await release()
