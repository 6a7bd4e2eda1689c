"""Where aiortc does otherwise than the W3C has it, decision by decision.

A connection asks its `Behaviour` at each of these places. The default is what the W3C and the RFCs say; `AIORTC` is
what `peer.aiortc.RTCPeerConnection` passes, because programs written for aiortc count on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Behaviour:
    """The decisions in which aiortc and the W3C differ. The defaults are the W3C's."""

    # Offer and answer

    waits_for_candidates: bool = False
    """aiortc's `setLocalDescription` returns when all candidates are in the description, as nothing tells of later
    ones."""
    judges_state_first: bool = False
    """aiortc's `setLocalDescription` looks at the signalling state before it looks at the description."""
    rolls_back_in_glare: bool = True
    """aiortc refuses the peer's offer while its own is pending, where the W3C has its own rolled back."""
    matches_any_transceiver: bool = False
    """aiortc gives a section of the peer's offer any transceiver of its kind, and not only one `addTrack` made."""
    refuses_without_common_codec: bool = False
    """aiortc raises for an offer whose section has no codec in common, where the W3C has the section rejected."""
    takes_unknown_in_bundle: bool = False
    """aiortc does not mind a BUNDLE group that names sections which are not there."""
    offers_more_codecs: bool = True
    """aiortc knows neither telephone events (RFC 4733) nor H.264 in Main profile or packetization mode 0, and programs
    compare its codecs with what they expect."""

    # Transports

    gathers_for_every_section: bool = False
    """aiortc gathers for every transport of an offer, those too that an answer which bundles makes superfluous."""
    shows_offered_transports: bool = False
    """aiortc's senders and receivers show their transport as soon as the peer has offered it."""
    skips_connected: bool = False
    """aiortc's `iceConnectionState` goes from checking to completed, and there once DTLS stands."""
    tells_own_close: bool = False
    """aiortc's `close` emits the state events, where the W3C tells nothing to those who closed themselves."""

    # Media

    shares_default_stream: bool = False
    """aiortc puts all tracks that were added without a stream into one."""
    reuses_senders: bool = False
    """aiortc's `addTrack` takes any sender without a track, where the W3C leaves those alone that have ever sent."""
    refuses_used_track: bool = False
    """aiortc's `addTransceiver` refuses a track that has a sender already."""
    takes_peers_track_ids: bool = False
    """aiortc's remote tracks have the id of the peer's description, since it makes them when that comes."""
    replaces_tracks_at_once: bool = False
    """aiortc's `replaceTrack` is not queued behind the operations of the connection."""
    ends_tracks_at_once: bool = False
    """aiortc's remote track is over when the `stop` of its transceiver returns, and not in a task of its own."""
    ends_sent_tracks: bool = False
    """aiortc's senders stop the application's track when they stop."""
    shows_last_direction: bool = False
    """aiortc's stopped transceivers keep the direction they had, where the W3C has "stopped"."""
    reports_as_aiortc: bool = False
    """aiortc's `getStats` has the objects that its own classes know."""

    # Data

    shows_sctp_at_once: bool = False
    """aiortc's connection shows `sctp` from the first channel on, before anything has been negotiated."""
    keeps_channel_ids: bool = False
    """aiortc's `createDataChannel` takes an `id` for a channel that is not negotiated out of band."""
    opens_channels_when_confirmed: bool = False
    """aiortc's channel opens when the peer has confirmed it, and closes at once before that."""


W3C: Final = Behaviour()
"""As in a browser."""

AIORTC: Final = Behaviour(
    waits_for_candidates=True,
    judges_state_first=True,
    rolls_back_in_glare=False,
    matches_any_transceiver=True,
    refuses_without_common_codec=True,
    takes_unknown_in_bundle=True,
    offers_more_codecs=False,
    gathers_for_every_section=True,
    shows_offered_transports=True,
    skips_connected=True,
    tells_own_close=True,
    shares_default_stream=True,
    reuses_senders=True,
    refuses_used_track=True,
    takes_peers_track_ids=True,
    replaces_tracks_at_once=True,
    ends_tracks_at_once=True,
    ends_sent_tracks=True,
    shows_last_direction=True,
    reports_as_aiortc=True,
    shows_sctp_at_once=True,
    keeps_channel_ids=True,
    opens_channels_when_confirmed=True,
)
"""As in aiortc."""
