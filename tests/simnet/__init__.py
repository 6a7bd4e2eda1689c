"""The virtual network: worlds of hosts, lines and NATs, and clocks that jump.

`world`, `nat`, `streams`       what packets meet, on any clock
`clock`, `agents`               ICE agents driven by hand, without asyncio
`loop`, `network`, `servers`    whole peer connections: an asyncio loop in virtual time, `SimNetwork` for the
                                operating system, STUN and TURN servers that speak the real protocols
"""

from tests.simnet.clock import VirtualClock
from tests.simnet.loop import VirtualClockLoop, in_virtual_time
from tests.simnet.nat import Dependence, Nat
from tests.simnet.network import SimNetwork
from tests.simnet.servers import StunServer, TurnServer
from tests.simnet.world import Firewall, Host, Link, Nic, Packet, World

__all__ = [
    "Dependence",
    "Firewall",
    "Host",
    "Link",
    "Nat",
    "Nic",
    "Packet",
    "SimNetwork",
    "StunServer",
    "TurnServer",
    "VirtualClock",
    "VirtualClockLoop",
    "World",
    "in_virtual_time",
]
