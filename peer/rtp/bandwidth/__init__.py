"""How much of what is sent comes through: from transport-wide feedback, without clock, socket or task.

`Estimator` is told what was sent (`on_sent`) and what the peer reports (`on_feedback`), and says how much to send
(`target`). All times are seconds of one monotonic clock, all rates bits per second.
"""

from .estimator import Bandwidth, Estimator
from .feedback import Arrival, Feedback, read_feedback

__all__ = ["Arrival", "Bandwidth", "Estimator", "Feedback", "read_feedback"]
