"""Conversion of the fields of a stream entry to an event in the format of the REST entry point. Pure.

All fields of an entry are text. An empty optional field therefore counts as not sent.

Source: docs/reference/events.md#entry-points
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils.dateparse import parse_datetime

from workflows.errors import InputInvalid, NotFound
from workflows.strict_json import JsonRefused, read_json

REQUIRED = ("event_type", "tenant", "payload_json")
OPTIONAL = ("event_id", "workflow_correlation_key", "payload_schema_ref", "timestamp")
FIELDS = (*REQUIRED, *OPTIONAL)

Fields = Sequence[tuple[bytes, bytes]]
Problems = list[dict[str, str]]

_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,63}")
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
# A sender probably meant a smaller number as seconds. As seconds, this number is a time in the year 5138.
_FEWEST_MILLISECONDS = 100_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class StreamEvent:
    """Event of one entry. `value` is JSON in the format of `events_receive`."""

    tenant: str
    value: dict[str, Any]


def event_of_entry(*, stream: str, entry_id: str, fields: Fields) -> StreamEvent:
    """Convert the fields of an entry to an event.

    Idempotency: if an entry has no event id, the id is derived from its place in the stream. It is the same at every
    delivery.
    Errors: InputInvalid EVENT_INVALID with all `problems`; NotFound TENANT_NOT_FOUND if the text cannot be a tenant's
    slug. The sender must act.
    """
    problems: Problems = []
    texts = _texts(fields, problems)
    payload = _payload(texts["payload_json"], problems) if "payload_json" in texts else None
    occurred_at = _occurred_at(texts["timestamp"], problems) if texts.get("timestamp") else None
    if problems:
        raise _invalid(problems)
    if not _SLUG.fullmatch(texts["tenant"]):
        raise tenant_not_found(texts["tenant"])
    value = {
        "event_type": texts["event_type"],
        "payload": payload,
        "event_id": texts.get("event_id") or f"stream:{stream}:{entry_id}",
    }
    for name in ("workflow_correlation_key", "payload_schema_ref"):
        if texts.get(name):
            value[name] = texts[name]
    if occurred_at:
        value["occurred_at"] = occurred_at
    return StreamEvent(texts["tenant"], value)


def tenant_not_found(slug: str) -> NotFound:
    return NotFound(
        f"There is no tenant {slug[:63]!r}. The field `tenant` must contain the slug of a tenant.",
        code="TENANT_NOT_FOUND",
    )


def _texts(fields: Fields, problems: Problems) -> dict[str, str]:
    """Return the decoded fields. Leave out the fields that have a problem."""
    texts: dict[str, str] = {}
    seen: set[str] = set()
    for raw_name, raw_text in fields:
        name = raw_name.decode(errors="backslashreplace")
        if name not in FIELDS:
            problems.append(
                {"path": name[:100], "message": f"is not a known field; known fields are {', '.join(FIELDS)}"}
            )
        elif name in seen:
            problems.append({"path": name, "message": "occurs twice"})
        else:
            seen.add(name)
            try:
                texts[name] = raw_text.decode()
            except UnicodeDecodeError as error:
                problems.append({"path": name, "message": f"is not UTF-8: {error.reason} at byte {error.start}"})
    problems += [{"path": name, "message": "is missing"} for name in REQUIRED if name not in seen]
    return texts


def _payload(text: str, problems: Problems) -> Any:
    # The size is checked before parsing. Otherwise one entry could exhaust the memory of this process at every
    # delivery.
    if len(text) > settings.REQUEST_MAX_BYTES:
        problems.append({"path": "payload_json", "message": f"has more than {settings.REQUEST_MAX_BYTES} bytes"})
        return None
    try:
        return read_json(text)
    except RecursionError:
        problems.append({"path": "payload_json", "message": "is nested too deeply"})
    except JsonRefused as error:
        problems.append({"path": f"payload_json{error.pointer}", "message": error.problem})
    except ValueError as error:
        problems.append({"path": "payload_json", "message": f"is not JSON: {error}"})
    return None


def _occurred_at(text: str, problems: Problems) -> str | None:
    if _MILLISECONDS.fullmatch(text):
        if int(text) < _FEWEST_MILLISECONDS:
            message = "a number must be milliseconds since 1970, but this one looks like seconds"
            problems.append({"path": "timestamp", "message": message})
            return None
        try:
            return (_EPOCH + timedelta(milliseconds=int(text))).isoformat()
        except OverflowError:
            text = ""  # the check below reports it
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = "must be an ISO 8601 time with a zone, or milliseconds since 1970"
        problems.append({"path": "timestamp", "message": message})
    return text


def _invalid(problems: Problems) -> InputInvalid:
    listed = "; ".join(f"{problem['path']} {problem['message']}" for problem in problems[:10])
    return InputInvalid(
        f"The stream entry is not an event: {listed}", code="EVENT_INVALID", details={"problems": problems[:50]}
    )
