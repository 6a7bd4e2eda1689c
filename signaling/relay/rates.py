"""How fast one connection and one address may go."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

__all__ = ["AddressLimiter", "TokenBucket", "subscriber"]


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up. The clock is the caller's."""

    __slots__ = ("_tokens", "_when", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._when = now

    def take(self, now: float, amount: float = 1.0) -> float:
        """Take tokens, going into debt if there are too few.

        Returns the seconds until the debt is paid; 0 to go on.
        """
        self._tokens = min(self.burst, self._tokens + (now - self._when) * self.rate) - amount
        self._when = now
        return 0.0 if self._tokens >= 0 else -self._tokens / self.rate

    def try_take(self, now: float, amount: float = 1.0) -> bool:
        """Take tokens if there are enough, else none."""
        self._tokens = min(self.burst, self._tokens + (now - self._when) * self.rate)
        self._when = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def full(self, now: float) -> bool:
        """Whether the bucket is full again, so that it need not be remembered."""
        return self._tokens + (now - self._when) * self.rate >= self.burst


def subscriber(address: str) -> str:
    """What to count an address under: of an IPv6 address the /64, for a host picks the rest as it likes."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


class AddressLimiter:
    """Connections open at once, and requests a minute, per address.

    Remembers at most `max_addresses` of them.
    """

    def __init__(self, *, connections: int, per_minute: float, max_addresses: int = 65_536) -> None:
        self.connections = connections
        self.per_minute = per_minute
        self.max_addresses = max_addresses
        self._open: dict[str, int] = {}
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def open(self, address: str, now: float) -> bool:
        """Count one more connection of the address.

        Returns False, and counts nothing, if it has too many or connects too often.
        """
        count = self._open.get(address, 0)
        if count >= self.connections or not self.request(address, now):
            return False
        self._open[address] = count + 1
        return True

    def close(self, address: str) -> None:
        """Count a connection of the address less."""
        count = self._open.get(address, 0)
        if count <= 1:
            self._open.pop(address, None)
        else:
            self._open[address] = count - 1

    def request(self, address: str, now: float) -> bool:
        """Count one request; False if the address asks too often."""
        bucket = self._buckets.get(address)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[address] = TokenBucket(self.per_minute / 60.0, self.per_minute, now)
        self._buckets.move_to_end(address)
        return bucket.try_take(now)

    def _forget(self, now: float) -> None:
        """Make room among the addresses that have not been seen for longest."""
        while self._buckets:
            oldest = next(iter(self._buckets.values()))
            if len(self._buckets) < self.max_addresses and not oldest.full(now):
                return
            self._buckets.popitem(last=False)
