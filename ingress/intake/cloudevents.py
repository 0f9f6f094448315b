"""Conversion of CloudEvents 1.0 to the envelope of the portal. Pure.

| attribute | becomes |
|---|---|
| `type` | `event_type` |
| `source` and `id` | `event_id`: the two together are a CloudEvent's identity |
| `data` | `payload`, a JSON object; without `data` an empty one |
| `time` | `occurred_at` |
| `dataschema` | `payload_schema_ref` |
| `workflowcorrelationkey`, else `correlationkey` | `workflow_correlation_key` |

Every other attribute is stored with the event.

Source: https://github.com/cloudevents/spec (core, JSON format and HTTP binding, 1.0.2)
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from ingress.intake.envelope import MAX_ID_LENGTH, Envelope, event_invalid, read_event_envelope
from workflows.errors import InputInvalid

SPEC_VERSION = "1.0"
HEADER_PREFIX = "ce-"
KEY_ATTRIBUTES = ("workflowcorrelationkey", "correlationkey")
# These attributes are not stored as attributes. The envelope contains them, or they describe how the data was sent.
_ELSEWHERE = frozenset({"specversion", "type", "data", "data_base64", "time", "dataschema", *KEY_ATTRIBUTES})
_NAMES = {
    "event_type": "type",
    "event_id": "id",
    "payload": "data",
    "occurred_at": "time",
    "payload_schema_ref": "dataschema",
    "workflow_correlation_key": KEY_ATTRIBUTES[0],
}
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]{1,100}")
_JSON_TYPE = re.compile(r"[^/;]+/(json|[^/;]+\+json)\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_MAX_PROBLEMS = 20

Problem = dict[str, str]


def read_cloud_event(value: Any) -> Envelope:
    """Convert one event of the JSON format to an envelope.

    Errors: InputInvalid EVENT_INVALID. Its problems use the names of the CloudEvents attributes.
    """
    if not isinstance(value, dict):
        raise event_invalid([{"path": "", "message": "a CloudEvent must be a JSON object"}])
    # The specification says that an attribute with the value null counts as missing.
    event = {name: item for name, item in value.items() if item is not None or name == "data"}
    problems = [*_core_problems(event), *_data_problems(event), *_name_problems(event)]
    plain = {
        "event_type": event.get("type"),
        "payload": event.get("data", {}),
        "occurred_at": event.get("time"),
        "payload_schema_ref": event.get("dataschema"),
        "workflow_correlation_key": next((event[name] for name in KEY_ATTRIBUTES if event.get(name, "") != ""), None),
    }
    if not problems:
        plain["event_id"] = event_id_of(event["source"], event["id"])
    attributes = {name: item for name, item in event.items() if name not in _ELSEWHERE and _is_name(name)}
    try:
        envelope = read_event_envelope(plain, attributes=attributes)
    except InputInvalid as error:
        reported = {problem["path"] for problem in problems}
        found = [_renamed(problem) for problem in error.details["problems"]]
        problems += [problem for problem in found if problem["path"] not in reported]
        raise event_invalid(problems[:_MAX_PROBLEMS]) from error
    if problems:
        raise event_invalid(problems[:_MAX_PROBLEMS])
    return envelope


def binary_cloud_event(headers: Mapping[str, str], data: Any) -> dict[str, Any]:
    """Convert an event with `ce-` headers to the JSON format. `data` is the parsed body.

    Errors: InputInvalid EVENT_INVALID for a header that is not percent-encoded UTF-8.
    """
    event: dict[str, Any] = {}
    problems = []
    for header, text in headers.items():
        if not header.lower().startswith(HEADER_PREFIX):
            continue
        name = header.lower().removeprefix(HEADER_PREFIX)
        try:
            event[name] = _header_text(text)
        except ValueError:
            problems.append({"path": name, "message": "must be percent-encoded UTF-8"})
        if name in ("data", "data_base64", "datacontenttype"):
            problems.append({"path": name, "message": "must not be sent as a header; the body is the data"})
    if problems:
        raise event_invalid(problems[:_MAX_PROBLEMS])
    return {**event, "data": data}


def is_binary_cloud_event(headers: Mapping[str, str]) -> bool:
    """Return True if at least one required attribute is a header. A later check reports missing required attributes."""
    return any(f"{HEADER_PREFIX}{name}" in headers for name in ("specversion", "id", "source", "type"))


def content_type_problem(content_type: str) -> str | None:
    """Return the reason why data of this content type cannot be a payload, or None.

    An empty content type counts as JSON.
    """
    if not content_type.strip() or _JSON_TYPE.fullmatch(content_type.strip()):
        return None
    return f"data of type {content_type[:100]!r} is not accepted; it must be application/json"


def event_id_of(source: str, identity: str) -> str:
    """Return `source#id` as the event id.

    If this text is too long or ambiguous, return its beginning and the SHA-256 of source and id.
    """
    plain = f"{source}#{identity}"
    if len(plain) <= MAX_ID_LENGTH and "#" not in source:
        return plain
    digest = hashlib.sha256(json.dumps([source, identity]).encode()).hexdigest()
    return f"{plain[: MAX_ID_LENGTH - len(digest) - 1]}~{digest}"


def _core_problems(event: dict[str, Any]) -> list[Problem]:
    problems = []
    for name in ("specversion", "id", "source"):
        text = event.get(name)
        if text is None:
            problems.append({"path": name, "message": "is missing"})
        elif not isinstance(text, str) or not text:
            problems.append({"path": name, "message": "must be text that is not empty"})
        elif name == "specversion" and text != SPEC_VERSION:
            problems.append({"path": name, "message": f"must be {SPEC_VERSION!r}, but is {text[:20]!r}"})
    return problems


def _data_problems(event: dict[str, Any]) -> list[Problem]:
    problems = []
    if "data_base64" in event:
        message = "binary data is not accepted; send a JSON object as data"
        problems.append({"path": "data_base64", "message": message})
    content_type = event.get("datacontenttype", "")
    problem = content_type_problem(content_type) if isinstance(content_type, str) else "must be text"
    if problem is not None:
        problems.append({"path": "datacontenttype", "message": problem})
    return problems


def _name_problems(event: dict[str, Any]) -> list[Problem]:
    return [
        {"path": name[:100], "message": "is not a valid attribute name; only lower-case letters and digits are allowed"}
        for name in event
        if name not in _ELSEWHERE and not _is_name(name)
    ]


def _is_name(name: str) -> bool:
    return _ATTRIBUTE_NAME.fullmatch(name) is not None


def _renamed(problem: Problem) -> Problem:
    """In a problem, replace the name of the envelope's field by the name of the CloudEvents attribute.

    The name at the start of a pointer is replaced too.
    """
    path = problem["path"]
    field, slash, rest = path.removeprefix("/").partition("/")
    name = _NAMES.get(field, field)
    return {"path": f"/{name}{slash}{rest}" if path.startswith("/") else name, "message": problem["message"]}


def _header_text(text: str) -> str:
    """Decode a header value as UTF-8. The web server has decoded it as Latin-1.

    Errors: ValueError if it is not UTF-8.
    """
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return unquote_to_bytes(text.encode("latin-1")).decode()
