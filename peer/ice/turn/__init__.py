"""TURN (RFC 8656): allocations, permissions and channels over UDP, TCP and TLS."""
