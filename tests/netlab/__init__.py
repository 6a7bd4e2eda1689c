"""Real networks in a box: namespaces, NATs, firewalls, servers, and a core that makes lines long, lossy or dead.

A test takes the `lab` fixture (`conftest.py`), needs root, and is marked `real` and `netns`. The parts:

- `lab.Lab`: makes and removes everything. `lab.site(...)` is an access network with its NAT, firewall, delay, jitter
  and loss; `lab.host(name, *sites)` a machine on it; `lab.server()` the middle: STUN, TURN and signalling.
- `topology.Site`: `shape(delay=…, jitter=…, loss=…)`, `cut()`, `mend()`; `topology.Host`: `plug`, `unplug`,
  `readdress`, `namespace.command(...)` to run anything inside, `setns.entered(...)` to open sockets inside.
- `lab.party(host, "ours" | "aiortc" | "chromium")`: one end of a call, the same verbs for all (`party.Party`).
- `lab.trace(...)` and `timeline`: every packet the core has seen, and which phase of a connection it belongs to.

Delays are per site and direction: two sites of 20 ms are 80 ms apart and back; a site of 20 ms and the server's 10 ms
make 60 ms. The lab adds about 1 ms to an RTT of its own.
"""
