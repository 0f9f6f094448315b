"""Action `http.request`: one HTTP call, with a guard against private addresses.

Redirects are not followed, because the address of their target would need the same check. The output has the header
`location`, so an author can use it in a further step.
"""

import re
import time
from typing import Any, Literal

import httpcore
import httpx
from pydantic import BaseModel, Field

from workflows.actions.http_addresses import checked_address
from workflows.actions.http_exchange import ACCEPT_ENCODING, Received, exchange
from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext, ActionFailed
from workflows.engine.errors import Category
from workflows.strict_json import read_json

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
# These headers describe the connection and the length of the body. The client computes them from the request.
RESERVED_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
# Python has these codecs for other purposes. They are not charsets, and some of them take quadratic time.
NOT_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})


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
    """Output of `http.request`. `body` is JSON if the content type says that it is JSON, otherwise text."""

    status: int
    headers: dict[str, str]
    body: Any


def http_request(value: HttpRequestInput, context: ActionContext) -> HttpRequestOutput:
    """Send one HTTP request and return the response. The timeout includes the look-up of the host.

    Errors: ActionFailed. Its category is TransientError if a repetition can succeed.
    """
    deadline = time.monotonic() + value.timeout_seconds
    url = _parsed(value.url)
    request = httpx.Request(
        value.method,
        url,
        params=value.query or None,
        headers=_headers(value.headers, url, context.idempotency_key),
        **({"json": value.body} if value.body is not None else {}),
    )
    port = url.port or (443 if url.scheme == "https" else 80)
    address = checked_address(url.host, port, seconds=deadline - time.monotonic())
    try:
        received = exchange(request, address=address, deadline=deadline)
    except httpcore.TimeoutException as error:
        raise ActionFailed(
            f"{url.host} did not respond within {value.timeout_seconds:g} s.",
            category=Category.TRANSIENT,
            code="HTTP_TIMEOUT",
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise ActionFailed(
            f"The request to {url.host} failed: {error}", category=Category.TRANSIENT, code="HTTP_FAILED"
        ) from error
    if value.fail_on_status and received.status >= 400:
        raise _status_failed(url.host, received)
    return HttpRequestOutput(status=received.status, headers=dict(received.headers), body=_body(received))


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise ActionFailed(
            f"The URL is invalid: {error}", category=Category.VALIDATION, code="HTTP_URL_INVALID"
        ) from error
    if url.scheme not in ("http", "https") or not url.host or not 0 < (80 if url.port is None else url.port) < 65536:
        raise ActionFailed(
            "The URL must start with http:// or https:// and have a host. A port is a number from 1 to 65535.",
            category=Category.VALIDATION,
            code="HTTP_URL_INVALID",
        )
    return url


def _headers(given: dict[str, str], url: httpx.URL, idempotency_key: str) -> httpx.Headers:
    """Return the headers of the request. The author's headers replace the default `Idempotency-Key`.

    Errors: ActionFailed for a header that cannot be sent.
    """
    headers = httpx.Headers({"Accept": "*/*", "User-Agent": "pointsman"})
    if "idempotency-key" not in (name.lower() for name in given):
        given = {"Idempotency-Key": idempotency_key, **given}
    for name, text in given.items():
        problem = _header_problem(name, text)
        if problem:
            raise ActionFailed(
                f"The header {name[:100]!r} cannot be sent: {problem}.",
                category=Category.VALIDATION,
                code="HTTP_HEADER_INVALID",
            )
        headers[name] = text.strip(" \t")
    headers["Host"] = url.netloc.decode("ascii")
    headers["Accept-Encoding"] = ACCEPT_ENCODING
    return headers


def _header_problem(name: str, text: str) -> str | None:
    if not HEADER_NAME.fullmatch(name):
        return "the name may have only letters, digits and - _ . of ASCII"
    if name.lower() in RESERVED_HEADERS:
        return "the portal sets this header itself"
    if not HEADER_VALUE.fullmatch(text):
        return "the value may have only printable ASCII characters, without line breaks"
    return None


def _body(received: Received) -> Any:
    """Return the body as JSON if the content type is JSON and the body is valid, otherwise as text.

    Errors: ActionFailed for an unknown charset and for JSON that is nested too deeply.
    """
    text = _text(received)
    if "json" not in received.headers.get("content-type", ""):
        return text
    try:
        return read_json(text)
    except ValueError:
        return text
    except RecursionError as error:
        raise ActionFailed(
            "The JSON of the response is nested too deeply.",
            category=Category.VALIDATION,
            code="HTTP_RESPONSE_INVALID",
        ) from error


def _text(received: Received) -> str:
    charset = httpx.Response(received.status, headers=received.headers).charset_encoding or "utf-8"
    try:
        if charset.lower().replace("_", "-") in NOT_CHARSETS:
            raise LookupError(f"unknown encoding: {charset}")
        return received.content.decode(charset, "replace")
    except (LookupError, ValueError) as error:
        raise ActionFailed(
            f"The response has the unknown charset {charset[:100]!r}.",
            category=Category.VALIDATION,
            code="HTTP_CHARSET_UNKNOWN",
        ) from error


def _status_failed(host: str, received: Received) -> ActionFailed:
    status = received.status
    transient = status in (408, 425, 429) or status >= 500
    return ActionFailed(
        f"{host} responded with status {status}.",
        category=Category.TRANSIENT if transient else Category.ACTION,
        code=f"HTTP_{status}",
        details={"status": status, "body": received.content[:2000].decode("utf-8", "replace")},
    )
