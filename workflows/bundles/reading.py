"""Bundles: documents that contain several definitions (docs/reference/language.md#bundles).

A bundle is read strictly. Each error names the place in the document.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from workflows.bundles.steps import duplicate_ids, rename_duplicates
from workflows.engine.storable import MAX_DEFINITION_DEPTH, storable_problem
from workflows.errors import InputInvalid
from workflows.models.definitions import KEY_PATTERN
from workflows.statuses import SchemaMode

FORMAT = "pointsman.workflow-bundle"
FORMAT_VERSION = 1
# For each metadata field of the bundle: the column of the definition, and the kind of value. If the kind is in
# NULLABLE, a null sets the column to null. Otherwise a null is ignored.
METADATA: dict[str, tuple[str, str]] = {
    "payloadSchemaMode": ("payload_schema_mode", "schema mode"),
    "isSystem": ("is_system", "flag"),
    "isVisible": ("is_visible", "flag"),
    "isPaused": ("is_paused", "flag"),
    "concurrencyLimit": ("concurrency_limit", "limit"),
    "autoPauseOnFailure": ("auto_pause_on_failure", "flag"),
    "failureRateThreshold": ("failure_rate_threshold", "number"),
    "failureRateMinRuns": ("failure_rate_min_runs", "limit"),
    "retentionPolicyOverride": ("retention_policy_override", "object"),
}
NULLABLE = frozenset({"limit", "number", "object"})
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "flag": (lambda value: isinstance(value, bool), "must be true or false"),
    "limit": (lambda value: is_whole(value) and 0 < value < 2**31, "must be a whole number above 0, or null"),
    "number": (lambda value: is_whole(value) or isinstance(value, float), "must be a number, or null"),
    "object": (lambda value: isinstance(value, dict), "must be a JSON object, or null"),
    "schema mode": (lambda value: value in list(SchemaMode), f"must be one of {', '.join(SchemaMode)}"),
    "name": (lambda value: isinstance(value, str) and len(value) <= 200, "must be text of at most 200 characters"),
    "text": (lambda value: isinstance(value, str), "must be text"),
}


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class BundleWorkflow:
    """Definition from a bundle, checked but not stored."""

    key: str
    definition: dict[str, Any]
    metadata: dict[str, Any]
    actions: list[tuple[str, int]]
    schema_refs: list[str]
    # Published versions by their number in the bundle, oldest first.
    versions: dict[int, dict[str, Any]]
    # Names, besides the key, by which other definitions of the bundle call this definition.
    foreign_ids: tuple[str, ...]
    renamed: list[dict[str, str]]


def read_bundle(document: Any) -> list[BundleWorkflow]:
    """Return the definitions of a bundle.

    The `format` may name another product if the document has the shape of a bundle.
    Errors: InputInvalid BUNDLE_INVALID with the place in the document; the sender must change the bundle.
    """
    bundle = _object(document, "")
    unstorable = storable_problem(document, max_depth=MAX_DEFINITION_DEPTH)
    if unstorable is not None:
        raise _invalid(*unstorable)
    if not isinstance(bundle.get("format"), str):
        raise _invalid("format", f"must be text, for example {FORMAT!r}")
    if bundle.get("formatVersion") != FORMAT_VERSION:
        raise _invalid("formatVersion", f"must be {FORMAT_VERSION}, but is {bundle.get('formatVersion')!r}")
    workflows = bundle.get("workflows")
    if not isinstance(workflows, list) or not workflows:
        raise _invalid("workflows", "must be a list with at least one workflow")
    is_native = bundle["format"] == FORMAT
    # The reader changes ids of steps, so it works on a copy.
    read = [
        _workflow(item, f"workflows[{index}]", is_native=is_native) for index, item in enumerate(deepcopy(workflows))
    ]
    keys = [workflow.key for workflow in read]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise _invalid("workflows", f"the key {sorted(twice)[0]!r} is used twice; each workflow needs its own key")
    return read


def _workflow(item: Any, where: str, *, is_native: bool) -> BundleWorkflow:
    workflow = _object(item, where)
    key = workflow.get("key")
    if not isinstance(key, str) or not re.fullmatch(KEY_PATTERN, key) or len(key) > 200:
        raise _invalid(f"{where}.key", f"must match {KEY_PATTERN}")
    metadata = _object(workflow.get("metadata") or {}, f"{where}.metadata")
    dependencies = _object(workflow.get("dependencies") or {}, f"{where}.dependencies")
    definition, versions = _definition(workflow, where), _versions(workflow, where)
    documents = [*versions.values(), definition]
    names = {str(document["id"]) for document in documents if document.get("id")} - {key}
    return BundleWorkflow(
        key=key,
        definition=definition,
        versions=versions,
        foreign_ids=tuple(sorted(names)),
        renamed=_step_ids(documents, where, is_native=is_native),
        metadata=_columns(metadata, key, f"{where}.metadata"),
        actions=_actions(dependencies, where),
        schema_refs=[str(ref) for ref in dependencies.get("schemaRefs") or []],
    )


def _definition(workflow: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the draft. If the bundle has no draft, return the newest published version."""
    draft = workflow.get("draft")
    if draft:
        return _object(_object(draft, f"{where}.draft").get("definition"), f"{where}.draft.definition")
    versions = _versions(workflow, where)
    if not versions:
        raise _invalid(where, "has neither a draft nor a published version; export the definition again")
    return versions[max(versions)]


def _versions(workflow: dict[str, Any], where: str) -> dict[int, dict[str, Any]]:
    versions = workflow.get("publishedVersions") or []
    if not isinstance(versions, list):
        raise _invalid(f"{where}.publishedVersions", "must be a list")
    found: dict[int, dict[str, Any]] = {}
    for index, item in enumerate(versions):
        place = f"{where}.publishedVersions[{index}]"
        version = _object(item, place)
        number = version.get("version")
        if not isinstance(number, int) or not is_whole(number) or not 0 < number < 2**31 or number in found:
            raise _invalid(f"{place}.version", "must be a whole number above 0 that no other version has")
        found[number] = _object(version.get("definition"), f"{place}.definition")
    return dict(sorted(found.items()))


def _step_ids(documents: list[dict[str, Any]], where: str, *, is_native: bool) -> list[dict[str, str]]:
    """Rename duplicate step ids of a foreign bundle. Refuse duplicate step ids in a native bundle.

    Errors: InputInvalid BUNDLE_INVALID.
    """
    if is_native:
        for path, step in (place for document in documents for place in duplicate_ids(document)):
            raise _invalid(f"{where} {path}", f"the step id {step['id']!r} is used twice; each step needs its own id")
    renamed = [entry for document in documents for entry in rename_duplicates(document)]
    return list({(entry["path"], entry["from"]): entry for entry in renamed}.values())


def _columns(metadata: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, (column, kind) in METADATA.items():
        value = metadata.get(name)
        if value is not None:
            columns[column] = _checked(value, kind, f"{where}.{name}")
        elif name in metadata and kind in NULLABLE:
            columns[column] = None
    texts = {"name": "name", "description": "text", "payloadSchemaRef": "name", "pinnedPayloadSchemaRef": "name"}
    found = {name: _checked(metadata.get(name) or "", kind, f"{where}.{name}") for name, kind in texts.items()}
    columns["name"] = found["name"] or key
    columns["description"] = found["description"]
    columns["payload_schema_ref"] = found["payloadSchemaRef"]
    columns["pinned_payload_schema_ref"] = found["pinnedPayloadSchemaRef"]
    return columns


def _checked(value: Any, kind: str, where: str) -> Any:
    is_valid, problem = KINDS[kind]
    if not is_valid(value):
        raise _invalid(where, problem)
    return value


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
