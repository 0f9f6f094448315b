"""Action `http.request`: one HTTP call, with a guard against private addresses.

The guard resolves the host and then connects to the checked address. A second look-up could return another address.
Redirects are not followed, because their target would need the same check. An author can read the header `location`.
Hosts in `HTTP_ALLOWED_PRIVATE_HOSTS` (`host` or `host:port`) are always permitted.
"""

import ipaddress
import json
import socket
import time
from typing import Any, Literal

import httpx
from django.conf import settings
from pydantic import BaseModel, Field

from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext, ActionFailed
from workflows.engine.errors import Category

MAX_RESPONSE_BYTES = 200_000
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


class HttpRequestInput(ActionInput):
    """Input of `http.request`."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str = Field(min_length=1, max_length=4000)
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str | int | float | bool] = Field(default_factory=dict)
    body: Any = None
    timeout_seconds: float = Field(default=20, gt=0, le=60)
    fail_on_status: bool = True


class HttpRequestOutput(BaseModel):
    """Output of `http.request`. `body` is JSON if the server says so, otherwise text."""

    status: int
    headers: dict[str, str]
    body: Any


def http_request(value: HttpRequestInput, context: ActionContext) -> HttpRequestOutput:
    """Send one HTTP request and return the response.

    Errors: ActionFailed, as TransientError if a repetition can succeed.
    """
    url = _parsed(value.url)
    address = checked_address(url.host, url.port or (443 if url.scheme == "https" else 80))
    headers = {"Idempotency-Key": context.idempotency_key, **value.headers, "Host": _host_header(url)}
    content = {"json": value.body} if value.body is not None else {}
    # The timeout of httpx applies to each read. A server that sends slowly could respond for ever.
    deadline = time.monotonic() + value.timeout_seconds
    try:
        with (
            httpx.Client(timeout=value.timeout_seconds, follow_redirects=False, trust_env=False) as client,
            client.stream(
                value.method,
                url.copy_with(host=address),
                headers=headers,
                params=value.query or None,
                extensions={"sni_hostname": url.host},
                **content,
            ) as response,
        ):
            text = _read_bounded(response, until=deadline)
    except httpx.TimeoutException as error:
        raise ActionFailed(
            f"{url.host} did not respond within {value.timeout_seconds:g} s.",
            category=Category.TRANSIENT,
            code="HTTP_TIMEOUT",
        ) from error
    except httpx.HTTPError as error:
        raise ActionFailed(
            f"The request to {url.host} failed: {error}", category=Category.TRANSIENT, code="HTTP_FAILED"
        ) from error
    if value.fail_on_status and response.status_code >= 400:
        raise _status_failed(url.host, response.status_code, text)
    return HttpRequestOutput(status=response.status_code, headers=dict(response.headers), body=_body(response, text))


def checked_address(host: str, port: int) -> str:
    """Return a permitted address of the host.

    Errors: ActionFailed if the host has no address (TransientError) or a private one (ValidationError). The author or
    an administrator must act.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ActionFailed(
            f"The host {host!r} cannot be resolved: {error}", category=Category.TRANSIENT, code="HTTP_HOST_UNKNOWN"
        ) from error
    addresses = [str(entry[4][0]) for entry in found]
    allowed = {name.lower() for name in settings.HTTP_ALLOWED_PRIVATE_HOSTS}
    if host.lower() in allowed or f"{host.lower()}:{port}" in allowed:
        return addresses[0]
    for address in addresses:
        if not _is_public(address):
            raise ActionFailed(
                f"{host} has the private address {address}, which is not permitted. An administrator can add the host"
                " to HTTP_ALLOWED_PRIVATE_HOSTS.",
                category=Category.VALIDATION,
                code="HTTP_HOST_NOT_ALLOWED",
            )
    return addresses[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner.is_global and not inner.is_multicast
    # All other public addresses are in 2000::/3. This excludes NAT64, site-local and IPv4-compatible addresses.
    return address in GLOBAL_IPV6 and address.is_global


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ActionFailed(
            f"The URL is invalid: {error}", category=Category.VALIDATION, code="HTTP_URL_INVALID"
        ) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ActionFailed(
            "The URL must start with http:// or https:// and have a host.",
            category=Category.VALIDATION,
            code="HTTP_URL_INVALID",
        )
    return url


def _host_header(url: httpx.URL) -> str:
    return url.netloc.decode("ascii")


def _read_bounded(response: httpx.Response, *, until: float) -> bytes:
    content = b""
    for chunk in response.iter_bytes():
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the response was not complete in time")
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise ActionFailed(
                f"The response has more than {MAX_RESPONSE_BYTES} bytes, which is the limit.",
                category=Category.VALIDATION,
                code="HTTP_RESPONSE_TOO_LARGE",
            )
    return content


def _body(response: httpx.Response, content: bytes) -> Any:
    """Return the body as JSON if the content type is JSON and the body is valid, otherwise as text."""
    text = content.decode(response.encoding or "utf-8", "replace")
    if "json" not in response.headers.get("content-type", ""):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _status_failed(host: str, status: int, content: bytes) -> ActionFailed:
    transient = status in (408, 425, 429) or status >= 500
    return ActionFailed(
        f"{host} responded with status {status}.",
        category=Category.TRANSIENT if transient else Category.ACTION,
        code=f"HTTP_{status}",
        details={"status": status, "body": content[:2000].decode("utf-8", "replace")},
    )
