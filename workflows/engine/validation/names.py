"""Check of the names that a definition refers to: schemas, actions, secrets and child workflows."""

from collections.abc import Iterator
from typing import Any

from workflows.engine.action_fields import InputFields, unknown_fields
from workflows.engine.date_transforms import literal_problems
from workflows.engine.secret_places import secret_references
from workflows.engine.transforms import TRANSFORMS
from workflows.engine.validation.known import Known
from workflows.engine.validation.problems import At, Finding, Near, Place, shown
from workflows.engine.validation.tree import StepNode, all_steps


def name_findings(document: dict[str, Any], steps: list[StepNode], known: Known, near: Near) -> Iterator[Finding]:
    """Yield a problem for each name that the tenant does not know."""
    yield from _schema("SCHEMA_UNKNOWN", document.get("payloadSchemaRef"), ("payloadSchemaRef",), known, near)
    trigger = document.get("trigger")
    source = trigger.get("sourcePayloadSchemaRef") if isinstance(trigger, dict) else None
    yield from _schema("SOURCE_SCHEMA_UNKNOWN", source, ("trigger", "sourcePayloadSchemaRef"), known, near)
    own = (document.get("id"), document.get("version"))
    for node in all_steps(steps):
        if node.type == "action.call":
            yield from _action(node, known, near)
        elif node.type == "control.callWorkflow":
            yield from _child(node, own, known, near)


def _schema(code: str, ref: Any, place: Place, known: Known, near: Near) -> Iterator[Finding]:
    if isinstance(ref, str) and ref.strip() and ref not in known.schema_refs:
        message = f"the payload schema {shown(ref)} is not registered; register it, or use payload.Any.v1"
        yield Finding(code, place, message, near.hint(ref, known.schema_refs))


def _action(node: StepNode, known: Known, near: Near) -> Iterator[Finding]:
    action_id, version = node.config.get("actionId"), node.config.get("version")
    if not isinstance(action_id, str) or not action_id.strip():
        return
    place = (*node.place, "config")
    versions = known.actions.get(action_id)
    if versions is None:
        message = f"the action {shown(action_id)} is not registered; register it, or use another action"
        yield Finding("ACTION_UNKNOWN", (*place, "actionId"), message, near.hint(action_id, known.actions))
    elif isinstance(version, int) and version not in versions:
        message = f"{action_id} has no version {version}; it has {', '.join(map(str, sorted(versions)))}"
        yield Finding("ACTION_VERSION_UNKNOWN", (*place, "version"), message, f"did you mean {max(versions)}?")
    mapping, where = node.config.get("inputMapping"), (*place, "inputMapping")
    action = (action_id, version if isinstance(version, int) else 0)
    fields = known.action_fields.get(action)
    if fields is not None and isinstance(mapping, dict):
        yield from _input_fields(mapping, fields, where, action_id, near)
    for name, message in literal_problems(action_id, mapping):
        yield Finding("INPUT_INVALID", (*where, name), message)
    for segments, name in secret_references(mapping):
        yield from _secret(name, action, (*where, *segments), known, near)


def _input_fields(value: Any, fields: InputFields, where: Place, action_id: str, near: Near) -> Iterator[Finding]:
    for place, name, known in unknown_fields(value, fields):
        code = "ACTION_FIELD_UNKNOWN" if known.are_refused else "ACTION_FIELD_IGNORED"
        does = "refuses" if known.are_refused else "ignores"
        knows = ", ".join(sorted(known.names))
        message = f"{action_id} does not know the field {shown(name)} and {does} it; it knows {knows}"
        yield Finding(code, (*where, *place), message, near.hint(name, known.names), at=At.KEY)


def _secret(name: str, action: tuple[str, int], place: Place, known: Known, near: Near) -> Iterator[Finding]:
    if action in TRANSFORMS:
        message = f"{action[0]} accepts no secrets, because it runs in the workflow, which must not see their values"
        yield Finding("SECRET_NOT_ALLOWED", place, message)
    elif action in known.without_secrets:
        message = f"{action[0]} accepts no secrets, because it would store them unencrypted"
        yield Finding("SECRET_NOT_ALLOWED", place, message)
    elif known.secrets is not None and name not in known.secrets:
        message = f"the secret {name} does not exist yet; a run that reaches this step fails until it is saved"
        yield Finding("SECRET_UNKNOWN", place, message, near.hint(name, known.secrets))


def _child(node: StepNode, own: tuple[Any, Any], known: Known, near: Near) -> Iterator[Finding]:
    workflow, version = node.step.get("workflowId"), node.step.get("workflowVersion")
    if not isinstance(workflow, str) or not workflow.strip() or (workflow, version) == own:
        return
    versions = known.workflows.get(workflow)
    if versions is None:
        message = f"the workflow {shown(workflow)} is not published yet; a run that reaches this step fails until then"
        hint = near.hint(workflow, known.workflows)
        yield Finding("WORKFLOW_UNKNOWN", (*node.place, "workflowId"), message, hint)
    elif isinstance(version, int) and version not in versions:
        message = (
            f"{workflow} has no published version {version}; it has {', '.join(map(str, sorted(versions)))}; "
            "a run that reaches this step fails until it is published"
        )
        hint = f"did you mean {max(versions)}?"
        yield Finding("WORKFLOW_VERSION_UNKNOWN", (*node.place, "workflowVersion"), message, hint)
