"""Where rooms live: in this process (memory) or in Redis, shared by any number of relays."""

from .base import Backplane, SendResult
from .memory import MemoryBackplane

__all__ = ["Backplane", "MemoryBackplane", "SendResult"]
