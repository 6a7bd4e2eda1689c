"""How much of what is sent comes through: from transport-wide feedback, without clock, socket or task.

For what goes out, `Estimator` is told what was sent (`on_sent`) and what the peer reports (`on_feedback`), and says how
much to send (`target`). For what comes in, `ArrivalLog` keeps when it came, and writes the reports.
All times are seconds of one monotonic clock, all rates bits per second.
"""

from .allocation import Demand, allocate
from .arrivals import ArrivalLog, report_interval
from .estimator import Bandwidth, Estimator
from .feedback import Arrival, Feedback, read_feedback
from .feedback_writer import write_feedback
from .probing import Probe

__all__ = [
    "Arrival",
    "ArrivalLog",
    "Bandwidth",
    "Demand",
    "Estimator",
    "Feedback",
    "Probe",
    "allocate",
    "read_feedback",
    "report_interval",
    "write_feedback",
]
