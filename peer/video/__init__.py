"""Video: encoding, sending, and the jitter buffer of what arrives."""
