"""Calls between services: one HTTP client per process, and a ServiceClient per target."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import structlog

from common.auth.service_tokens import ServiceTokenSigner
from common.errors import Problem, Transient
from common.http.aiohttp_transport import HonestTransport
from common.http.json_response import PROBLEM_TYPE
from common.http.problems import problem_from_body
from common.http.request_id import HEADER
from common.telemetry.tracing import HEADER as TRACE_HEADER
from common.telemetry.tracing import current_traceparent

DEFAULT_TIMEOUT_SECONDS = 5.0
GATEWAY_PATIENCE_SECONDS = 10.0
"""So long the gateway waits for the answer to a request that it passes on, unless TikTok is asked in between."""
MAX_CONNECTIONS = 200


def internal_client(timeout: float = DEFAULT_TIMEOUT_SECONDS, *, max_connections: int = MAX_CONNECTIONS) -> httpx.AsyncClient:
    """Return an HTTP client for internal calls over aiohttp.

    No proxies from the environment, no redirects, no cookies; at most `max_connections`; `timeout` in seconds for connecting,
    waiting for a connection and between two reads (ServiceClient bounds the whole call besides). Close it with `aclose()`.
    """
    return httpx.AsyncClient(
        transport=HonestTransport(max_connections=max_connections),
        timeout=httpx.Timeout(timeout),
        trust_env=False,
        follow_redirects=False,
        headers={"accept-encoding": "identity", "accept": "application/json", "user-agent": "cuepost"},
    )


class ServiceFailure(Transient):
    """Another service did not answer, or answered 5xx; `status` and `problem` are its answer where there was one."""

    def __init__(self, reason: str, *, status: int | None = None, problem: Problem | None = None) -> None:
        super().__init__(reason, retry_after=_retry_after(problem))
        self.status = status
        self.problem = problem


def _retry_after(problem: Problem | None) -> float | None:
    value = problem.headers.get("Retry-After", "") if problem is not None else ""
    return float(value) if value.isdigit() else None


class ServiceClient:
    """Calls one other service with this service's own token for it, or with a user's token."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, *, audience: str, signer: ServiceTokenSigner) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._audience = audience
        self._signer = signer

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Any:
        """GET and return the decoded JSON (None for an empty body); raises as `request` does."""
        return await self.request("GET", path, params=params, bearer=bearer, headers=headers, timeout=timeout)

    async def post(
        self,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Any:
        """POST and return the decoded JSON (None for an empty body); raises as `request` does."""
        return await self.request("POST", path, json=json, params=params, bearer=bearer, headers=headers, timeout=timeout)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Any:
        """Call and return the decoded JSON, None for an empty body.

        Raises the Problem the other service answered with (4xx), ServiceFailure (a Transient) when it did not answer within
        `timeout` seconds, could not be reached, or answered 5xx.
        """
        response = await self.send(method, path, json=json, params=params, bearer=bearer, headers=headers, timeout=timeout)
        if response.is_success:
            return _decoded(response, self._audience) if response.content else None
        problem = _problem_of(response)
        if response.status_code >= 500 or problem is None:
            raise ServiceFailure(
                f"{self._audience} answered {response.status_code} {problem.code if problem else ''}".rstrip(),
                status=response.status_code,
                problem=problem,
            )
        raise problem

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Any = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> httpx.Response:
        """Call and return the whole answer whatever its status (to pass it on untouched).

        `bearer` is a user's token to pass on; without it the service's own token is sent. Raises ServiceFailure when there was
        no answer within `timeout` seconds.
        """
        with self._failures(timeout):
            async with asyncio.timeout(timeout):
                return await self._client.request(
                    method,
                    self._base_url + path,
                    json=json,
                    content=content,
                    params=params,
                    headers=self._headers(bearer, headers),
                    timeout=timeout,
                )

    async def open(
        self,
        path: str,
        *,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> httpx.Response:
        """GET and return the answer as soon as its head is there; the caller reads the body (`aiter_raw`) and calls `aclose`.

        Raises ServiceFailure when no head came within `timeout` seconds; each later read may take as long.
        """
        with self._failures(timeout):
            async with asyncio.timeout(timeout):
                request = self._client.build_request(
                    "GET", self._base_url + path, headers=self._headers(bearer, headers), timeout=timeout
                )
                return await self._client.send(request, stream=True)

    @contextmanager
    def _failures(self, timeout: float) -> Iterator[None]:
        """Say what a call's failure means."""
        try:
            yield
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ServiceFailure(f"{self._audience} did not answer within {timeout:g} s") from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise ServiceFailure(f"{self._audience} could not be reached: {type(error).__name__}") from error

    def _headers(self, bearer: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
        merged = {"Authorization": f"Bearer {bearer or self._signer.token(self._audience)}"}
        request_id = structlog.contextvars.get_contextvars().get("correlation_id")
        if request_id:
            merged[HEADER] = str(request_id)
        if (traceparent := current_traceparent()) is not None:
            merged[TRACE_HEADER] = traceparent
        return merged | dict(headers or {})


def _problem_of(response: httpx.Response) -> Problem | None:
    if not response.headers.get("content-type", "").startswith(PROBLEM_TYPE):
        return None
    try:
        body = response.json()
    except ValueError:
        return None
    kept = {name: response.headers[name] for name in ("Retry-After", "WWW-Authenticate") if name in response.headers}
    return problem_from_body(response.status_code, body, kept)


def _decoded(response: httpx.Response, audience: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ServiceFailure(f"{audience} answered something that is not JSON", status=response.status_code) from error
