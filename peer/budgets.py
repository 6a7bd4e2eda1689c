"""How much of everything a stranger or a peer may make this side hold or do: every bound in one place.

A bound is far above what an honest peer needs, and low enough that its worst case is no harm. What exceeds one is
refused or dropped, counted, and logged at most once a second. Each has its unit and its reason here.
"""

from __future__ import annotations

from typing import Final

# SCTP and data channels

MESSAGE_BYTES: Final = 262_144
"""Bytes of a message we take, as our descriptions say (`a=max-message-size`). A larger one ends the association."""

RECEIVE_WINDOW_BYTES: Final = 3 * 1024 * 1024
"""Bytes the peer may send before they are delivered: the window we advertise (RFC 9260 §3.3.2).

It holds what 100 Mbit/s bring in three round trips of 80 ms: one under way, and two until a loss is repaired.
"""

REASSEMBLY_BYTES: Final = RECEIVE_WINDOW_BYTES + 1024 * 1024
"""Bytes of fragments and messages kept until what comes before them arrives. What is beyond is not acknowledged."""

REASSEMBLY_CHUNKS: Final = 8192
"""Fragments kept likewise, since one of a byte costs as much memory as hundreds of bytes do."""

TSN_HOLES: Final = 1024
"""Gaps in what has arrived. What would make another is not acknowledged: it comes again once some are filled."""

TSN_AHEAD: Final = 65_535
"""How far ahead of what is complete a chunk may be: as far as a gap block of a SACK can say (RFC 9260 §3.3.4)."""

STREAMS: Final = 2048
"""Inbound streams with a state of their own: those of all channels there may be, and as many that are being closed."""

CHANNELS: Final = 1024
"""Data channels at once, beyond which the peer's are refused; as in Chromium. Our own have ids for 65 535."""

CHANNEL_NAME_BYTES: Final = 1024 * 1024
"""Bytes of the labels and protocols of all channels the peer has opened, together (one may have 65 535 and 65 535)."""

UNANSWERED_RETRANSMISSIONS: Final = 10
"""Timeouts in a row, on a path that works, after which an association that acknowledges nothing is over."""

# RTP and RTCP

SRTP_STREAMS: Final = 256
"""SSRCs of a transport that SRTP keeps a state of. The least recently heard goes: each packet looks through all."""

RTCP_BYTES_PER_SECOND: Final = 131_072
"""Bytes of RTCP that are read in a second, and at once. The reports on 100 Mbit/s of media are a third of that."""

NACKED_PACKETS: Final = 512
"""Packets that one NACK may ask for again; twice as many as we ever ask for. What follows in it is left."""

REPORTED_PACKETS_PER_SECOND: Final = 16_384
"""Packets that transport-wide reports may speak of in a second, and at once: 150 Mbit/s. Ten bytes can say 8191."""

# Calls

CALL_SECTIONS: Final = 32
"""Media sections of a description in a `Call`: cameras, microphones and screens of one peer. Each costs a millisecond
that the event loop stands still for. An `RTCPeerConnection` takes 256, as conference servers send them."""

CALL_DESCRIPTIONS_PER_SECOND: Final = 65_536
"""Characters of one peer's offers and answers that are applied in a second; what comes faster waits. Ordinary ones have
ten thousand, and cost ten milliseconds."""

CALL_DESCRIPTIONS_AT_ONCE: Final = 524_288
"""Characters of descriptions that are applied without a wait: twice the largest message of signalling."""

CALL_FEED_ITEMS: Final = 1000
"""Items that wait for a reader of `Call.messages()` and its like. The oldest go first."""

CALL_FEED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of messages that wait for a reader: as much as a channel lets wait for the network."""

CALL_DESCRIPTIONS_WAITING: Final = 4 * 1024 * 1024
"""Characters of one peer's descriptions that wait. Whoever sends more is hung up on."""

# Pictures

PICTURE_PIXELS: Final = 4 * 1024 * 1024
"""Pixels of a received picture, unless its receiver is told otherwise. A few bytes can claim 16383 × 16383."""

UNREAD_PICTURE_BYTES: Final = 32 * 1024 * 1024
"""Bytes of decoded pictures that wait for a reader of their track; two wait whatever their size. The oldest go."""

ENCODED_BYTES: Final = 4 * 1024 * 1024
"""Bytes of encoded pictures that wait for a decoder, or for somebody to read the track."""
