"""Requests to a TURN server: signed, retransmitted, and answered once (RFC 8489 §6.2, §9.2).

No clock, no I/O: the caller passes the time in, sends what `outgoing` collects, and calls `handle_timer`.
"""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from peer.ice.stun.errors import STALE_NONCE, TRY_ALTERNATE, UNAUTHENTICATED, UNREACHABLE, WRONG_CREDENTIALS
from peer.ice.stun.message import StunMessage
from peer.ice.stun.retransmission import Schedule

from .message import Attribute, AttributeList, MessageClass, TurnMethod, encode_message

SCHEDULE: Final = Schedule(rto=0.25, cap=2.0, attempts=6, patience=2.0)
"""Over UDP a request goes out at 0, 0.25, 0.75, 1.75, 3.75 and 5.75 s, and is given up at 7.75 s. The first wait is
longer once a long round trip has been measured. Over TCP nothing is repeated; the patience is the same."""

_CHALLENGES_MAX: Final = 3
"""Times one request is signed anew with a nonce from the server: a hostile one could send 438 for ever."""


@dataclass(frozen=True, slots=True)
class TurnCredentials:
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
class TurnRefusal:
    """Why a request came to nothing: an error response, or (code 701) no response at all."""

    code: int
    reason: str
    message: StunMessage | None = None


Answer: TypeAlias = StunMessage | TurnRefusal


@dataclass(slots=True)
class _Transaction:
    method: TurnMethod
    attributes: Callable[[bytes], AttributeList]
    done: Callable[[Answer, float], None]
    schedule: Schedule
    signed_schedule: Schedule
    transaction_id: bytes
    credentials: TurnCredentials
    data: bytes = b""
    key: bytes | None = None
    challenge: Challenge | None = None
    challenges: int = 0
    sent: int = 0
    started: float = 0.0
    due: float = 0.0
    unsigned: TurnRefusal | None = None
    """An error nobody signed. It is believed when nothing better comes."""


class Requests:
    """The requests under way to one server on one 5-tuple.

    `spare` credentials are tried where the present ones are refused, and take over where they are accepted:
    an allocation belongs to the username that made it (RFC 8656 §4), so they must not take over before.
    """

    def __init__(
        self,
        credentials: TurnCredentials,
        *,
        reliable: bool,
        rng: random.Random,
        challenge: Challenge | None = None,
    ) -> None:
        self.credentials = credentials
        self.spare: TurnCredentials | None = None
        self.challenge = challenge
        self.outgoing: list[bytes] = []
        self.rtt: float | None = None
        self._reliable = reliable
        self._rng = rng
        self._under_way: dict[bytes, _Transaction] = {}
        self._keys: dict[tuple[TurnCredentials, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def start(
        self,
        method: TurnMethod,
        attributes: Callable[[bytes], AttributeList],
        done: Callable[[Answer, float], None],
        now: float,
        *,
        schedule: Schedule = SCHEDULE,
        signed_schedule: Schedule | None = None,
    ) -> None:
        """Send a request. `attributes` is called with each transaction id the request gets; `done` once.

        `signed_schedule` takes the place of `schedule` once there is a nonce to sign the request with.
        """
        transaction = _Transaction(
            method, attributes, done, schedule, signed_schedule or schedule, b"", self.credentials
        )
        self._send_anew(transaction, now)

    def hurry(self, now: float, schedule: Schedule) -> None:
        """From now on, send what is under way again by another schedule, from its beginning."""
        if self._reliable:
            return
        for transaction in self._under_way.values():
            transaction.schedule = transaction.signed_schedule = schedule
            transaction.sent = 0
            transaction.due = min(transaction.due, now + schedule.rto)

    def drop(self) -> None:
        """Forget all requests; nobody is told."""
        self._under_way.clear()

    def timer(self) -> float | None:
        """Return when the next request must be repeated or given up; None when none must."""
        return min((transaction.due for transaction in self._under_way.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Repeat or give up what is due."""
        for transaction in [t for t in self._under_way.values() if t.due <= now]:
            transaction.sent += 1
            wait = None if self._reliable else transaction.schedule.wait(transaction.sent)
            if wait is None:
                self._finish(transaction, transaction.unsigned or _silence(transaction.method), now)
                continue
            transaction.due = now + wait
            self.outgoing.append(transaction.data)

    def receive(self, message: StunMessage, now: float) -> None:
        """A message from the server. Whatever answers no request of ours is ignored."""
        transaction = self._under_way.get(message.transaction_id)
        if transaction is None or transaction.method != message.method:
            return
        if message.message_class == MessageClass.SUCCESS:
            # RFC 8489 §9.2.5: an answer without the right signature has not arrived.
            if transaction.key is None or message.is_authentic(transaction.key):
                if transaction.sent == 1:
                    self.rtt = now - transaction.started
                if transaction.credentials is self.spare:
                    self.credentials, self.spare = self.spare, self.credentials
                self._finish(transaction, message, now)
            return
        if message.message_class != MessageClass.ERROR:
            return
        code, reason = message.error()
        refusal = TurnRefusal(code, reason, message)
        if code in (UNAUTHENTICATED, STALE_NONCE):
            self._challenged(transaction, refusal, message, now)
        elif transaction.key is None or self._reliable or message.is_authentic(transaction.key):
            if code == WRONG_CREDENTIALS and self._try_spare(transaction, now):
                return
            self._finish(transaction, refusal, now)
        elif code == TRY_ALTERNATE and transaction.method == TurnMethod.ALLOCATE:
            # A server that only shares the load out knows no keys.
            self._finish(transaction, refusal, now)
        else:
            transaction.unsigned = refusal

    def _challenged(
        self, transaction: _Transaction, refusal: TurnRefusal, message: StunMessage, now: float
    ) -> None:
        nonce = message.attributes.get(Attribute.NONCE)
        realm = message.attributes.get(Attribute.REALM)
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
            transaction.schedule = transaction.signed_schedule
            transaction.key = self._key(transaction.credentials, challenge.realm)
            attributes += [
                (Attribute.USERNAME, _opaque(transaction.credentials.username).encode()),
                (Attribute.REALM, challenge.realm.encode()),
                (Attribute.NONCE, challenge.nonce),
            ]
        transaction.data = encode_message(
            transaction.method, MessageClass.REQUEST, transaction_id, attributes, transaction.key
        )
        transaction.unsigned = None
        transaction.sent = 1
        transaction.started = now
        if self.rtt is not None:
            schedule = transaction.schedule
            transaction.schedule = replace(schedule, rto=min(max(schedule.rto, 2 * self.rtt), schedule.cap))
        schedule = transaction.schedule
        transaction.due = now + (schedule.total if self._reliable else schedule.rto)
        self.outgoing.append(transaction.data)

    def _key(self, credentials: TurnCredentials, realm: str) -> bytes:
        key = self._keys.get((credentials, realm))
        if key is None:
            if len(self._keys) >= 8:
                self._keys.clear()
            key = self._keys[credentials, realm] = credentials.key(realm)
        return key

    def _finish(self, transaction: _Transaction, answer: Answer, now: float) -> None:
        self._under_way.pop(transaction.transaction_id, None)
        transaction.done(answer, now)


def _silence(method: TurnMethod) -> TurnRefusal:
    return TurnRefusal(UNREACHABLE, f"no answer to {method.name.replace('_', ' ').title()}")
