"""Bundles of definitions (LANGUAGE 5): read strictly, with the place of what is wrong."""

import re
from dataclasses import dataclass
from typing import Any

from workflows.engine.storable import MAX_DEFINITION_DEPTH, storable_problem
from workflows.errors import InputInvalid
from workflows.models.definitions import KEY_PATTERN

FORMAT = "pointsman.workflow-bundle"
FORMAT_VERSION = 1
# Field of the bundle's metadata -> field of the definition row.
METADATA = {
    "payloadSchemaMode": "payload_schema_mode",
    "isSystem": "is_system",
    "isVisible": "is_visible",
    "isPaused": "is_paused",
    "concurrencyLimit": "concurrency_limit",
    "autoPauseOnFailure": "auto_pause_on_failure",
    "failureRateThreshold": "failure_rate_threshold",
    "failureRateMinRuns": "failure_rate_min_runs",
    "retentionPolicyOverride": "retention_policy_override",
}
# What these rows cannot hold as null takes the row's default.
NOT_NULL = frozenset({"payload_schema_mode", "is_system", "is_visible", "is_paused", "auto_pause_on_failure"})


@dataclass(frozen=True)
class BundleWorkflow:
    key: str
    definition: dict[str, Any]
    metadata: dict[str, Any]
    actions: list[tuple[str, int]]
    schema_refs: list[str]


def read_bundle(document: Any) -> list[BundleWorkflow]:
    """The workflows of a bundle. A foreign `format` with this shape is accepted.

    Errors: InputInvalid BUNDLE_INVALID with the place.
    """
    bundle = _object(document, "")
    unstorable = storable_problem(document, max_depth=MAX_DEFINITION_DEPTH)
    if unstorable is not None:
        raise _invalid(*unstorable)
    if not isinstance(bundle.get("format"), str):
        raise _invalid("format", f"must be a text, as {FORMAT!r}")
    if bundle.get("formatVersion") != FORMAT_VERSION:
        raise _invalid("formatVersion", f"must be {FORMAT_VERSION}, but is {bundle.get('formatVersion')!r}")
    workflows = bundle.get("workflows")
    if not isinstance(workflows, list) or not workflows:
        raise _invalid("workflows", "must be a list with at least one workflow")
    read = [_workflow(item, f"workflows[{index}]") for index, item in enumerate(workflows)]
    keys = [workflow.key for workflow in read]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise _invalid("workflows", f"the key {sorted(twice)[0]!r} stands twice")
    return read


def _workflow(item: Any, where: str) -> BundleWorkflow:
    workflow = _object(item, where)
    key = workflow.get("key")
    if not isinstance(key, str) or not re.match(KEY_PATTERN, key):
        raise _invalid(f"{where}.key", f"must match {KEY_PATTERN}")
    metadata = _object(workflow.get("metadata") or {}, f"{where}.metadata")
    dependencies = _object(workflow.get("dependencies") or {}, f"{where}.dependencies")
    return BundleWorkflow(
        key=key,
        definition=_definition(workflow, where),
        metadata=_columns(metadata, key),
        actions=_actions(dependencies, where),
        schema_refs=[str(ref) for ref in dependencies.get("schemaRefs") or []],
    )


def _definition(workflow: dict[str, Any], where: str) -> dict[str, Any]:
    """The draft, or the newest published version when the bundle has no draft."""
    draft = workflow.get("draft")
    if draft:
        return _object(_object(draft, f"{where}.draft").get("definition"), f"{where}.draft.definition")
    versions = workflow.get("publishedVersions") or []
    if not versions:
        raise _invalid(where, "has neither a draft nor a published version")
    newest = max((_object(version, where) for version in versions), key=lambda version: version.get("version", 0))
    return _object(newest.get("definition"), f"{where}.publishedVersions.definition")


def _columns(metadata: dict[str, Any], key: str) -> dict[str, Any]:
    columns = {
        column: metadata[name]
        for name, column in METADATA.items()
        if name in metadata and not (metadata[name] is None and column in NOT_NULL)
    }
    columns["name"] = metadata.get("name") or key
    columns["description"] = metadata.get("description") or ""
    columns["payload_schema_ref"] = metadata.get("payloadSchemaRef") or ""
    columns["pinned_payload_schema_ref"] = metadata.get("pinnedPayloadSchemaRef") or ""
    return columns


def _actions(dependencies: dict[str, Any], where: str) -> list[tuple[str, int]]:
    try:
        return [(action["actionId"], int(action["version"])) for action in dependencies.get("actions") or []]
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid(f"{where}.dependencies.actions", "must be a list of {actionId, version}") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(where, "must be a JSON object")
    return value


def _invalid(where: str, problem: str) -> InputInvalid:
    return InputInvalid(f"{where or 'the bundle'}: {problem}", code="BUNDLE_INVALID", details={"path": where})
