"""An SCTP association without I/O, clock or task (RFC 9260)."""
