"""What an operator sets: by flag, by environment (`SIGNALING_…`), or in code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .rooms import Limits

__all__ = ["RelaySettings", "misspelt"]


class RelaySettings(BaseSettings):
    """Settings of a relay.

    Every field may come from the environment as `SIGNALING_<FIELD>`; lists separated by commas.
    """

    model_config = SettingsConfigDict(
        env_prefix="SIGNALING_", extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    # Who may come in
    development: bool = Field(
        default=False, description="No access control at all. Warns. Never on a public address."
    )
    jwt_secret: SecretStr | None = Field(
        default=None, description="Shared secret of access tokens, at least 32 bytes."
    )
    jwt_key_file: Path | None = Field(
        default=None, description="Secret or public key (PEM) of access tokens, in a file."
    )
    jwt_algorithms: Annotated[list[str], NoDecode] = Field(
        default=["HS256"], description="Accepted algorithms."
    )
    leeway: float = Field(
        default=10.0, ge=0, le=300, description="Seconds by which clocks of those who mint tokens may differ."
    )
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    origins: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Web origins that may connect, such as https://app.example. Empty: only pages this relay's own "
        "address serves. `*`: any. Programs that send no Origin are not browsers and always may.",
    )

    public_hosts: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="Host names under which browsers reach this relay, comma-separated. Needed where `origins` is "
        "empty and the page is reached by a name: any page could point a name of its own at this address.",
    )

    # How much
    max_message_bytes: int = Field(default=262_144, ge=1024, description="Largest message forwarded, bytes.")
    max_metadata_bytes: int = Field(
        default=4096, ge=0, description="Largest `metadata` of a peer, bytes of JSON."
    )
    max_peers_per_room: int = Field(default=50, ge=1)
    max_sessions_per_identity: int = Field(
        default=10,
        ge=1,
        description="Sessions one identity may have in a room; the oldest without a connection goes.",
    )
    max_rooms: int = Field(default=10_000, ge=1)
    max_connections: int = Field(default=10_000, ge=1, description="Connections of this process.")
    max_connections_per_address: int = Field(default=200, ge=1)
    connects_per_minute: float = Field(
        default=600.0, gt=0, description="Connections an address may open a minute."
    )
    messages_per_second: float = Field(
        default=100.0, gt=0, description="How fast one connection is read; faster ones wait."
    )
    message_burst: int = Field(
        default=500, ge=1, description="Messages a connection may send at once after a pause."
    )
    bytes_per_second: float = Field(
        default=1_048_576.0, gt=0, description="How many bytes a second of one connection are read."
    )
    join_timeout: float = Field(default=10.0, gt=0, description="Seconds a connection has to join.")
    ping_interval: float = Field(default=15.0, gt=0, description="Seconds between WebSocket pings.")
    ping_timeout: float = Field(
        default=10.0, gt=0, description="Seconds without an answer until a connection counts as dead."
    )

    # TURN credentials: own servers first, then the managed service
    turn_urls: Annotated[list[str], NoDecode] = Field(
        default=[], description="turn:, turns: and stun: URLs of own servers, comma-separated."
    )
    turn_secret: SecretStr | None = Field(
        default=None, description="Secret shared with them: coturn's static-auth-secret."
    )
    turn_ttl: int = Field(default=600, ge=60, le=86_400, description="Seconds a credential is accepted.")
    credentials_per_minute: float = Field(
        default=30.0, gt=0, description="Credentials an address and an identity may fetch a minute."
    )
    cloudflare_turn_key_id: str | None = None
    cloudflare_turn_api_token: SecretStr | None = None
    twilio_account_sid: str | None = None
    twilio_api_key: str | None = Field(default=None, description="Without: twilio_secret is the auth token.")
    twilio_secret: SecretStr | None = None
    xirsys_ident: str | None = None
    xirsys_secret: SecretStr | None = None
    xirsys_channel: str | None = None

    # The window in which nothing is lost
    window_seconds: float = Field(
        default=30.0, ge=0, description="How long a session is kept without a connection."
    )
    window_messages: int = Field(
        default=2048,
        ge=1,
        description="Messages kept for a peer until it acknowledges them: more than others may send at once.",
    )
    window_bytes: int = Field(default=4_194_304, ge=1024, description="Bytes of them.")
    drain_seconds: float = Field(
        default=10.0, ge=0, description="Seconds over which clients are moved when the relay stops."
    )

    # Where
    redis_url: SecretStr | None = Field(
        default=None, description="redis:// or rediss:// URL. Without: rooms in this process."
    )
    redis_prefix: str = Field(default="signaling:", description="Starts every key and channel.")
    page: Path | None = Field(default=None, description="Directory of a static page served at /.")
    metrics_token: SecretStr | None = Field(
        default=None, description="Bearer token that /metrics asks for. Without: open to everybody."
    )
    log_format: Literal["text", "json"] = "text"

    @field_validator("jwt_algorithms", "origins", "public_hosts", "turn_urls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("page")
    @classmethod
    def _is_directory(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is not a directory")
        return value

    @model_validator(mode="after")
    def _one_key(self) -> RelaySettings:
        if self.jwt_secret and self.jwt_key_file:
            raise ValueError("give jwt_secret or jwt_key_file, not both")
        return self

    @model_validator(mode="after")
    def _whole_services(self) -> RelaySettings:
        for names in (
            ("cloudflare_turn_key_id", "cloudflare_turn_api_token"),
            ("twilio_account_sid", "twilio_secret"),
            ("xirsys_ident", "xirsys_secret", "xirsys_channel"),
        ):
            given = [getattr(self, name) is not None for name in names]
            if any(given) and not all(given):
                raise ValueError(f"{', '.join(names)} go together")
        if self.turn_secret is None and any(url.startswith("turn") for url in self.turn_urls):
            raise ValueError("turn_urls need turn_secret, the static-auth-secret of the servers")
        return self

    @classmethod
    def from_environment(cls) -> RelaySettings:
        """Settings from `SIGNALING_…` alone. Raises pydantic.ValidationError, a ValueError."""
        return cls()

    @property
    def limits(self) -> Limits:
        """The limits of rooms and sessions among the settings."""
        return Limits(
            peers_per_room=self.max_peers_per_room,
            rooms=self.max_rooms,
            sessions_per_identity=self.max_sessions_per_identity,
            window_seconds=self.window_seconds,
            window_messages=self.window_messages,
            window_bytes=self.window_bytes,
        )


def misspelt(variables: Iterable[str]) -> dict[str, str]:
    """Environment variables that set nothing but are nearly the name of one that does, and that name."""
    known = {f"SIGNALING_{field.upper()}" for field in RelaySettings.model_fields}
    unknown = [name for name in variables if name.startswith("SIGNALING_") and name not in known]
    nearest = {name: difflib.get_close_matches(name, known, 1, cutoff=0.85) for name in unknown}
    return {name: close[0] for name, close in nearest.items() if close}
