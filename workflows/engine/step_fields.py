"""Fields of the envelope and of each step type as data.

These tables are the one source of the shape of a definition. The validator checks with them
(`validation/field_checks.py`), and the JSON Schema of the language is made from them (`validation/language_schema.py`).

Source: docs/reference/language.md#definition, docs/reference/language.md#step-fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.engine.clock import MAX_MS

# Limit for names. A name of this length still fits into the columns of steps, waits and runs. Units: characters.
MAX_NAME_LENGTH = 200


@dataclass(frozen=True)
class Field:
    """Rules for one field.

    `kind` names the check in `field_checks`. If the value is an object with fixed keys, `fields` has the rules for
    these keys.
    """

    kind: str
    required: bool = False
    fields: Mapping[str, "Field"] | None = None
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None


_RETRY = Field(
    "object",
    fields={
        "maxAttempts": Field("whole", required=True, minimum=1, maximum=1_000),
        "backoffMs": Field("whole", minimum=0, maximum=MAX_MS),
        "backoffMultiplier": Field("number", minimum=1, maximum=100),
        "jitter": Field("flag"),
        "maxDelayMs": Field("whole", minimum=0, maximum=MAX_MS),
        "retryOn": Field("retry_on"),
    },
)
_ON_ERROR = Field("object", fields={"policy": Field("text", required=True, choices=("fail", "continue"))})
_TEXT = Field("text", required=True, max_length=MAX_NAME_LENGTH)
_EXPRESSION = Field("expression", required=True)
_COMMON = {"id": _TEXT, "type": _TEXT, "name": Field("prose", max_length=MAX_NAME_LENGTH), "presentation": Field("any")}


def _configured(**fields: Field) -> dict[str, Field]:
    """Return the fields of a step that has a `config` object, with `retry` and `onError` outside of `config`."""
    return {**_COMMON, "config": Field("object", required=True, fields=fields), "retry": _RETRY, "onError": _ON_ERROR}


ENVELOPE: dict[str, Field] = {
    "id": Field("key", required=True, max_length=MAX_NAME_LENGTH),
    "version": Field("whole", required=True, minimum=1),
    "name": _TEXT,
    "description": Field("prose"),
    "payloadSchemaRef": _TEXT,
    "trigger": Field("trigger"),
    "steps": Field("steps", required=True),
    "presentation": Field("any"),
}
TRIGGER_FIELDS: dict[str, dict[str, Field]] = {
    "event": {
        "type": _TEXT,
        "eventName": _TEXT,
        "sourcePayloadSchemaRef": Field("text", max_length=MAX_NAME_LENGTH),
        "payloadMapping": Field("mapping"),
    },
    "schedule": {"type": _TEXT, "runAt": Field("text", required=True)},
    "recurring": {"type": _TEXT, "cron": Field("text", required=True), "timezone": Field("text", required=True)},
}
STEP_FIELDS: dict[str, dict[str, Field]] = {
    "control.if": {**_COMMON, "condition": _EXPRESSION, "then": Field("steps", required=True), "else": Field("steps")},
    "control.forEach": {
        **_COMMON,
        "items": _EXPRESSION,
        "itemVar": Field("variable", required=True),
        "body": Field("steps", required=True),
        "onItemError": Field("text", choices=("fail", "continue", "skipItem")),
        "concurrency": Field("concurrency"),
    },
    "control.tryCatch": {
        **_COMMON,
        "try": Field("steps", required=True),
        "catch": Field("steps", required=True),
        "captureErrorAs": Field("target"),
    },
    "control.callWorkflow": {
        **_COMMON,
        "workflowId": _TEXT,
        "workflowVersion": Field("whole", required=True, minimum=1),
        "inputMapping": Field("mapping"),
        "outputMapping": Field("assign"),
        "retry": _RETRY,
        "onError": _ON_ERROR,
    },
    "control.return": _COMMON,
    "state.set": _configured(state=_TEXT),
    "transform.assign": _configured(assign=Field("assign", required=True)),
    "event.wait": _configured(
        eventName=_TEXT,
        correlationKey=_EXPRESSION,
        filters=Field("filters"),
        timeoutMs=Field("duration"),
        deadline=Field("moment"),
        assign=Field("assign"),
    ),
    "time.wait": _configured(
        mode=Field("text", required=True, choices=("duration", "until")),
        durationMs=Field("duration"),
        until=Field("moment"),
        assign=Field("assign"),
    ),
    "human.task": _configured(
        taskType=_TEXT,
        title=Field("expression_or_text", required=True),
        description=Field("expression_or_text"),
        contextData=Field("mapping"),
        formSchema=Field("form"),
        assignees=Field("object", fields={"users": Field("value"), "roles": Field("value")}),
        dueInMs=Field("duration"),
        deadline=Field("moment"),
        allowSystemCompletion=Field("flag"),
        completeOn=Field("object", fields={"eventName": _TEXT, "correlationKey": _EXPRESSION}),
        assign=Field("assign"),
    ),
    "action.call": _configured(
        actionId=_TEXT,
        version=Field("whole", required=True, minimum=1),
        inputMapping=Field("input"),
        saveAs=Field("target"),
        idempotencyKey=Field("expression"),
        onUnknownOutcome=Field("text", choices=("decide", "fail")),
        onError=_ON_ERROR,
        designerGroupKey=Field("any"),
        designerTileKind=Field("any"),
        designerAppKey=Field("any"),
    ),
}
# Fields that exclude each other, by step type. Each pair has the places of both fields in the step.
EXCLUSIVE: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "action.call": ((("onError",), ("config", "onError")),),
    "event.wait": ((("config", "timeoutMs"), ("config", "deadline")),),
    "human.task": ((("config", "dueInMs"), ("config", "deadline")),),
}
# Fields of `config` that a value of another field of `config` requires, by step type.
REQUIRED_BY: dict[str, tuple[str, dict[str, str]]] = {
    "time.wait": ("mode", {"duration": "durationMs", "until": "until"})
}
