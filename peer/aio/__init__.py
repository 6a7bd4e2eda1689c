"""What asyncio lacks: these modules know nothing of WebRTC and import nothing of this package."""
