"""The client's side of HTTP: requests with a token, redirects, and errors that say what happened."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from .errors import CounterOffer, ServiceUnavailable, Unauthorized, WhipError

__all__ = ["Exchange"]

REDIRECTIONS_MAX: Final = 5
BODY_MAX: Final = 1024 * 1024


class Exchange:
    """Talks to one server. `http` is a client of the application's, which is left open; None makes one."""

    def __init__(self, token: str | None, http: httpx.AsyncClient | None, timeout: float) -> None:
        self._token = token
        self._own = http is None
        self._http = http or httpx.AsyncClient()
        self._timeout = timeout
        self._origin: str | None = None

    async def post(self, url: str, sdp: str) -> tuple[httpx.Response, str]:
        """POST an offer, and follow 307 and 308 with it. Return the answer, and the URL that gave it."""
        self._origin = _origin(url)
        for _ in range(REDIRECTIONS_MAX + 1):
            response = await self.send(
                "POST", url, sdp, {"Content-Type": "application/sdp", "Accept": "application/sdp"}
            )
            if response.status_code not in (307, 308) or "location" not in response.headers:
                return response, url
            url = urljoin(url, response.headers["location"])
        raise WhipError(response.status_code, "the server redirects for ever", url=url)

    async def send(
        self,
        method: str,
        url: str,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """Send one request, and follow nothing. Raises `WhipError` with status 0 where no answer comes."""
        sent = dict(headers or {})
        # A token is for the server the application named, and for nobody that server points at.
        if self._token is not None and self._origin in (None, _origin(url)):
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            return await self._http.request(
                method,
                url,
                content=body.encode() if body else None,
                headers=sent,
                timeout=timeout or self._timeout,
                follow_redirects=False,
            )
        except httpx.TimeoutException:
            raise WhipError(
                0, f"no answer to {method} within {timeout or self._timeout:g} s", url=url
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WhipError(0, f"{method} failed: {error or type(error).__name__}", url=url) from error

    async def close(self) -> None:
        """Close the HTTP client, if it is ours."""
        if self._own:
            await self._http.aclose()


def error_of(response: httpx.Response, url: str) -> WhipError:
    """Make the error that an answer stands for."""
    status, reason = response.status_code, response.reason_phrase
    body = response.text[:BODY_MAX]
    if status in (401, 403):
        return Unauthorized(status, reason, body, url)
    if status == 406 and response.headers.get("content-type", "").startswith("application/sdp"):
        return CounterOffer(status, reason, body, url, sdp=body)
    if status == 503:
        after = retry_after(response.headers.get("retry-after"))
        return ServiceUnavailable(status, reason, body, url, retry_after=after)
    if status in (301, 302, 303):
        return WhipError(status, f"{reason}: only 307 and 308 may redirect an offer (RFC 9725 §4.5)", "", url)
    return WhipError(status, reason, body, url)


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, given as a number or a date; None for anything else."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
