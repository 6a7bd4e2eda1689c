"""STUN (RFC 8489): messages, and the client that asks a server for its reflexive address."""
