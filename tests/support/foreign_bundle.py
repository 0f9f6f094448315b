"""Generated bundle of another product: 20 definitions that use what the rules for foreign bundles are about.

- children by UUID, in another case than the child's own id, and with version numbers that the tenant cannot keep
- inferred payload schemas, with schema names that are registered nowhere
- step ids that are used twice
- keys of the other product at several places

Source: docs/reference/language.md#bundles
"""

import uuid
from dataclasses import dataclass
from typing import Any

COUNT = 20
KINDS = ("waiting", "calling", "looping", "catching", "child")


@dataclass(frozen=True)
class Expected:
    """Expected end of the run of a definition. `answers` is true if a second event must resume the run."""

    key: str
    event: str | None
    state: str
    answers: bool


def foreign_bundle() -> tuple[dict[str, Any], list[Expected]]:
    """Return the bundle, and what each definition does after its trigger event with the payload `{ref, items}`."""
    made = [_workflow(number) for number in range(COUNT)]
    bundle = {"format": "elsewhere.export", "formatVersion": 1, "exportedAt": "2025-05-05T05:05:05Z", "tool": "9.1"}
    return {**bundle, "workflows": [workflow for workflow, _ in made]}, [expected for _, expected in made]


def key_of(number: int) -> str:
    return f"made-{KINDS[number % 5]}-{number // 5}"


def foreign_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key_of(number)))


def _workflow(number: int) -> tuple[dict[str, Any], Expected]:
    kind, key = KINDS[number % 5], key_of(number)
    event = None if kind == "child" else f"MADE_{number}"
    old, new = (_definition(number, kind, event, label) for label in ("old", "new"))
    # The children have two versions, and their parents call the older one.
    versions = {3: old, 7: new} if kind == "child" else {number % 3 + 1: new}
    is_inferred = kind == "waiting"
    workflow = {
        "key": key,
        "metadata": {
            "name": f"Made elsewhere {number}", "payloadSchemaRef": new["payloadSchemaRef"], "ownerTeam": "elsewhere",
            "payloadSchemaMode": "inferred" if is_inferred else "pinned", "pinnedPayloadSchemaRef": None,
            "isSystem": None,
        },
        "dependencies": {"schemaRefs": [new["payloadSchemaRef"]], "actions": [], "nodeTypes": [], "connectors": []},
        "draft": {"draftVersion": 5, "definition": new} if number % 2 else None,
        "publishedVersions": [{"version": version, "definition": text} for version, text in versions.items()],
    }  # fmt: skip
    return workflow, Expected(key, event, f"{key} new", answers=is_inferred)


def _definition(number: int, kind: str, event: str | None, label: str) -> dict[str, Any]:
    steps = _STEPS[kind](number, label)
    return {
        "id": foreign_id(number).upper(), "version": 1, "name": f"Made elsewhere {number}",
        "payloadSchemaRef": f"elsewhere.{number}.v1" if kind == "waiting" else "payload.Any.v1",
        **({"trigger": {"type": "event", "eventName": event}} if event else {}),
        "steps": [*steps, _state(f"{key_of(number)} {label}")],
    }  # fmt: skip


def _state(state: str, step_id: str = "state") -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": state}}


def _assign(target: str, value: Any, step_id: str = "assign") -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": {target: value}}}


def _waiting(number: int, label: str) -> list[dict[str, Any]]:
    wait = {"eventName": "MADE_ANSWER", "correlationKey": {"$expr": "payload.ref"}, "timeoutMs": 600_000}
    return [_state("waits"), {"id": "state", "type": "event.wait", "config": wait}]


def _calling(number: int, label: str) -> list[dict[str, Any]]:
    call = {
        "id": "call", "type": "control.callWorkflow", "workflowId": foreign_id(number + 3), "workflowVersion": 3,
        "inputMapping": {"ref": {"$expr": "payload.ref"}},
        "outputMapping": {"vars.child": {"$expr": "childRun.vars.label"}},
    }  # fmt: skip
    return [call, _checked("vars.child = 'old'")]


def _looping(number: int, label: str) -> list[dict[str, Any]]:
    each = {
        "id": "each", "type": "control.forEach", "items": {"$expr": "payload.items"}, "itemVar": "entry",
        "body": [_assign("vars.sum", {"$expr": "coalesce(vars.sum, 0) + entry"}), _state("counts", "assign")],
    }  # fmt: skip
    store = {"actionId": "store.set", "version": 1, "saveAs": "stored", "inputMapping": {
        "key": {"$expr": "payload.ref"}, "value": {"$expr": "vars.sum"}}}  # fmt: skip
    return [each, {"id": "assign", "type": "action.call", "config": store}, _checked("vars.sum = 6")]


def _catching(number: int, label: str) -> list[dict[str, Any]]:
    wait = {"eventName": "MADE_NEVER", "correlationKey": {"$expr": "payload.ref"}, "timeoutMs": 20}
    return [
        {"id": "state", "type": "control.tryCatch", "captureErrorAs": "problem",
         "try": [{"id": "wait", "type": "event.wait", "config": wait}, _state("never")],
         "catch": [_assign("vars.caught", {"$expr": "problem.category"}, "wait")]},
        _checked("vars.caught = 'TimeoutError'"),
    ]  # fmt: skip


def _child(number: int, label: str) -> list[dict[str, Any]]:
    return [_assign("vars.label", label)]


def _checked(condition: str) -> dict[str, Any]:
    """Return a step that ends the run with its state before the last step if the condition is false."""
    return {"id": "check", "type": "control.if", "condition": {"$expr": condition}, "then": [],
            "else": [_state("wrong"), {"id": "end", "type": "control.return"}]}  # fmt: skip


_STEPS = {"waiting": _waiting, "calling": _calling, "looping": _looping, "catching": _catching, "child": _child}
