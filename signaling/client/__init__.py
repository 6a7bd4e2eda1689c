"""The signalling client: a session that survives outages."""
