"""RTP (RFC 3550): senders, receivers and transceivers (WebRTC 1.0 §5)."""
