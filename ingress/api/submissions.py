"""Request bodies of `POST /events`. A body has one or several events, in the portal's format or as CloudEvents."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from ingress.intake.cloudevents import binary_cloud_event, content_type_problem, is_binary_cloud_event, read_cloud_event
from ingress.intake.envelope import Envelope, event_invalid
from workflows.api.parsers import StrictJsonParser
from workflows.errors import InputInvalid, PortalError

STRUCTURED = "application/cloudevents+json"
STRUCTURED_BATCH = "application/cloudevents-batch+json"


class CloudEventParser(StrictJsonParser):
    media_type = STRUCTURED


class CloudEventBatchParser(StrictJsonParser):
    media_type = STRUCTURED_BATCH


class CloudEventDataParser(StrictJsonParser):
    """Parser for the body of a CloudEvent in binary mode. In this mode the content type describes the event's data."""

    media_type = "*/*"


class BodyTooLarge(PortalError):
    status = 413
    code = "PAYLOAD_TOO_LARGE"


@dataclass(frozen=True)
class Submission:
    """Values for `events_receive`. Each value is JSON, an envelope, or the error of an event that could not be read."""

    values: list[Any]
    is_batch: bool


def read_event_submission(request: Request) -> Submission:
    """Read the events of a request.

    Errors: InputInvalid EVENT_INVALID or EVENT_BATCH_TOO_LARGE; BodyTooLarge for a single event over its limit.
    """
    media_type = _media_type(request)
    if media_type == STRUCTURED_BATCH:
        return _batch(request.data, read=_cloud_event_or_error)
    if is_in_binary_mode(request):
        return _binary(request)
    if media_type == STRUCTURED:
        _check_size(request)
        return Submission([read_cloud_event(request.data)], is_batch=False)
    body = request.data
    if isinstance(body, dict) and "events" in body:
        if set(body) != {"events"} or not body["events"]:
            raise InputInvalid(
                'A batch must be {"events": [...]} with at least one event, and must have no other field.',
                code="EVENT_INVALID",
            )
        return _batch(body["events"])
    _check_size(request)
    return Submission([body], is_batch=False)


def is_in_binary_mode(request: Any) -> bool:
    """Return True if the CloudEvents attributes are HTTP headers.

    With a CloudEvents content type, they are in the body.
    """
    return is_binary_cloud_event(request.headers) and not _media_type(request).startswith("application/cloudevents")


def _binary(request: Request) -> Submission:
    problem = content_type_problem(request.content_type or "")
    if problem is not None:
        raise event_invalid([{"path": "datacontenttype", "message": problem}])
    _check_size(request)
    return Submission([read_cloud_event(binary_cloud_event(request.headers, request.data))], is_batch=False)


def _batch(events: Any, *, read: Any = None) -> Submission:
    if not isinstance(events, list):
        raise InputInvalid("A batch must be a list of events.", code="EVENT_INVALID")
    if len(events) > settings.EVENT_BATCH_MAX:
        raise InputInvalid(
            f"The batch has {len(events)} events, and {settings.EVENT_BATCH_MAX} are allowed. Send several batches.",
            code="EVENT_BATCH_TOO_LARGE",
        )
    return Submission([read(event) for event in events] if read else events, is_batch=True)


def _cloud_event_or_error(value: Any) -> Envelope | InputInvalid:
    try:
        return read_cloud_event(value)
    except InputInvalid as error:
        return error


def _check_size(request: Request) -> None:
    """Refuse a single event that is larger than REQUEST_MAX_BYTES.

    The middleware accepts the size of a batch at this URL.
    """
    length = int(request.headers.get("Content-Length") or 0)
    if length > settings.REQUEST_MAX_BYTES:
        raise BodyTooLarge(
            f"The body has {length} bytes. At most {settings.REQUEST_MAX_BYTES} are allowed for one event.",
            details={"bytes": length, "limit": settings.REQUEST_MAX_BYTES},
        )


def _media_type(request: Any) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()
