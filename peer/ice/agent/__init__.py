"""The ICE agent (RFC 8445, 8838, 7675) without a clock, a socket or a task."""
