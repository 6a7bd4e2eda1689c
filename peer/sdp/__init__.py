"""SDP (RFC 8866) as data."""
