"""The Binding messages of connectivity checks: writing them, and judging those received (RFC 8445 §7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from peer.ice.credentials import IceCredentials
from peer.ice.network import Address
from peer.ice.stun import message as stun
from peer.ice.stun.errors import BAD_REQUEST, UNAUTHENTICATED, UNKNOWN_ATTRIBUTE
from peer.ice.stun.message import StunMessage


@dataclass(frozen=True, slots=True)
class Check:
    """What an accepted request says."""

    transaction_id: bytes
    priority: int
    use_candidate: bool
    nomination: int
    """Of a numbered nomination; zero for one without."""
    remote_fragment: str
    """The sender's own username fragment."""


@dataclass(frozen=True, slots=True)
class CheckRefusal:
    """An error response to a check."""

    code: int
    reason: str
    authentic: bool
    """Whether the request proved to come from the peer, so that the refusal may be signed."""
    unknown: tuple[int, ...] = ()


def judge_request(
    message: StunMessage, local: IceCredentials, remote: IceCredentials | None
) -> Check | CheckRefusal:
    """RFC 8489 §9.1.3 and RFC 8445 §7.3, cheapest reasons first."""
    username = message.username()
    if username is None or stun.MESSAGE_INTEGRITY not in message.attributes:
        return CheckRefusal(BAD_REQUEST, "Bad Request", authentic=False)
    fragment, _, remote_fragment = username.partition(":")
    if fragment != local.username_fragment:
        return CheckRefusal(UNAUTHENTICATED, "Unauthenticated", authentic=False)
    # One of another generation has the right password, too, but speaks of other candidates.
    if remote is not None and remote_fragment != remote.username_fragment:
        return CheckRefusal(UNAUTHENTICATED, "Unauthenticated", authentic=False)
    if not message.is_authentic(local.password.encode()):
        return CheckRefusal(UNAUTHENTICATED, "Unauthenticated", authentic=False)
    if unknown := message.unknown_required():
        return CheckRefusal(
            UNKNOWN_ATTRIBUTE, "Unknown Attribute", authentic=True, unknown=tuple(unknown[:16])
        )
    priority = message.number(stun.PRIORITY)
    if priority is None:
        return CheckRefusal(BAD_REQUEST, "Bad Request", authentic=True)
    use_candidate = stun.USE_CANDIDATE in message.attributes
    nomination = message.number(stun.NOMINATION) or 0
    return Check(
        message.transaction_id, priority, use_candidate or nomination > 0, nomination, remote_fragment
    )


def write_check(
    transaction_id: bytes,
    local: IceCredentials,
    remote: IceCredentials,
    *,
    priority: int,
    controlling: bool,
    tie_breaker: int,
    nomination: int,
    also: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """RFC 8445 §7.1. `nomination`: zero for a check that does not nominate. `also`: more attributes."""
    username = f"{remote.username_fragment}:{local.username_fragment}".encode()
    attributes = [
        (stun.USERNAME, username),
        (stun.PRIORITY, priority.to_bytes(4, "big")),
        (stun.ICE_CONTROLLING if controlling else stun.ICE_CONTROLLED, tie_breaker.to_bytes(8, "big")),
    ]
    if nomination:
        attributes += [(stun.USE_CANDIDATE, b""), (stun.NOMINATION, nomination.to_bytes(4, "big"))]
    attributes += also
    return stun.encode(stun.BINDING_REQUEST, transaction_id, attributes, remote.password.encode())


def write_success(
    transaction_id: bytes, address: Address, local: IceCredentials, also: Iterable[tuple[int, bytes]] = ()
) -> bytes:
    """RFC 8445 §7.3. `also`: more attributes."""
    mapped = stun.encode_xor_address(address, transaction_id)
    attributes = [(stun.XOR_MAPPED_ADDRESS, mapped), *also]
    return stun.encode(stun.BINDING_RESPONSE, transaction_id, attributes, local.password.encode())


def write_refusal(transaction_id: bytes, refusal: CheckRefusal, local: IceCredentials) -> bytes:
    """Return the error response to the check with this transaction id."""
    attributes = [stun.encode_error(refusal.code, refusal.reason)]
    if refusal.unknown:
        unknown = b"".join(kind.to_bytes(2, "big") for kind in refusal.unknown)
        attributes.append((stun.UNKNOWN_ATTRIBUTES, unknown))
    key = local.password.encode() if refusal.authentic else None
    return stun.encode(stun.BINDING_ERROR, transaction_id, attributes, key)
