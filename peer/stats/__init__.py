"""Statistics (W3C webrtc-stats)."""
