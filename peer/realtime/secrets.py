"""Ephemeral secrets: what a page may hold in place of the server's key."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SecretRequest", "Secrets"]

PREFIX: Final = "ek_"
SECRETS_MAX: Final = 10_000
"""Secrets that live at the same time; the oldest goes."""


class SecretLifetime(BaseModel):
    """When a secret ends."""

    anchor: str = "created_at"
    seconds: int = Field(default=600, ge=10, le=7200)


class SecretRequest(BaseModel):
    """The body of `POST /v1/realtime/client_secrets`."""

    model_config = ConfigDict(extra="ignore")

    expires_after: SecretLifetime = SecretLifetime()
    session: dict[str, Any] = Field(default_factory=lambda: {"type": "realtime"})


class Secrets:
    """The secrets that live, each with the session it stands for. A secret may open several calls until it ends."""

    def __init__(self) -> None:
        self._sessions: dict[str, tuple[float, dict[str, Any]]] = {}

    def mint(self, wanted: SecretRequest) -> dict[str, Any]:
        """Make a secret. Return the answer of the route."""
        value = PREFIX + secrets.token_urlsafe(24)
        expires_at = int(time.time()) + wanted.expires_after.seconds
        while len(self._sessions) >= SECRETS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[value] = (expires_at, wanted.session)
        return {"value": value, "expires_at": expires_at, "session": wanted.session}

    def session(self, value: str | None) -> dict[str, Any] | None:
        """Return the session of a secret; None where there is no such secret, or it has ended."""
        expires_at, session = self._sessions.get(value or "", (0.0, {}))
        if expires_at <= time.time():
            self._sessions.pop(value or "", None)
            return None
        return session
