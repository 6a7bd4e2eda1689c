"""RTCPeerConnection (WebRTC 1.0 §4) and the objects that only it makes."""
