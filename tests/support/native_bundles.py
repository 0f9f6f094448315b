"""Generated native bundles. A seed gives one bundle. The text of each bundle is canonical."""

import random
from typing import Any

from workflows.bundles.reading import FORMAT
from workflows.engine.definition import canonical_text
from workflows.strict_json import read_json

NUMBERS = ("1", "1.0", "1.10", "0.12345678901234567890", "1E+5", "-0.0", "12345678901234567890123", "1e-7", "0.1")
TEXTS = ("", "plain", 'quotes " and \\ ', "ümlaut 😀 \u2028", "line\nbreak", "<b>&amp;</b>")


def native_bundle(seed: int) -> str:
    """Return the canonical text of a native bundle with one to four workflows. Later workflows call earlier ones."""
    pick = random.Random(seed)
    workflows: list[dict[str, Any]] = []
    for place in range(pick.randint(1, 4)):
        workflows.append(_workflow(pick, f"flow-{seed}-{place}", workflows))
    pick.shuffle(workflows)
    bundle = {"format": FORMAT, "formatVersion": 1, "exportedAt": "2026-01-26T00:00:00.000Z", "workflows": workflows}
    return canonical_text(bundle)


def _workflow(pick: random.Random, key: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = sorted(pick.sample(range(1, 9), pick.randint(0, 3)))
    versions = [
        {
            "version": number,
            "definition": _definition(pick, key, number, children),
            "payloadSchemaJson": pick.choice([None, {"type": "object", "multipleOf": _number(pick)}, True]),
        }
        for number in numbers
    ]
    for version in versions:
        if pick.random() < 0.2:
            del version["payloadSchemaJson"]
    if versions and pick.random() < 0.4:
        draft = {"draftVersion": pick.randint(1, 40), "definition": versions[-1]["definition"]}
    else:
        draft_number = (numbers[-1] + 1) if numbers else 1
        draft = {"draftVersion": pick.randint(1, 40), "definition": _definition(pick, key, draft_number, children)}
    workflow = {
        "key": key,
        "metadata": _metadata(pick, key),
        "dependencies": pick.choice(
            [{}, {"nodeTypes": ["state.set", "event.wait"]}, {"schemaRefs": ["payload.Any.v1"]}]
        ),
        "draft": draft if not versions or pick.random() < 0.8 else None,
        "publishedVersions": versions,
        "scenarios": pick.choice([[], [{"name": "Example", "payload": {"amount": _number(pick)}, "expect": {}}]]),
    }
    for name in ("dependencies", "scenarios"):
        if pick.random() < 0.2:
            del workflow[name]
    return workflow


def _metadata(pick: random.Random, key: str) -> dict[str, Any]:
    metadata = {
        "name": pick.choice([key, *TEXTS]),
        "description": pick.choice([None, *TEXTS]),
        "payloadSchemaRef": pick.choice([None, "payload.Any.v1"]),
        "payloadSchemaMode": pick.choice(["pinned", "latest"]),
        "pinnedPayloadSchemaRef": pick.choice([None, "", "payload.Any.v1"]),
        "trigger": pick.choice([None, {"type": "event", "eventName": "OTHER"}]),
        "isSystem": pick.choice([True, False]),
        "isVisible": pick.choice([True, False, None]),
        "isPaused": pick.choice([True, False]),
        "concurrencyLimit": pick.choice([None, 1, 2_000_000_000]),
        "autoPauseOnFailure": pick.choice([True, False]),
        "failureRateThreshold": pick.choice([None, 1, _number(pick)]),
        "failureRateMinRuns": pick.choice([None, 5]),
        "retentionPolicyOverride": pick.choice([None, {"runs": {"days": _number(pick)}, "assign": {"z": 1, "a": 2}}]),
        "concurrency": pick.choice([None, {"key": {"$expr": "payload.id"}, "onConflict": "skip"}]),
        "searchPaths": pick.choice([None, [], [{"path": "customer.id", "type": "number"}]]),
    }
    return {name: value for name, value in metadata.items() if pick.random() < 0.9}


def _definition(pick: random.Random, key: str, number: int, children: list[dict[str, Any]]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {"id": "state", "type": "state.set", "config": {"state": pick.choice(["A", *TEXTS[1:]])}},
        {"id": "assign", "type": "transform.assign", "config": {"assign": {
            "vars.z": _number(pick), "vars.a": {"$expr": "payload.x"}, "vars.m": [{"zz": 1, "aa": None}],
        }}},
        {"id": "form", "type": "human.task", "config": {"taskType": "check", "title": "Check", "formSchema": {
            "type": "object", "properties": {"zeta": {"type": "string"}, "alpha": {"minimum": _number(pick)}},
        }}},
    ]  # fmt: skip
    for place, child in enumerate(children):
        if child["publishedVersions"] and pick.random() < 0.7:
            called = pick.choice(child["publishedVersions"])["version"]
            steps.append({
                "id": f"call-{place}", "type": "control.callWorkflow", "workflowId": child["key"],
                "workflowVersion": called, "outputMapping": {"vars.y": {"$expr": "childRun.vars.q"}, "vars.b": 1},
            })  # fmt: skip
    pick.shuffle(steps)
    trigger = pick.choice([{}, {"trigger": {"type": "event", "eventName": "MADE"}}])
    named = {"name": pick.choice([key, "Another name"]), "payloadSchemaRef": "payload.Any.v1"}
    return {"id": key, "version": number, **named, **trigger, "steps": steps}


def _number(pick: random.Random) -> Any:
    return read_json(pick.choice(NUMBERS))
