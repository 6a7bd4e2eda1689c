"""What a connection's configuration asks of its negotiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

BundlePolicy: TypeAlias = Literal["balanced", "max-compat", "max-bundle"]


@dataclass(frozen=True)
class Settings:
    """The configuration, as far as offers and answers depend on it."""

    bundle_policy: BundlePolicy = "balanced"
    """How many transports an offer asks for (W3C WebRTC §4.2.4)."""
    data_first: bool = False
    """Whether every offer has data channels, in its first section (WebRTC Extensions)."""
    fingerprints: tuple[tuple[str, str], ...] = ()
    """Algorithm and value of each fingerprint of our certificate."""
    handshake_options: tuple[str, ...] = ()
    """The ICE options that say that we take DTLS in connectivity checks; empty where that is off."""
    encodings_max: int = 3
    """The most encodings of one track that are sent."""

    # Where another implementation decides otherwise. The defaults are the W3C's and the RFCs'.
    matches_any_transceiver: bool = False
    """Whether a remote section takes any transceiver of its kind, and not only one that `addTrack` made."""
    offers_more_codecs: bool = True
    """Whether offers have telephone events, and H.264 in forms that aiortc does not know."""
    refuses_without_common_codec: bool = False
    """Whether an offer without a codec in common fails, where its section would only be rejected."""
    shows_offered_transports: bool = False
    """Whether a sender shows its transport before the peer's offer has been answered."""
    takes_unknown_in_bundle: bool = False
    """Whether a BUNDLE group may name sections that are not there."""
    gathers_for_every_section: bool = False
    """Whether a transport that the answer will probably make superfluous gathers at once."""
    takes_peers_track_ids: bool = False
    """Whether a track that is there already takes the id that the peer's description gives it."""
