"""The configuration of a connection as long as it lives: what may change of it, and ICE servers that are kept fresh."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from peer.dtls.certificate import RTCCertificate
from peer.exceptions import InvalidModificationError, NotSupportedError
from peer.ice.options import IceOptions

from .configuration import RTCConfiguration, RTCIceServer, configuration
from .ice_candidate import RTCPeerConnectionIceErrorEvent
from .ice_servers import FreshIceServers

logger = logging.getLogger("peer.connection")


class Configured:
    """Holds a connection's configuration. Raises what `RTCConfiguration` raises for what is `given`.

    Once `watch` has been called, `apply` gets the ICE options for what is gathered from now on, whenever they are
    others, and `failed` is told when no ICE servers can be had.
    """

    def __init__(self, given: Any) -> None:
        self.current = configuration(given)
        self.options = self.current.ice_options()
        self._own_certificate = not self.current.certificates
        if self._own_certificate:
            self.current.certificates = [RTCCertificate.generateCertificate()]
        self._fresh: FreshIceServers | None = None
        self._apply: Callable[[IceOptions], None] = lambda options: None
        self._failed: Callable[[RTCPeerConnectionIceErrorEvent], None] = lambda error: None

    @property
    def certificate(self) -> RTCCertificate:
        """The certificate that this side shows."""
        return self.current.certificates[0]

    def watch(
        self,
        apply: Callable[[IceOptions], None],
        failed: Callable[[RTCPeerConnectionIceErrorEvent], None],
    ) -> None:
        """Tell of other options, and keep the servers of an async source fresh."""
        self._apply = apply
        self._failed = failed
        self._fresh = self._keep_fresh()

    async def ready(self) -> None:
        """Wait until the ICE servers are known, or cannot be had."""
        if self._fresh is not None:
            await self._fresh.ready()

    async def close(self) -> None:
        """End the background work."""
        if self._fresh is not None:
            await self._fresh.close()

    def copy(self) -> RTCConfiguration:
        """What `getConfiguration` returns: changing it changes nothing here."""
        given = self.current.copy()
        for server in given._ice_servers():
            server.urls = [server.urls] if isinstance(server.urls, str) else list(server.urls)
        if self._own_certificate:
            given.certificates = []
        return given

    def replace(self, given: Any, *, described: bool) -> FreshIceServers | None:
        """What `setConfiguration` does. Return the upkeep of the servers there were, for the caller to close.

        `described` tells whether a local description has been set. Raises `InvalidModificationError` for what cannot be
        changed, and what `RTCConfiguration` raises; then nothing has changed.
        """
        try:
            new = configuration(given)
        except NotSupportedError as exc:
            raise InvalidModificationError(str(exc)) from None
        self.current.check_change(new, described=described)
        options = new.ice_options()
        new.certificates = self.current.certificates
        self.current = new
        self._use(options)
        before, self._fresh = self._fresh, self._keep_fresh()
        return before

    def _use(self, options: IceOptions) -> None:
        self.options = options
        self._apply(options)

    def _keep_fresh(self) -> FreshIceServers | None:
        source = self.current.iceServerSource
        if source is None:
            return None
        url = getattr(source, "url", "")

        def failed(error: Exception) -> None:
            logger.warning("no ICE servers: %s", error)
            self._failed(RTCPeerConnectionIceErrorEvent(None, None, url, 701, f"no ICE servers: {error}"))

        return FreshIceServers(source, self._use_servers, failed)

    def _use_servers(self, servers: list[RTCIceServer]) -> None:
        """For what is gathered from now on; running allocations get the new credentials too."""
        changed = self.current.copy()
        changed.iceServers = servers
        options = changed.ice_options()
        self.current.iceServers = servers
        self._use(options)
