"""The HTTP request that a step sent, built again from its input, and the same request as a command for a terminal.

The input is redacted, and a secret is the name of a shell variable. So the text contains no hidden value.
"""

import re
import shlex
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import ValidationError

from workflows.actions.connector_spec import ConnectorSpec
from workflows.actions.connectors import connector_request
from workflows.actions.registry import ActionFailed
from workflows.engine.secret_places import is_secret
from workflows.json_numbers import write_json
from workflows.redaction import HIDDEN, Rules, redact

HTTP_REQUEST = "http.request"


class _Variables(dict[str, str]):
    """Secrets of a request: each is the name of a shell variable."""

    def __missing__(self, name: str) -> str:
        return _variable(name)

    def get(self, name: str, default: Any = None) -> str:
        return _variable(name)


@dataclass(frozen=True)
class SentRequest:
    """Request of one attempt, without secrets. `body` is None without a body."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def curl(self) -> str:
        """Return the request as a command of curl, in lines for a person."""
        parts = [f"curl -X {self.method} {_quoted(self.url)}"]
        parts += [f"-H {_quoted(f'{name}: {value}')}" for name, value in self.headers.items()]
        if self.body is not None:
            if "content-type" not in {name.lower() for name in self.headers} and not isinstance(self.body, str):
                parts.append("-H 'Content-Type: application/json'")
            text = self.body if isinstance(self.body, str) else write_json(self.body, ensure_ascii=False)
            parts.append(f"--data {_quoted(text)}")
        return " \\\n  ".join(parts)


def sent_request(
    action_id: str, value: Any, *, connector: Any, idempotency_key: str, rules: Rules
) -> SentRequest | None:
    """Return the request of an action, or None if the action sends no HTTP request that is known.

    `value` is the redacted input of the action. `connector` is the specification of the connector, or None.
    """
    if not isinstance(value, dict):
        return None
    if action_id == HTTP_REQUEST:
        return _http_request(value, idempotency_key)
    if connector is None:
        return None
    try:
        spec = ConnectorSpec.model_validate(connector)
        call = connector_request(spec, value, secrets=_Variables(), idempotency_key=idempotency_key)
    except (ActionFailed, ValidationError, KeyError, TypeError, ValueError):
        return None  # the redacted input no longer makes a request
    body = call.content.get("json", call.content.get("data"))
    return SentRequest(call.method, _with_query(call.url, call.query), _headers(redact(call.headers, rules)), body)


def _http_request(value: dict[str, Any], idempotency_key: str) -> SentRequest | None:
    url, headers = value.get("url"), value.get("headers") or {}
    if not isinstance(url, str) or not isinstance(headers, dict):
        return None
    if idempotency_key and "idempotency-key" not in (str(name).lower() for name in headers):
        headers = {"Idempotency-Key": idempotency_key, **headers}
    query = value.get("query") or {}
    full = _with_query(url, query) if isinstance(query, dict) else url
    return SentRequest(str(value.get("method", "GET")), full, _headers(headers), value.get("body"))


def _headers(headers: dict[str, Any]) -> dict[str, str]:
    """Return the headers. A hidden value or a secret becomes a shell variable with the name of its header."""
    return {
        str(name): _variable(str(name)) if value == HIDDEN or is_secret(value) else str(value)
        for name, value in headers.items()
    }


def _with_query(url: str, query: dict[str, Any]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{httpx.QueryParams(query)}" if query else url


def _variable(name: str) -> str:
    return f"${re.sub(r'[^A-Z0-9]+', '_', name.upper()).strip('_') or 'VALUE'}"


def _quoted(text: str) -> str:
    """Return a text for a shell. The shell replaces the variables in a text with double quotes only."""
    if re.search(r"\$[A-Z]", text) and not re.search(r"[`\"\\!]|\$[^A-Z]", text):
        return f'"{text}"'
    return shlex.quote(text)
