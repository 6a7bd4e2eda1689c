"""A room of peers: `Call` joins one over a signalling client."""
