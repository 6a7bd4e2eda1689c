"""Requests to a TURN server: signed, retransmitted, and answered once (RFC 8489 §6.2, §9.2).

No clock, no I/O: the caller passes the time in, sends what `outgoing` collects, and calls `handle_timer`.
"""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from .message import Attribute, AttributeList, Class, Method, StunMessage, encode_message

RTO: Final = 0.25
"""Seconds to the first retransmission, until a round trip has been measured."""

RTO_MAX: Final = 2.0
ATTEMPTS: Final = 6
"""Over UDP a request goes out at 0, 0.25, 0.75, 1.75, 3.75 and 5.75 s, and is given up at 7.75 s."""

RELIABLE_TIMEOUT: Final = 7.75
"""Over TCP nothing is repeated; the patience is the same."""

_CHALLENGES_MAX: Final = 3
"""Times one request is signed anew with a nonce from the server: a hostile one could send 438 for ever."""

UNREACHABLE: Final = 701
"""The error code the W3C gives a server that could not be reached."""

UNAUTHENTICATED: Final = 401
TRY_ALTERNATE: Final = 300
STALE_NONCE: Final = 438
WRONG_CREDENTIALS: Final = 441


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a server."""

    username: str
    credential: str

    def key(self, realm: str) -> bytes:
        """RFC 8489 §9.2.2: what messages are signed with."""
        text = ":".join((_opaque(self.username), realm, _opaque(self.credential)))
        return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _opaque(text: str) -> str:
    # OpaqueString of RFC 8265 §4.2, as far as it changes a credential: composed characters, ASCII spaces.
    if text.isascii():
        return text
    text = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants a signature made with; good for later requests too, until it says 438."""

    realm: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request came to nothing: an error response, or (code 701) no response at all."""

    code: int
    reason: str
    message: StunMessage | None = None


Answer: TypeAlias = StunMessage | Refusal


@dataclass(slots=True)
class _Transaction:
    method: Method
    attributes: Callable[[bytes], AttributeList]
    done: Callable[[Answer, float], None]
    attempts: int
    transaction_id: bytes
    credentials: Credentials
    data: bytes = b""
    key: bytes | None = None
    challenge: Challenge | None = None
    challenges: int = 0
    sent: int = 0
    started: float = 0.0
    rto: float = RTO
    rto_max: float = RTO_MAX
    due: float = 0.0
    unsigned: Refusal | None = None
    """An error nobody signed. It is believed when nothing better comes."""


class Requests:
    """The requests under way to one server on one 5-tuple.

    `spare` credentials are tried where the present ones are refused, and take over where they are accepted:
    an allocation belongs to the username that made it (RFC 8656 §4), so they must not take over before.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        reliable: bool,
        rng: random.Random,
        challenge: Challenge | None = None,
    ) -> None:
        self.credentials = credentials
        self.spare: Credentials | None = None
        self.challenge = challenge
        self.outgoing: list[bytes] = []
        self.rtt: float | None = None
        self._reliable = reliable
        self._rng = rng
        self._under_way: dict[bytes, _Transaction] = {}
        self._keys: dict[tuple[Credentials, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def start(
        self,
        method: Method,
        attributes: Callable[[bytes], AttributeList],
        done: Callable[[Answer, float], None],
        now: float,
        *,
        attempts: int = ATTEMPTS,
        rto_max: float = RTO_MAX,
    ) -> None:
        """Send a request. `attributes` is called with each transaction id the request gets; `done` once."""
        transaction = _Transaction(method, attributes, done, attempts, b"", self.credentials, rto_max=rto_max)
        self._send_anew(transaction, now)

    def hurry(self, now: float, *, attempts: int, rto_max: float) -> None:
        """From now on, send what is under way again sooner, and that many times more."""
        if self._reliable:
            return
        for transaction in self._under_way.values():
            transaction.attempts = transaction.sent + attempts
            transaction.rto_max = rto_max
            transaction.rto = min(transaction.rto, rto_max)
            transaction.due = min(transaction.due, now + transaction.rto)

    def drop(self) -> None:
        """Forget all requests; nobody is told."""
        self._under_way.clear()

    def timer(self) -> float | None:
        return min((transaction.due for transaction in self._under_way.values()), default=None)

    def handle_timer(self, now: float) -> None:
        for transaction in [t for t in self._under_way.values() if t.due <= now]:
            if self._reliable or transaction.sent >= transaction.attempts:
                self._finish(transaction, transaction.unsigned or _silence(transaction.method), now)
                continue
            transaction.sent += 1
            last = transaction.sent == transaction.attempts
            transaction.rto = min(transaction.rto * 2, transaction.rto_max)
            transaction.due = now + (
                RTO_MAX if last and transaction.attempts == ATTEMPTS else transaction.rto
            )
            self.outgoing.append(transaction.data)

    def receive(self, message: StunMessage, now: float) -> None:
        """A message from the server. Whatever answers no request of ours is ignored."""
        transaction = self._under_way.get(message.transaction_id)
        if transaction is None or transaction.method != message.method:
            return
        if message.message_class == Class.SUCCESS:
            # RFC 8489 §9.2.5: an answer without the right signature has not arrived.
            if transaction.key is None or message.is_signed_with(transaction.key):
                if transaction.sent == 1:
                    self.rtt = now - transaction.started
                if transaction.credentials is self.spare:
                    self.credentials, self.spare = self.spare, self.credentials
                self._finish(transaction, message, now)
            return
        if message.message_class != Class.ERROR:
            return
        code, reason = message.error
        refusal = Refusal(code, reason, message)
        if code in (UNAUTHENTICATED, STALE_NONCE):
            self._challenged(transaction, refusal, message, now)
        elif transaction.key is None or self._reliable or message.is_signed_with(transaction.key):
            if code == WRONG_CREDENTIALS and self._try_spare(transaction, now):
                return
            self._finish(transaction, refusal, now)
        elif code == TRY_ALTERNATE and transaction.method == Method.ALLOCATE:
            # A server that only shares the load out knows no keys.
            self._finish(transaction, refusal, now)
        else:
            transaction.unsigned = refusal

    def _challenged(
        self, transaction: _Transaction, refusal: Refusal, message: StunMessage, now: float
    ) -> None:
        nonce = message.first(Attribute.NONCE)
        realm = message.first(Attribute.REALM)
        known = self.challenge.realm if self.challenge is not None else None
        try:
            name = known if realm is None else realm.decode()
        except UnicodeDecodeError:
            name = None
        if nonce is None or name is None:
            self._finish(transaction, refusal, now)
            return
        challenge = Challenge(name, nonce)
        # A 401 to a signature made as this server asked in this very exchange is about who we are.
        refused = refusal.code == UNAUTHENTICATED and transaction.challenges > 0
        refused = refused and transaction.challenge is not None and transaction.challenge.realm == name
        self.challenge = challenge
        if refused or transaction.challenges >= _CHALLENGES_MAX:
            if not self._try_spare(transaction, now):
                self._finish(transaction, refusal, now)
            return
        transaction.challenges += 1
        self._send_anew(transaction, now)

    def _try_spare(self, transaction: _Transaction, now: float) -> bool:
        if self.spare is None or transaction.credentials is self.spare:
            return False
        transaction.credentials = self.spare
        transaction.challenges = 1
        self._send_anew(transaction, now)
        return True

    def _send_anew(self, transaction: _Transaction, now: float) -> None:
        self._under_way.pop(transaction.transaction_id, None)
        transaction.transaction_id = transaction_id = self._rng.randbytes(12)
        self._under_way[transaction_id] = transaction
        attributes = list(transaction.attributes(transaction_id))
        transaction.challenge = challenge = self.challenge
        transaction.key = None
        if challenge is not None:
            transaction.key = self._key(transaction.credentials, challenge.realm)
            attributes += [
                (Attribute.USERNAME, _opaque(transaction.credentials.username).encode()),
                (Attribute.REALM, challenge.realm.encode()),
                (Attribute.NONCE, challenge.nonce),
            ]
        transaction.data = encode_message(
            transaction.method, Class.REQUEST, transaction_id, attributes, transaction.key
        )
        transaction.unsigned = None
        transaction.sent = 1
        transaction.started = now
        transaction.rto = RTO if self.rtt is None else min(max(RTO, 2 * self.rtt), RTO_MAX)
        transaction.due = now + (RELIABLE_TIMEOUT if self._reliable else transaction.rto)
        self.outgoing.append(transaction.data)

    def _key(self, credentials: Credentials, realm: str) -> bytes:
        key = self._keys.get((credentials, realm))
        if key is None:
            if len(self._keys) >= 8:
                self._keys.clear()
            key = self._keys[credentials, realm] = credentials.key(realm)
        return key

    def _finish(self, transaction: _Transaction, answer: Answer, now: float) -> None:
        self._under_way.pop(transaction.transaction_id, None)
        transaction.done(answer, now)


def _silence(method: Method) -> Refusal:
    return Refusal(UNREACHABLE, f"no answer to {method.name.replace('_', ' ').title()}")
