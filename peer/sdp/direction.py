"""Directions of media (RFC 8866 §6.7) and what can be made of two of them."""

from __future__ import annotations


def and_direction(a: str, b: str) -> str:
    """What both directions allow."""
    return make_direction(sends(a) and sends(b), receives(a) and receives(b))


def reverse_direction(direction: str) -> str:
    """The same direction, as the other side sees it."""
    return make_direction(receives(direction), sends(direction))


def make_direction(send: bool, receive: bool) -> str:
    """Return the direction that sends and receives like this (RFC 8866 §6.7)."""
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
        (send, receive), "inactive"
    )


def sends(direction: str | None) -> bool:
    """Whether a direction sends. None does not."""
    return direction in ("sendrecv", "sendonly")


def receives(direction: str | None) -> bool:
    """Whether a direction receives. None does not."""
    return direction in ("sendrecv", "recvonly")
