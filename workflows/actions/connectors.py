"""Actions of HTTP connectors: one bounded HTTP call that is built from the templates of the connector.

Source: docs/reference/engine.md#http-connectors
"""

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from workflows.actions.connector_spec import ConnectorSpec, Status
from workflows.actions.connector_templates import INPUT, RESPONSE, Source, fill, fill_text
from workflows.actions.http_client import HttpCall, ResponseLost, body_of, http_send, status_failed
from workflows.actions.http_exchange import Received
from workflows.actions.registry import Action, ActionContext, ActionFailed, ActionOutcomeUnknown
from workflows.actions.schema_model import SchemaModel, schema_model
from workflows.actions.scrubbing import scrub
from workflows.engine.errors import Category
from workflows.engine.filters import MISSING, first_mismatch
from workflows.json_numbers import write_json
from workflows.models import Connector

# The activity ends later than the call, so that the error of the call is reported.
EXTRA_SECONDS = 10


def connector_action(row: Connector) -> Action:
    """Return the action that a connector declares."""
    spec = ConnectorSpec.model_validate(row.spec)
    output_model = schema_model("ConnectorOutput", spec.output_schema)

    def run(value: Any, context: ActionContext) -> BaseModel:
        return connector_call(spec, value.root, context, output_model)

    return Action(
        id=row.action_id,
        version=row.version,
        label=spec.label,
        category=spec.category,
        description=spec.description,
        input_model=schema_model("ConnectorInput", spec.input_schema),
        output_model=output_model,
        run=run,
        has_side_effects=has_side_effects(spec),
        is_idempotent=spec.is_idempotent,
        secret_names=spec.secret_names(),
        timeout_seconds=spec.timeout_seconds + EXTRA_SECONDS,
        response_seconds=spec.timeout_seconds,
        retry_hint={
            "maxAttempts": spec.retry.max_attempts,
            "backoffMs": spec.retry.backoff_ms,
            "retryOn": [str(Category.TRANSIENT), str(Category.TIMEOUT)],
        },
        examples=tuple(spec.examples),
    )


def has_side_effects(spec: ConnectorSpec) -> bool:
    return spec.method not in ("GET", "HEAD")


def connector_call(
    spec: ConnectorSpec, value: Any, context: ActionContext, output_model: type[SchemaModel]
) -> SchemaModel:
    """Send the request of a connector and return its output.

    Errors: ActionFailed; ActionOutcomeUnknown if there is no response and a repetition could double the effect.
    """
    call = connector_request(spec, value, secrets=context.secrets, idempotency_key=context.idempotency_key)
    try:
        received = http_send(call)
    except ResponseLost as error:
        if spec.is_idempotent or not has_side_effects(spec):
            raise
        raise ActionOutcomeUnknown(f"{error.message} Whether the request had its effect is unknown.") from error
    body = body_of(received)
    response = {"status": received.status, "headers": dict(received.headers), "body": body}
    _require_success(spec, call, received, response)
    output = fill(spec.output, Source(RESPONSE, response))
    return _checked(None if output is MISSING else output, output_model)


def connector_request(spec: ConnectorSpec, value: Any, *, secrets: Mapping[str, str], idempotency_key: str) -> HttpCall:
    """Return the request that a connector sends for an input. Errors: ActionFailed CONNECTOR_INPUT_UNUSABLE."""
    source = Source(INPUT, value, secrets)
    headers = {name: _as_text(item) for name, item in fill(spec.headers, source).items()}
    if spec.idempotency_header:
        headers = {spec.idempotency_header: idempotency_key, **headers}
    query = {name: _as_text(item) for name, item in fill(spec.query, source).items() if item is not None}
    body = None if spec.body is None else fill(spec.body, source)
    content: dict[str, Any] = {}
    if body is not None and body is not MISSING:
        content = (
            {"json": body}
            if spec.body_format == "json"
            else {"data": {name: _as_text(item) for name, item in body.items() if item is not None}}
        )
    return HttpCall(
        spec.method,
        fill_text(spec.url, source, is_url=True),
        headers=headers,
        query=query,
        content=content,
        timeout_seconds=spec.timeout_seconds,
    )


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else write_json(value, ensure_ascii=False)


def _require_success(spec: ConnectorSpec, call: HttpCall, received: Received, response: dict[str, Any]) -> None:
    host = httpx.URL(call.url).host
    is_transient = _is_listed(received.status, spec.retry.statuses)
    failed = status_failed(host, received, is_transient=is_transient)
    if not _is_listed(received.status, spec.success.statuses):
        raise failed
    mismatch = first_mismatch(spec.success.filters, response)
    if mismatch is not None:
        raise ActionFailed(
            f"{host} responded with status {received.status}, but the response is no success: the filter"
            f" {mismatch['path']} {mismatch['op']} of the connector does not match.",
            category=Category(failed.category),
            code="CONNECTOR_NOT_SUCCESSFUL",
            details=failed.details,
        )


def _is_listed(status: int, statuses: list[Status]) -> bool:
    return status in statuses or f"{status // 100}xx" in statuses


def _checked(output: Any, output_model: type[SchemaModel]) -> SchemaModel:
    try:
        return output_model.model_validate(output)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ActionFailed(
            f"The output does not match the output schema of the connector: /{'/'.join(map(str, first['loc']))}"
            f" {first['msg']}.",
            category=Category.VALIDATION,
            code="CONNECTOR_OUTPUT_INVALID",
        ) from error


def without_secrets(call: HttpCall) -> dict[str, Any]:
    """Return the request as JSON for a person. Call it inside the block `scrubbing` of the secrets."""
    return {
        "method": call.method,
        "url": scrub(call.url),
        "query": scrub(call.query),
        "headers": scrub(call.headers),
        "body": scrub(call.content.get("json", call.content.get("data"))),
    }
