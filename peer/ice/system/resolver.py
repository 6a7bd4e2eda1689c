"""Name look-ups that never block the event loop, nor the pool of threads that others need."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections import deque

FAILURE_KEPT = 5.0
"""Seconds for which a failed look-up is answered from memory, so that every interface does not ask again."""

SUCCESS_KEPT = 10.0
"""Seconds for which a found address is: the system's own resolver knows the real lifetime."""

_REMEMBERED = 256

AT_ONCE = 16
"""Threads that look names up at the same time; further names wait for one of them."""


class NameResolver:
    """`getaddrinfo` on a thread of its own for each name.

    A dead name server holds `getaddrinfo` for half a minute. In the loop's default executor a handful of those would
    keep every other job waiting, encoding audio among them, and asyncio would wait for them at exit.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, list[str] | OSError]] = {}
        self._asking: dict[str, asyncio.Future[list[str]]] = {}
        self._busy = 0
        self._waiting: deque[str] = deque()

    async def resolve(self, host: str) -> list[str]:
        """All addresses of `host`, each once, in the system's order. Raises `OSError` when there are none."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        known = self._known.get(host)
        if known is not None and time.monotonic() < known[0]:
            if isinstance(known[1], OSError):
                raise OSError(*known[1].args)
            return list(known[1])
        asking = self._asking.get(host)
        if asking is None:
            asking = self._ask(host)
        return list(await asyncio.shield(asking))

    def forget_failures(self) -> None:
        """Names that could not be resolved may be by now: the network is another."""
        self._known = {
            host: known for host, known in self._known.items() if not isinstance(known[1], OSError)
        }

    def _ask(self, host: str) -> asyncio.Future[list[str]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()
        self._asking[host] = answer
        if self._busy < AT_ONCE:
            self._begin(host)
        elif len(self._waiting) < _REMEMBERED:
            self._waiting.append(host)
        else:
            self._answered(host, OSError(socket.EAI_AGAIN, f"{host} is not looked up: too many names wait"))
        return answer

    def _begin(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        self._busy += 1

        def look_up() -> None:
            result: list[str] | OSError
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
                result = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
            except OSError as error:
                result = error
            except UnicodeError:
                result = OSError(socket.EAI_NONAME, f"{host!r} is not a host name")
            # The loop may be closed by now; then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._looked_up, host, result)

        threading.Thread(target=look_up, name="asyncio_getaddrinfo", daemon=True).start()

    def _looked_up(self, host: str, result: list[str] | OSError) -> None:
        self._busy -= 1
        if self._waiting:
            self._begin(self._waiting.popleft())
        self._answered(host, result)

    def _answered(self, host: str, result: list[str] | OSError) -> None:
        if not isinstance(result, OSError) and not result:
            result = OSError(socket.EAI_NONAME, f"{host} has no address")
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        kept = FAILURE_KEPT if isinstance(result, OSError) else SUCCESS_KEPT
        self._known[host] = (time.monotonic() + kept, result)
        answer = self._asking.pop(host)
        if isinstance(result, OSError):
            answer.set_exception(result)
            answer.exception()  # Whoever asked may have gone.
        else:
            answer.set_result(result)
