"""Action `http.request`: one HTTP call, with a guard against private addresses."""

from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field

from workflows.actions.http_client import HttpCall, body_of, http_send, status_failed
from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext


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
    """Send one HTTP request and return the response. The author's headers replace the default `Idempotency-Key`.

    Errors: ActionFailed. Its category is TransientError if a repetition can succeed.
    """
    headers = value.headers
    if "idempotency-key" not in (name.lower() for name in headers):
        headers = {"Idempotency-Key": context.idempotency_key, **headers}
    received = http_send(
        HttpCall(
            value.method,
            value.url,
            headers=headers,
            query=value.query,
            content={"json": value.body} if value.body is not None else {},
            timeout_seconds=value.timeout_seconds,
        )
    )
    status = received.status
    if value.fail_on_status and status >= 400:
        host = httpx.URL(value.url).host
        raise status_failed(host, received, is_transient=status in (408, 425, 429) or status >= 500)
    return HttpRequestOutput(status=status, headers=dict(received.headers), body=body_of(received))
