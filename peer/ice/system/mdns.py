"""Names instead of addresses on the local network (RFC 6762, draft-ietf-mmusic-mdns-ice-candidates).

Browsers hide their private addresses behind random `.local` names. Resolving one means asking the local network;
publishing one means answering. Both share a pair of sockets per event loop, open only while somebody needs them.

This belongs below `peer.ice.network`: `SystemNetwork` uses it, nothing else should.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import uuid
from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from .mdns_message import addresses_in, answer, goodbye, is_answer, query, questions_in
from .mdns_sockets import MdnsSockets

logger = logging.getLogger(__name__)

TIMEOUT: Final = 6.0
RETRIES: Final = (1.0, 2.0)
"""Seconds to the second question, and from there to the third (RFC 6762 §5.2)."""

ANSWER_INTERVAL: Final = 1.0
"""The same record is not multicast twice within this many seconds (RFC 6762 §6)."""

NAMES_MAX: Final = 64
"""Names looked up at the same time: remote peers choose them, and each is a question to the whole network."""

_UUID_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local\.?", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_-]{1,63}\.local\.?", re.IGNORECASE)


def is_mdns_name(name: str) -> bool:
    """Whether this is a name of the local network, one label and `.local` as browsers make them."""
    return _NAME.fullmatch(name) is not None


def is_browser_name(name: str) -> bool:
    """Whether this is a random name that stands for a hidden address: a UUID and `.local`."""
    return _UUID_NAME.fullmatch(name) is not None


class MulticastDns:
    """Asks and answers on some interfaces. `shared()` is the one of the running event loop."""

    def __init__(self, interfaces: Sequence[int] | None = None) -> None:
        """`interfaces` are system interface indexes; default: all there are whenever the sockets are opened."""
        self._interfaces = interfaces
        self._sockets: MdnsSockets | None = None
        self._lookups: dict[str, _Lookup] = {}
        self._published: dict[str, Publication] = {}

    @property
    def is_open(self) -> bool:
        """Whether there are sockets."""
        return self._sockets is not None

    async def resolve(self, name: str, timeout: float = TIMEOUT) -> list[str]:
        """The IPv4 and IPv6 addresses of a name, from the first answer that comes.

        Asked three times within `timeout` seconds; look-ups of the same name at the same time share an answer.
        Raises `OSError` when nobody answers, or when there is no multicast here.
        """
        key = _key(name)
        if not is_mdns_name(name):
            raise OSError(f"{name[:80]!r} is not a name of the local network: that is one label and '.local'")
        if key in self._published:
            return [self._published[key].address]
        lookup = self._lookups.get(key)
        if lookup is None:
            if len(self._lookups) >= NAMES_MAX:
                raise OSError(f"{name} cannot be resolved: {NAMES_MAX} other names are being looked up")
            sockets = self._open(f"{name} cannot be resolved")
            lookup = self._lookups[key] = _Lookup(key, sockets)
        lookup.users += 1
        try:
            async with asyncio.timeout(timeout):
                return list(await asyncio.shield(lookup.found))
        except TimeoutError:
            reason = f"{name} cannot be resolved: nobody on the local network answers to it"
            raise OSError(reason) from None
        finally:
            lookup.users -= 1
            if not lookup.users:
                lookup.stop()
                self._lookups.pop(key, None)
                self._close_if_idle()

    def publish(self, address: str) -> Publication:
        """Answer to a new random name with this address, until the publication is closed.

        Raises `ValueError` if it is no address, `OSError` when there is no multicast here.
        """
        address = str(ipaddress.ip_address(address))
        self._open(f"{address} cannot be given a name")
        publication = Publication(self, f"{uuid.uuid4()}.local", address)
        self._published[publication.name] = publication
        return publication

    def _withdraw(self, publication: Publication) -> None:
        if self._published.pop(publication.name, None) is not None and self._sockets is not None:
            # RFC 6762 §10.1.
            self._sockets.send(goodbye(publication.name, publication.address))
            self._close_if_idle()

    def _open(self, purpose: str) -> MdnsSockets:
        if self._sockets is None:
            try:
                self._sockets = MdnsSockets(self._received, self._interfaces)
            except OSError as error:
                raise OSError(f"{purpose}: no multicast here ({error.strerror or error})") from error
        return self._sockets

    def _close_if_idle(self) -> None:
        if self._sockets is not None and not self._lookups and not self._published:
            self._sockets.close()
            self._sockets = None

    def _received(self, data: bytes) -> None:
        # The network is full of other people's printers. A name of interest stands in a message as it is, at least
        # once, so whatever lacks them all needs no parsing.
        lower = data.lower()
        if is_answer(data):
            for name, lookup in list(self._lookups.items()):
                if _label(name) in lower:
                    lookup.answered(addresses_in(data, name))
        elif self._published:
            names = {name for name in self._published if _label(name) in lower}
            for name, kinds in questions_in(data).items() if names else ():
                if name in names and self._sockets is not None:
                    self._published[name].asked(kinds, self._sockets)


class Publication:
    """A name that stands for an address of ours while this lives."""

    def __init__(self, owner: MulticastDns, name: str, address: str) -> None:
        self.name = name
        """`<uuid>.local`, as it goes into a candidate."""
        self.address = address
        self._owner = owner
        self._next = 0.0

    def close(self) -> None:
        """Answer no longer. Idempotent."""
        self._owner._withdraw(self)

    def asked(self, kinds: frozenset[int], sockets: MdnsSockets) -> None:
        """Somebody has asked for records of these types."""
        now = asyncio.get_running_loop().time()
        if now >= self._next:
            self._next = now + ANSWER_INTERVAL
            sockets.send(answer(self.name, self.address, kinds))


class _Lookup:
    """A name being asked for, until the last of those who wait for it has gone."""

    def __init__(self, name: str, sockets: MdnsSockets) -> None:
        loop = asyncio.get_running_loop()
        self.users = 0
        self.found: asyncio.Future[list[str]] = loop.create_future()
        self._question = query(name)
        self._sockets = sockets
        self._retries = list(RETRIES)
        self._timer: asyncio.TimerHandle | None = None
        self._ask()

    def answered(self, addresses: list[str]) -> None:
        if addresses and not self.found.done():
            self.found.set_result(addresses)
            self._cancel_timer()

    def stop(self) -> None:
        self._cancel_timer()
        self.found.cancel()

    def _ask(self) -> None:
        self._timer = None
        self._sockets.send(self._question)
        if self._retries:
            self._timer = asyncio.get_running_loop().call_later(self._retries.pop(0), self._ask)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, MulticastDns] = WeakKeyDictionary()


def shared() -> MulticastDns:
    """The one of the running event loop, on all interfaces."""
    loop = asyncio.get_running_loop()
    mdns = _shared.get(loop)
    if mdns is None:
        mdns = _shared[loop] = MulticastDns()
    return mdns


def _key(name: str) -> str:
    return name.lower().removesuffix(".")


def _label(name: str) -> bytes:
    """The first label of a name as it stands in a message (RFC 1035 §3.1)."""
    label = name.partition(".")[0].encode()
    return bytes((len(label),)) + label
