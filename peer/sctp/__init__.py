"""SCTP over DTLS (RFC 9260, 8831) and the data channels on it (RFC 8832)."""
