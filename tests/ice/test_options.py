"""What may be asked of ICE, and what is refused before anything is gathered."""

from __future__ import annotations

from typing import Any

import pytest

from peer.ice.agent.timings import IceTimings
from peer.ice.options import IceOptions


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"policy": "none"}, "policy must be 'all' or 'relay', not 'none'"),
        ({"ports": 5000}, r"ports must be \(first, last\), not 5000"),
        ({"ports": (6000, 5000)}, "1 <= first <= last <= 65535"),
        ({"ports": (0, 10)}, "1 <= first <= last <= 65535"),
        ({"bind": "10.0.0.1"}, r"bind takes several addresses: bind=\['10.0.0.1'\]"),
        ({"bind": ["eth0"]}, "bind and nat_1to1 take IP addresses, not 'eth0'"),
        ({"nat_1to1": {"10.0.0.5": "here"}}, "take IP addresses, not 'here'"),
        ({"nat_1to1": {"10.0.0.5": "2001:db8::1"}}, "of the other IP version"),
        ({"interface_filter": "eth0"}, "interface_filter must be a function, not 'eth0'"),
        ({"ip_versions": ()}, r"ip_versions must be \(4,\), \(6,\) or \(4, 6\)"),
        ({"ip_versions": (5,)}, "ip_versions must be"),
        ({"candidate_pool_size": -1}, "candidate_pool_size must not be negative"),
        ({"tls": True}, "tls must be an ssl.SSLContext, not True"),
        ({"gathering_timeout": 0}, "gathering_timeout and receive_queue must be above 0"),
        ({"restart_grace": -1}, "restart_grace not below 0"),
        ({"receive_queue": 0}, "receive_queue must be above 0"),
        ({"timings": {"ta": 0.05}}, "timings must be IceTimings"),
    ],
)
def test_options_that_cannot_work_are_refused_in_words(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        IceOptions(**wrong)


def test_options_that_can_work_are_kept_as_they_are_given() -> None:
    options = IceOptions(
        ports=(40000, 40100),
        bind=["10.0.0.5"],
        nat_1to1={"10.0.0.5": "198.51.100.7"},
        interface_filter=lambda interface: interface.name != "docker0",
        timings=IceTimings(),
    )
    assert options.ports == (40000, 40100)
    assert options.interface_filter is not None
