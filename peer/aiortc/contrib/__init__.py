"""aiortc's `contrib`."""
