"""Bundles: documents that contain several definitions (docs/reference/language.md#bundles).

A bundle is read strictly. Each problem has the place in the document. Unknown keys are problems in a native bundle. In
a foreign bundle they are ignored, and a warning names them.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from workflows.bundles.metadata import FIELDS, is_whole, metadata_problems
from workflows.bundles.steps import duplicate_ids, rename_duplicates
from workflows.engine.storable import MAX_DEFINITION_DEPTH, storable_problem
from workflows.errors import InputInvalid
from workflows.models.definitions import KEY_PATTERN

FORMAT = "pointsman.workflow-bundle"
FORMAT_VERSION = 1
BUNDLE_KEYS = ("exportedAt", "format", "formatVersion", "workflows")
WORKFLOW_KEYS = ("dependencies", "draft", "key", "metadata", "publishedVersions", "scenarios")
DEPENDENCY_KEYS = ("actions", "nodeTypes", "schemaRefs")
DRAFT_KEYS = ("definition", "draftVersion")
VERSION_KEYS = ("definition", "payloadSchemaJson", "version")
# A workflow whose definition cannot be read has this definition. It is refused.
UNREADABLE: dict[str, Any] = {}

Problem = dict[str, Any]


@dataclass(frozen=True)
class BundleWorkflow:
    """Definition from a bundle, read but not stored."""

    key: str
    # The draft. If the bundle has no draft, this is the newest published version.
    definition: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    draft_version: int | None = None
    scenarios: list[Any] = field(default_factory=list)
    # Dependencies that the bundle declares, besides those of the definitions.
    actions: list[tuple[str, int]] = field(default_factory=list)
    schema_refs: list[str] = field(default_factory=list)
    # Published versions by their number in the bundle, oldest first, and the schemas that were pinned with them.
    versions: dict[int, dict[str, Any]] = field(default_factory=dict)
    schemas: dict[int, Any] = field(default_factory=dict)
    # Names, besides the key, by which other definitions of the bundle call this definition.
    foreign_ids: tuple[str, ...] = ()
    renamed: list[dict[str, str]] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    # A workflow with problems is refused.
    problems: list[Problem] = field(default_factory=list)
    # The workflow of a native bundle as it was written.
    written: dict[str, Any] | None = None


def read_bundle(document: Any) -> list[BundleWorkflow]:
    """Return the workflows of a bundle. A workflow that cannot be read has `problems`.

    The `format` may name another product if the document has the shape of a bundle.
    Errors: InputInvalid BUNDLE_INVALID if the document is not a bundle; the sender must change it.
    """
    if not isinstance(document, dict):
        raise bundle_invalid([bundle_problem("", "must be a JSON object")])
    unstorable = storable_problem(document, max_depth=MAX_DEFINITION_DEPTH + 6)
    if unstorable is not None:
        raise bundle_invalid([bundle_problem(*unstorable)])
    is_native = document.get("format") == FORMAT
    problems = [*_shape_problems(document, is_native=is_native)]
    if problems:
        raise bundle_invalid(problems)
    # The reader changes ids of steps, so it works on a copy.
    return [
        _Reader(item, f"workflows[{index}]", is_native=is_native).read()
        for index, item in enumerate(deepcopy(document["workflows"]))
    ]


def _shape_problems(document: Mapping[str, Any], *, is_native: bool) -> Iterable[Problem]:
    if not isinstance(document.get("format"), str):
        yield bundle_problem("format", f"must be text, for example {FORMAT!r}")
    if not is_whole(document.get("formatVersion")) or document["formatVersion"] != FORMAT_VERSION:
        yield bundle_problem(
            "formatVersion", f"must be {FORMAT_VERSION}, but is {document.get('formatVersion')!r:.100}"
        )
    if is_native:
        for name in sorted(document.keys() - set(BUNDLE_KEYS)):
            yield bundle_problem(name, "is not a key of a bundle; remove it")
    workflows = document.get("workflows")
    if not isinstance(workflows, list) or not workflows:
        yield bundle_problem("workflows", "must be a list with at least one workflow")
        return
    keys = [item.get("key") for item in workflows if isinstance(item, dict)]
    for key in sorted({key for key in keys if isinstance(key, str) and keys.count(key) > 1}):
        yield bundle_problem("workflows", f"the key {key[:200]!r} is used twice; each workflow needs its own key")


def bundle_problem(path: str, message: str) -> Problem:
    return {"code": "BUNDLE_INVALID", "path": path, "message": message}


def bundle_invalid(problems: list[Problem]) -> InputInvalid:
    """Return the error for a document that is not a valid bundle. The message has the first problem."""
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InputInvalid(
        f"{first['path'] or 'the bundle'}: {first['message']}{more}",
        code="BUNDLE_INVALID",
        details={"path": first["path"], "problems": problems},
    )


class _Reader:
    """Reader of one workflow. It collects all problems."""

    def __init__(self, item: Any, where: str, *, is_native: bool) -> None:
        self.where = where
        self.is_native = is_native
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.written = deepcopy(item) if is_native else None
        self.item = self._object(item, "", WORKFLOW_KEYS)

    def read(self) -> BundleWorkflow:
        key = self._key()
        metadata = self._metadata()
        dependencies = self._object(self.item.get("dependencies") or {}, "dependencies", DEPENDENCY_KEYS)
        versions, schemas = self._versions()
        draft_version, draft = self._draft()
        if draft is None and not versions and not self.problems:
            self._fault("", "has neither a draft nor a published version; export the definition again")
        documents = [*versions.values(), *([draft] if draft else [])]
        names = {str(document["id"]) for document in documents if document.get("id")} - {key}
        return BundleWorkflow(
            key=key,
            definition=draft or (versions[max(versions)] if versions else UNREADABLE),
            draft_version=draft_version,
            versions=versions,
            schemas=schemas,
            foreign_ids=tuple(sorted(names)),
            renamed=self._step_ids(documents),
            metadata=metadata,
            scenarios=self._list(self.item.get("scenarios"), "scenarios"),
            actions=self._actions(dependencies),
            schema_refs=[str(ref) for ref in self._list(dependencies.get("schemaRefs"), "dependencies.schemaRefs")],
            warnings=self.warnings,
            problems=self.problems,
            written=self.written if isinstance(self.written, dict) else None,
        )

    def _key(self) -> str:
        key = self.item.get("key")
        if isinstance(key, str) and re.fullmatch(KEY_PATTERN, key) and len(key) <= 200:
            return key
        self._fault("key", f"must match {KEY_PATTERN} and have at most 200 characters")
        return self.where

    def _metadata(self) -> dict[str, Any]:
        metadata = self._object(self.item.get("metadata") or {}, "metadata", FIELDS)
        for name, problem in metadata_problems(metadata):
            self._fault(f"metadata.{name}", problem)
        return {name: value for name, value in metadata.items() if name in FIELDS}

    def _draft(self) -> tuple[int | None, dict[str, Any] | None]:
        if not self.item.get("draft"):
            return None, None
        draft = self._object(self.item["draft"], "draft", DRAFT_KEYS)
        number = draft.get("draftVersion")
        if number is not None and not (is_whole(number) and 0 <= number < 2**31):
            self._fault("draft.draftVersion", "must be a whole number of at least 0")
            number = None
        return number, self._object(draft.get("definition"), "draft.definition") or None

    def _versions(self) -> tuple[dict[int, dict[str, Any]], dict[int, Any]]:
        found: dict[int, dict[str, Any]] = {}
        schemas: dict[int, Any] = {}
        for index, item in enumerate(self._list(self.item.get("publishedVersions"), "publishedVersions")):
            place = f"publishedVersions[{index}]"
            version = self._object(item, place, VERSION_KEYS)
            number = version.get("version")
            if not isinstance(number, int) or not is_whole(number) or not 0 < number < 2**31 or number in found:
                self._fault(f"{place}.version", "must be a whole number above 0 that no other version has")
                continue
            schema = version.get("payloadSchemaJson")
            if schema is not None and not isinstance(schema, dict | bool):
                self._fault(f"{place}.payloadSchemaJson", "must be a JSON Schema or null")
            found[number] = self._object(version.get("definition"), f"{place}.definition")
            schemas[number] = schema
        return dict(sorted(found.items())), schemas

    def _step_ids(self, documents: list[dict[str, Any]]) -> list[dict[str, str]]:
        """Rename duplicate step ids of a foreign bundle. Refuse duplicate step ids in a native bundle."""
        if self.is_native:
            for path, step in (place for document in documents for place in duplicate_ids(document)):
                message = f"the step id {step['id'][:200]!r} is used twice; each step needs its own id"
                self.problems.append(bundle_problem(path, message))
            return []
        renamed = [entry for document in documents for entry in rename_duplicates(document)]
        return list({(entry["path"], entry["from"]): entry for entry in renamed}.values())

    def _actions(self, dependencies: dict[str, Any]) -> list[tuple[str, int]]:
        found = []
        for item in self._list(dependencies.get("actions"), "dependencies.actions"):
            if isinstance(item, dict) and isinstance(item.get("actionId"), str) and is_whole(item.get("version")):
                found.append((item["actionId"], item["version"]))
            else:
                self._fault("dependencies.actions", "must be a list of {actionId, version}")
        return found

    def _object(self, value: Any, place: str, known: Iterable[str] | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fault(place, "must be a JSON object")
            return {}
        for name in sorted(value.keys() - set(known)) if known is not None else ():
            path = f"{place}.{name}" if place else name
            if self.is_native:
                self._fault(path, "is not a key of a bundle; remove it")
            else:
                where = f"{self.where}.{path}"
                self.warnings.append({"code": "BUNDLE_KEY_IGNORED", "path": where, "message": "is ignored"})
        return value

    def _list(self, value: Any, place: str) -> list[Any]:
        if value is not None and not isinstance(value, list):
            self._fault(place, "must be a list")
        return value if isinstance(value, list) else []

    def _fault(self, place: str, message: str) -> None:
        self.problems.append(bundle_problem(f"{self.where}.{place}" if place else self.where, message))
