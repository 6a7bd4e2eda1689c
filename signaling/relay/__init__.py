"""The relay, which needs the extra `server`."""
