"""Bounded HTTP call of actions: checked address, limited time, limited response, checked headers.

Redirects are not followed, because the address of their target would need the same check. The response has the header
`location`, so an author can use it in a further step.
"""

import re
import time
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from workflows.actions.http_addresses import checked_address
from workflows.actions.http_exchange import ACCEPT_ENCODING, Received, exchange
from workflows.actions.registry import ActionFailed
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


class ResponseLost(ActionFailed):
    """The request may have reached the server, but there is no usable response."""


@dataclass(frozen=True)
class HttpCall:
    """One request. `content` has the arguments `json` or `data` of httpx.

    Units: `timeout_seconds` is in seconds. It includes the look-up of the host.
    """

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    query: dict[str, Any] = field(default_factory=dict, repr=False)
    content: dict[str, Any] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 20


def http_send(call: HttpCall) -> Received:
    """Send one HTTP request and return the response.

    Errors: ActionFailed. Its category is TransientError if a repetition can succeed. ResponseLost if the request may
    have reached the server.
    """
    deadline = time.monotonic() + call.timeout_seconds
    url = _parsed(call.url)
    request = httpx.Request(
        call.method, url, params=call.query or None, headers=_headers(call.headers, url), **call.content
    )
    port = url.port or (443 if url.scheme == "https" else 80)
    address = checked_address(url.host, port, seconds=deadline - time.monotonic())
    try:
        return exchange(request, address=address, deadline=deadline)
    except httpcore.TimeoutException as error:
        kind = ActionFailed if isinstance(error, httpcore.ConnectTimeout) else ResponseLost
        message = f"{url.host} did not respond within {call.timeout_seconds:g} s."
        raise kind(message, category=Category.TRANSIENT, code="HTTP_TIMEOUT") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        kind = ActionFailed if isinstance(error, httpcore.ConnectError) else ResponseLost
        message = f"The request to {url.host} failed: {error}"
        raise kind(message, category=Category.TRANSIENT, code="HTTP_FAILED") from error


def url_problem(text: str) -> str | None:
    """Return the reason why a URL cannot be called, or None."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        return f"The URL is invalid: {error}"
    if url.scheme not in ("http", "https") or not url.host or not 0 < (80 if url.port is None else url.port) < 65536:
        return "The URL must start with http:// or https:// and have a host. A port is a number from 1 to 65535."
    return None


def _parsed(text: str) -> httpx.URL:
    problem = url_problem(text)
    if problem:
        raise ActionFailed(problem, category=Category.VALIDATION, code="HTTP_URL_INVALID")
    return httpx.URL(text)


def _headers(given: dict[str, str], url: httpx.URL) -> httpx.Headers:
    """Return the headers of the request.

    Errors: ActionFailed for a header that cannot be sent.
    """
    headers = httpx.Headers({"Accept": "*/*", "User-Agent": "pointsman"})
    for name, text in given.items():
        problem = header_name_problem(name) or _header_value_problem(text)
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


def header_name_problem(name: str) -> str | None:
    """Return the reason why a caller may not set a header with this name, or None."""
    if not HEADER_NAME.fullmatch(name):
        return "the name may have only letters, digits and - _ . of ASCII"
    if name.lower() in RESERVED_HEADERS:
        return "the portal sets this header itself"
    return None


def _header_value_problem(text: str) -> str | None:
    if not HEADER_VALUE.fullmatch(text):
        return "the value may have only printable ASCII characters, without line breaks"
    return None


def body_of(received: Received) -> Any:
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


def status_failed(host: str, received: Received, *, is_transient: bool) -> ActionFailed:
    """Return the error for a response with a status that is no success."""
    status = received.status
    return ActionFailed(
        f"{host} responded with status {status}.",
        category=Category.TRANSIENT if is_transient else Category.ACTION,
        code=f"HTTP_{status}",
        details={"status": status, "body": received.content[:2000].decode("utf-8", "replace")},
    )
