"""The bodies of pipecat's HTTP requests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

__all__ = ["CandidatesRequest", "OfferRequest", "StartRequest"]

CANDIDATES_MAX = 100
"""In one request; a browser gathers a dozen."""


class StartRequest(BaseModel):
    """`POST /start`."""

    model_config = ConfigDict(extra="ignore")

    transport: str = "webrtc"
    enableDefaultIceServers: bool = False
    body: Any = None


class OfferRequest(BaseModel):
    """`POST /api/offer`. A known `pc_id` renegotiates; with `restart_pc` a new connection takes its place."""

    model_config = ConfigDict(extra="ignore")

    sdp: str
    type: Literal["offer"]
    pc_id: str | None = None
    restart_pc: bool | None = None
    request_data: Any = Field(default=None, validation_alias=AliasChoices("request_data", "requestData"))


class TrickledCandidate(BaseModel):
    """One of a PATCH; an empty `candidate` is the end of a section's."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


class CandidatesRequest(BaseModel):
    """`PATCH /api/offer`."""

    pc_id: str
    candidates: list[TrickledCandidate] = Field(max_length=CANDIDATES_MAX)
