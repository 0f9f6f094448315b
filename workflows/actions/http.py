"""`http.request`: one HTTP call, with a guard against private addresses.

The guard resolves the host itself and connects to the address that it has checked, so that a name cannot answer with
another address a moment later. Redirects are not followed: their target would need the same check, and an author can read
`location`. Hosts in `HTTP_ALLOWED_PRIVATE_HOSTS` (`host` or `host:port`) pass.
"""

import ipaddress
import json
import socket
import time
from typing import Any, Literal

import httpx
from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field

from workflows.actions.registry import ActionContext, ActionFailed
from workflows.engine.errors import Category

MAX_RESPONSE_BYTES = 200_000
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


class HttpRequestInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str = Field(min_length=1, max_length=4000)
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str | int | float | bool] = Field(default_factory=dict)
    body: Any = None
    timeout_seconds: float = Field(default=20, gt=0, le=60)
    fail_on_status: bool = True


class HttpRequestOutput(BaseModel):
    status: int
    headers: dict[str, str]
    body: Any


def http_request(value: HttpRequestInput, context: ActionContext) -> HttpRequestOutput:
    url = _parsed(value.url)
    address = checked_address(url.host, url.port or (443 if url.scheme == "https" else 80))
    headers = {"Idempotency-Key": context.idempotency_key, **value.headers, "Host": _host_header(url)}
    content = {"json": value.body} if value.body is not None else {}
    # httpx's own timeout is for each read; a server that drips would never end.
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
            f"no answer from {url.host} within {value.timeout_seconds:g} s",
            category=Category.TRANSIENT,
            code="HTTP_TIMEOUT",
        ) from error
    except httpx.HTTPError as error:
        raise ActionFailed(
            f"the call to {url.host} failed: {error}", category=Category.TRANSIENT, code="HTTP_FAILED"
        ) from error
    if value.fail_on_status and response.status_code >= 400:
        raise _status_failed(url.host, response.status_code, text)
    return HttpRequestOutput(status=response.status_code, headers=dict(response.headers), body=_body(response, text))


def checked_address(host: str, port: int) -> str:
    """An address of the host that may be called.

    Errors: ActionFailed when it does not resolve (TransientError), or leads to a private network (ValidationError).
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ActionFailed(
            f"the host {host!r} cannot be resolved: {error}", category=Category.TRANSIENT, code="HTTP_HOST_UNKNOWN"
        ) from error
    addresses = [str(entry[4][0]) for entry in found]
    allowed = {name.lower() for name in settings.HTTP_ALLOWED_PRIVATE_HOSTS}
    if host.lower() in allowed or f"{host.lower()}:{port}" in allowed:
        return addresses[0]
    for address in addresses:
        if not _is_public(address):
            raise ActionFailed(
                f"{host} leads to the private address {address}; an administrator can allow it in HTTP_ALLOWED_PRIVATE_HOSTS",
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
    # Everything else that is public lies in 2000::/3: no translated (NAT64), site-local or compatible addresses.
    return address in GLOBAL_IPV6 and address.is_global


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ActionFailed(
            f"the URL cannot be read: {error}", category=Category.VALIDATION, code="HTTP_URL_INVALID"
        ) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ActionFailed(
            "the URL must begin with http:// or https:// and name a host",
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
            raise httpx.ReadTimeout("the answer was not complete in time")
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise ActionFailed(
                f"the answer has more than {MAX_RESPONSE_BYTES} bytes",
                category=Category.VALIDATION,
                code="HTTP_RESPONSE_TOO_LARGE",
            )
    return content


def _body(response: httpx.Response, content: bytes) -> Any:
    """JSON where the server says that it is JSON and it is, else text."""
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
        f"{host} answered {status}",
        category=Category.TRANSIENT if transient else Category.ACTION,
        code=f"HTTP_{status}",
        details={"status": status, "body": content[:2000].decode("utf-8", "replace")},
    )
