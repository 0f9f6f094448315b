"""Validation of a definition before it is published.

Rule: find every problem at publishing, not when a run fails at night. Validation finds unknown keys, missing fields,
invalid targets and expressions, unknown actions, and features that this engine does not support. A problem has a stable
code, the path of the step or field, a message, and a suggestion.

Source: docs/reference/language.md#definition, docs/reference/administration.md#definition-life-cycle.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.action_fields import InputFields, unknown_fields
from workflows.engine.clock import is_in_seconds, parse_moment
from workflows.engine.cron import cron_problems
from workflows.engine.definition import BLOCK_FIELDS, ROOT, canonical_text
from workflows.engine.secret_places import Segments, secret_references
from workflows.engine.sizes import MAX_DEFINITION_BYTES
from workflows.engine.step_fields import ENVELOPE, STEP_FIELDS, Field, check_field
from workflows.engine.storable import MAX_DEFINITION_DEPTH, storable_problem
from workflows.engine.transforms import TRANSFORMS

KEY = re.compile(r"[a-z0-9][a-z0-9._-]*")
TRIGGER_FIELDS: dict[str, dict[str, Field]] = {
    "event": {
        "eventName": Field("text", required=True, max_length=200),
        "sourcePayloadSchemaRef": Field("text", max_length=200),
        "payloadMapping": Field("mapping"),
    },
    "schedule": {"runAt": Field("text", required=True)},
    "recurring": {"cron": Field("text", required=True), "timezone": Field("text", required=True)},
}
MAX_DEPTH = 20
# Codes of problems that do not prevent publishing. For example, a child definition may be published after its parent,
# and a bundle never contains secrets.
WARNINGS = frozenset(
    {
        "ACTION_FIELD_IGNORED",
        "CRON_DAY_AND_WEEKDAY",
        "KEY_DOLLAR",
        "NAME_HIDDEN",
        "RETRY_ON_CODE",
        "SECRET_UNKNOWN",
        "WORKFLOW_UNKNOWN",
        "WORKFLOW_VERSION_UNKNOWN",
    }
)


@dataclass(frozen=True)
class Problem:
    code: str
    path: str
    message: str
    suggestion: str | None = None

    @property
    def is_error(self) -> bool:
        return self.code not in WARNINGS

    def as_object(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass
class Known:
    """Names that the definitions of one tenant may refer to.

    `actions` has the known versions for each action id. `workflows` has the known versions for each key or id of a
    definition. If `secrets` is None, the names of secrets are not checked. `without_secrets` holds the actions that
    accept no secrets. `action_fields` holds the input fields of actions. If an action is not in it, its fields are not
    checked.
    """

    actions: Mapping[str, frozenset[int]]
    schema_refs: frozenset[str]
    workflows: Mapping[str, frozenset[int]] = field(default_factory=dict)
    secrets: frozenset[str] | None = None
    without_secrets: frozenset[tuple[str, int]] = frozenset()
    action_fields: Mapping[tuple[str, int], InputFields] = field(default_factory=dict)


@dataclass
class _Walk:
    known: Known
    own_key: Any = None
    own_version: Any = None
    seen_ids: dict[str, str] = field(default_factory=dict)


def validate(document: Any, known: Known) -> list[Problem]:
    """Return all problems in the document's order. The definition can be published if none of them is an error."""
    if not isinstance(document, dict):
        return [Problem("DEFINITION_INVALID", "", "a definition must be a JSON object")]
    unstorable = storable_problem(document, max_depth=MAX_DEFINITION_DEPTH)
    if unstorable is not None:
        return [Problem("VALUE_NOT_STORABLE", unstorable[0], unstorable[1])]
    size = len(canonical_text(document).encode())
    if size > MAX_DEFINITION_BYTES:
        message = (
            f"the definition has {size} bytes, but at most {MAX_DEFINITION_BYTES} bytes are allowed; "
            "move a part of it into a child workflow"
        )
        return [Problem("DEFINITION_TOO_LARGE", "", message)]
    return list(_envelope(document, known))


def _envelope(document: dict[str, Any], known: Known) -> Iterator[Problem]:
    yield from check_fields(document, ENVELOPE, "")
    if isinstance(document.get("id"), str) and not KEY.fullmatch(document["id"]):
        yield Problem("KEY_INVALID", "id", f"the id {document['id']!r} must match ^{KEY.pattern}$")
    ref = document.get("payloadSchemaRef")
    if isinstance(ref, str) and ref not in known.schema_refs:
        yield Problem(
            "SCHEMA_UNKNOWN",
            "payloadSchemaRef",
            f"the payload schema {ref!r} is not registered",
            _near(ref, known.schema_refs),
        )
    yield from _trigger(document.get("trigger"))
    walk = _Walk(known, document.get("id"), document.get("version"))
    if isinstance(document.get("steps"), list):
        yield from _block(document["steps"], ROOT, walk, depth=1)


def _trigger(trigger: Any) -> Iterator[Problem]:
    if trigger is None:
        return
    if not isinstance(trigger, dict) or str(trigger.get("type")) not in TRIGGER_FIELDS:
        yield Problem("TRIGGER_INVALID", "trigger", f"trigger.type must be one of {', '.join(TRIGGER_FIELDS)}")
        return
    fields = {"type": Field("text", required=True), **TRIGGER_FIELDS[trigger["type"]]}
    yield from check_fields(trigger, fields, "trigger")
    if trigger["type"] != "event":
        yield Problem(
            "TRIGGER_NOT_SUPPORTED",
            "trigger",
            f"this version does not run {trigger['type']} triggers; start the runs by an event, the API or the admin",
        )
    if trigger["type"] == "schedule" and (
        parse_moment(trigger.get("runAt")) is None or is_in_seconds(trigger.get("runAt"))
    ):
        yield Problem("TRIGGER_INVALID", "trigger.runAt", "runAt must be an ISO 8601 time with a zone")
    if isinstance(trigger.get("cron"), str) and isinstance(trigger.get("timezone"), str):
        for found in cron_problems(trigger["cron"], trigger["timezone"]):
            yield Problem(found.code, f"trigger.{found.place}", found.message, found.suggestion)


def _block(steps: Any, path: str, walk: _Walk, *, depth: int) -> Iterator[Problem]:
    if not isinstance(steps, list):
        yield Problem("FIELD_INVALID", path, "must be a list of steps")
        return
    if depth > MAX_DEPTH:
        message = f"the steps are nested deeper than {MAX_DEPTH} levels; move a part into a child workflow"
        yield Problem("NESTED_TOO_DEEP", path, message)
        return
    for index, step in enumerate(steps):
        yield from _step(step, f"{path}.steps[{index}]", walk, depth=depth)


def _step(step: Any, path: str, walk: _Walk, *, depth: int) -> Iterator[Problem]:
    if not isinstance(step, dict):
        yield Problem("FIELD_INVALID", path, "a step must be a JSON object")
        return
    yield from _identity(step, path, walk)
    step_type = step.get("type")
    if not isinstance(step_type, str) or step_type not in STEP_FIELDS:
        message = f"the step type {step_type!r} does not exist"
        yield Problem("STEP_TYPE_UNKNOWN", path, message, _near(str(step_type), STEP_FIELDS))
        return
    yield from check_fields(step, STEP_FIELDS[step_type], path)
    if step_type == "action.call" and isinstance(step.get("config"), dict):
        yield from _action(step["config"], path, walk.known)
        if step.get("onError") is not None and step["config"].get("onError") is not None:
            message = "onError is also beside config; keep one of the two"
            yield Problem("FIELD_INVALID", f"{path}.config.onError", message)
    if step_type == "control.callWorkflow":
        yield from _child(step, path, walk)
    if step_type == "time.wait" and isinstance(step.get("config"), dict):
        yield from _time_mode(step["config"], path)
    for name in BLOCK_FIELDS.get(step_type, ()):
        if step.get(name) is not None:
            yield from _block(step[name], f"{path}.{name}", walk, depth=depth + 1)


def _identity(step: dict[str, Any], path: str, walk: _Walk) -> Iterator[Problem]:
    step_id = step.get("id")
    if not isinstance(step_id, str) or not step_id:
        return  # reported as a missing field
    if step_id in walk.seen_ids:
        message = f"the id {step_id!r} is already the id of {walk.seen_ids[step_id]}; each step needs its own id"
        yield Problem("STEP_ID_TWICE", path, message)
    walk.seen_ids.setdefault(step_id, path)


def _action(config: dict[str, Any], path: str, known: Known) -> Iterator[Problem]:
    action_id, version = config.get("actionId"), config.get("version")
    if not isinstance(action_id, str):
        return
    versions = known.actions.get(action_id)
    if versions is None:
        message = f"the action {action_id!r} is not registered"
        yield Problem("ACTION_UNKNOWN", f"{path}.config.actionId", message, _near(action_id, known.actions))
    elif isinstance(version, int) and version not in versions:
        yield Problem(
            "ACTION_VERSION_UNKNOWN",
            f"{path}.config.version",
            f"{action_id} has no version {version}; it has {', '.join(map(str, sorted(versions)))}",
        )
    fields = known.action_fields.get((action_id, version)) if isinstance(version, int) else None
    if fields is not None:
        yield from _input_fields(config.get("inputMapping"), fields, f"{path}.config.inputMapping", action_id)
    for segments, name in secret_references(config.get("inputMapping")):
        action = (action_id, version if isinstance(version, int) else 0)
        yield from _secret(name, action, f"{path}.config.inputMapping{_dotted(segments)}", known)


def _input_fields(value: Any, fields: InputFields, path: str, action_id: str) -> Iterator[Problem]:
    if isinstance(value, list):
        return  # reported as an invalid field
    for where, name, known in unknown_fields(value, fields, path):
        code = "ACTION_FIELD_UNKNOWN" if known.are_refused else "ACTION_FIELD_IGNORED"
        does = "refuses" if known.are_refused else "ignores"
        message = (
            f"{action_id} does not know the field {name!r} and {does} it; it knows {', '.join(sorted(known.names))}"
        )
        yield Problem(code, where, message, _near(name, known.names))


def _secret(name: str, action: tuple[str, int], path: str, known: Known) -> Iterator[Problem]:
    if action in TRANSFORMS:
        message = f"{action[0]} accepts no secrets, because it runs in the workflow, which must not see their values"
        yield Problem("SECRET_NOT_ALLOWED", path, message)
    elif action in known.without_secrets:
        message = f"{action[0]} accepts no secrets, because it would store them unencrypted"
        yield Problem("SECRET_NOT_ALLOWED", path, message)
    elif known.secrets is not None and name not in known.secrets:
        message = f"the secret {name} does not exist yet; a run that reaches this step fails until it is saved"
        yield Problem("SECRET_UNKNOWN", path, message, _near(name, known.secrets))


def _dotted(segments: Segments) -> str:
    return "".join(f"[{segment}]" if isinstance(segment, int) else f".{segment}" for segment in segments)


def _child(step: dict[str, Any], path: str, walk: _Walk) -> Iterator[Problem]:
    workflow, version = step.get("workflowId"), step.get("workflowVersion")
    if not isinstance(workflow, str) or (workflow, version) == (walk.own_key, walk.own_version):
        return
    versions = walk.known.workflows.get(workflow)
    if versions is None:
        yield Problem(
            "WORKFLOW_UNKNOWN",
            f"{path}.workflowId",
            f"the workflow {workflow!r} is not published yet; a run that reaches this step fails until it is published",
            _near(workflow, walk.known.workflows),
        )
    elif isinstance(version, int) and version not in versions:
        yield Problem(
            "WORKFLOW_VERSION_UNKNOWN",
            f"{path}.workflowVersion",
            f"{workflow} has no published version {version}; it has {', '.join(map(str, sorted(versions)))}",
        )


def _time_mode(config: dict[str, Any], path: str) -> Iterator[Problem]:
    needed = {"duration": "durationMs", "until": "until"}.get(str(config.get("mode")))
    if needed is None:
        yield Problem("FIELD_INVALID", f"{path}.config.mode", "mode must be 'duration' or 'until'")
    elif needed not in config:
        yield Problem("FIELD_MISSING", f"{path}.config.{needed}", f"mode {config['mode']!r} needs {needed}")


def check_fields(value: Mapping[str, Any], fields: Mapping[str, Field], path: str) -> Iterator[Problem]:
    """Yield the problems of one object: missing fields, unknown fields and invalid values."""
    prefix = f"{path}." if path else ""
    for name, spec in fields.items():
        if spec.required and value.get(name) is None:
            yield Problem("FIELD_MISSING", f"{prefix}{name}", f"{name} is missing")
    for name, item in value.items():
        if name not in fields:
            yield Problem("KEY_UNKNOWN", f"{prefix}{name}", f"unknown key {name!r}", _near(name, fields))
        elif item is not None:
            for code, where, message, suggestion in check_field(fields[name], item):
                yield Problem(code, f"{prefix}{name}{where}", message, suggestion)
            if fields[name].fields and isinstance(item, dict):
                yield from check_fields(item, fields[name].fields or {}, f"{prefix}{name}")


def _near(word: str, known: Any) -> str | None:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else None
