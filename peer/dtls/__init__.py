"""DTLS (RFC 9147) and the keys of SRTP (RFC 5764)."""
