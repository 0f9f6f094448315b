"""Check of a bundle before its import: dependencies, conflicts with drafts of the tenant, and invalid definitions.

Source: docs/reference/language.md#bundles
"""

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from typing import Any

from workflows.bundles.plan import Planned, Stored, parents_of, plain_text, plan_import
from workflows.bundles.reading import BundleWorkflow
from workflows.engine.definition import canonical_text
from workflows.engine.validate import validate
from workflows.engine.validation.known import Known
from workflows.models import Definition, DefinitionVersion, EventType
from workflows.services.bundle_missing import Names, missing_dependencies, missing_problem
from workflows.services.definitions.problems import known_names
from workflows.services.payload_check import ANY_SCHEMA, known_schema_refs
from workflows.statuses import SchemaMode

CHILD_VERSION = "BUNDLE_CHILD_VERSION"

Problem = dict[str, Any]


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import.

    - `publish`: also publish the drafts of the bundle.
    - `partial`: import the workflows without a problem, and leave out the others.
    - `force`: replace drafts of the tenant that have unpublished changes, and take definitions out of the archive.
    - `placeholders`: save the draft of a workflow whose actions or schemas are missing. It gets no version.
    """

    publish: bool = False
    partial: bool = False
    force: bool = False
    placeholders: bool = False


@dataclass(frozen=True)
class Refused:
    """Workflow that cannot be imported. `missing` lists its missing dependencies."""

    workflow: BundleWorkflow
    problems: list[Problem]
    missing: list[Problem]


@dataclass(frozen=True)
class CheckedBundle:
    """Result of the check. `missing` has the missing dependencies of each accepted workflow, by key."""

    plan: list[Planned]
    refused: list[Refused]
    missing: dict[str, list[Problem]]
    drafts_only: frozenset[str]


def bundle_check(workflows: Sequence[BundleWorkflow], *, tenant_id: uuid.UUID, options: ImportOptions) -> CheckedBundle:
    """Return the plan of the workflows without a problem, and the refused workflows with all their problems.

    If a child is refused, its parents are refused too. Otherwise a parent would call a definition of the tenant with
    the same name.
    """
    tenant = _Tenant(tenant_id, workflows)
    left = [tenant.inferred(workflow) for workflow in workflows if not workflow.problems]
    refused = [Refused(workflow, workflow.problems, []) for workflow in workflows if workflow.problems]
    left, orphans = _without_parents(left, refused)
    refused += orphans
    while True:
        plan, missing, drafts_only = _plan(left, tenant, options)
        bad = [Refused(item.workflow, item.problems, missing[item.workflow.key]) for item in plan if item.problems]
        if not bad:
            return CheckedBundle(plan, refused, missing, drafts_only)
        keys = {item.workflow.key for item in bad}
        left, orphans = _without_parents([workflow for workflow in left if workflow.key not in keys], bad)
        refused += [*bad, *orphans]


def _without_parents(
    workflows: Sequence[BundleWorkflow], refused: Sequence[Refused]
) -> tuple[list[BundleWorkflow], list[Refused]]:
    found = parents_of(workflows, [item.workflow for item in refused])
    keys = {parent.key for parent, _ in found}
    parents = [Refused(parent, [problem], []) for parent, problem in found]
    return [workflow for workflow in workflows if workflow.key not in keys], parents


def _plan(
    workflows: Sequence[BundleWorkflow], tenant: "_Tenant", options: ImportOptions
) -> tuple[list[Planned], dict[str, list[Problem]], frozenset[str]]:
    """Return the plan, the missing dependencies of each workflow, and the workflows that get no version."""
    plan = tenant.plan(workflows, publish=options.publish)
    known = _known_with(tenant.known, plan)
    names = Names(known, tenant.event_names, frozenset(item.key for item in workflows))
    missing = {item.workflow.key: missing_dependencies(item, names) for item in plan}
    drafts_only: frozenset[str] = frozenset()
    if options.placeholders:
        lacking = [item for item in workflows if any(entry["blocks"] for entry in missing[item.key])]
        complete = [item for item in workflows if item not in lacking]
        drafts_only = frozenset(
            item.key for item in [*lacking, *(parent for parent, _ in parents_of(complete, lacking))]
        )
        plan = tenant.plan(workflows, publish=options.publish, drafts_only=drafts_only)
        known = _known_with(tenant.known, plan)
    for item in plan:
        entries = missing[item.workflow.key]
        if not options.placeholders:
            item.problems += [missing_problem(entry) for entry in entries if entry["blocks"]]
        item.problems += tenant.conflicts(item, force=options.force)
        item.problems += _version_problems(item, known)
        item.warnings += [*item.workflow.warnings, *_warnings(item, known, item.workflow.key in drafts_only)]
    return plan, missing, drafts_only


class _Tenant:
    """Rows of the tenant that a check needs. They are read once."""

    def __init__(self, tenant_id: uuid.UUID, workflows: Sequence[BundleWorkflow]) -> None:
        self.tenant_id = tenant_id
        keys = [workflow.key for workflow in workflows]
        self.definitions = {
            row.key: row
            for row in Definition.objects.select_for_update(no_key=True, of=("self",))
            .filter(tenant_id=tenant_id, key__in=keys)
            .order_by("key")
        }
        valid = [workflow for workflow in workflows if not workflow.problems]
        documents = [document for one in valid for document in (one.definition, *one.versions.values())]
        self.known = known_names(tenant_id, documents)
        self.stored = _stored(tenant_id, keys)
        self.names = _tenant_names(tenant_id)
        self.schema_refs = known_schema_refs(tenant_id)
        self.event_schemas = dict(
            EventType.objects.filter(tenant_id=tenant_id, is_active=True).values_list("name", "payload_schema_ref")
        )
        self.event_names = frozenset(self.event_schemas)

    def plan(
        self, workflows: Sequence[BundleWorkflow], *, publish: bool, drafts_only: Collection[str] = ()
    ) -> list[Planned]:
        return plan_import(
            workflows, stored=self.stored, tenant_names=self.names, publish=publish, drafts_only=drafts_only
        )

    def inferred(self, workflow: BundleWorkflow) -> BundleWorkflow:
        """For the mode `inferred`, set the payload schema to the payload schema of the trigger event.

        There are two exceptions: the trigger has a payload mapping, which changes the shape of the payload; or the
        catalogue names no schema. In these cases the definition keeps its own schema. If its own schema is not
        registered, the definition accepts any object.
        """
        if workflow.metadata.get("payloadSchemaMode") != SchemaMode.INFERRED:
            return workflow
        documents = (workflow.definition, *workflow.versions.values())
        before = {str(document.get("payloadSchemaRef")) for document in documents}
        definition = self._inferred_document(workflow.definition)
        return replace(
            workflow,
            definition=definition,
            versions={number: self._inferred_document(document) for number, document in workflow.versions.items()},
            schema_refs=[ref for ref in workflow.schema_refs if ref not in before],
            metadata={**workflow.metadata, "payloadSchemaRef": definition["payloadSchemaRef"]},
        )

    def _inferred_document(self, document: dict[str, Any]) -> dict[str, Any]:
        found = document.get("trigger")
        trigger = found if isinstance(found, dict) else {}
        own = document.get("payloadSchemaRef")
        ref = "" if trigger.get("payloadMapping") else self.event_schemas.get(str(trigger.get("eventName")), "")
        return {**document, "payloadSchemaRef": ref or (own if own in self.schema_refs else ANY_SCHEMA)}

    def conflicts(self, planned: Planned, *, force: bool) -> Iterable[Problem]:
        """Yield why the definition of the tenant may not be replaced."""
        definition = self.definitions.get(planned.workflow.key)
        if definition is None or force:
            return
        if definition.archived_at is not None:
            message = "the definition is archived in this tenant; import with force to take it out of the archive"
            yield {"code": "BUNDLE_ARCHIVED", "path": "", "message": message}
        draft = definition.draft_text
        if not draft or draft == canonical_text(planned.draft):
            return
        if plain_text(json.loads(draft)) not in self.stored.get(definition.key, Stored()).versions.values():
            message = "the draft in this tenant has unpublished changes; publish it, or import with force to replace it"
            yield {"code": "BUNDLE_DRAFT_CONFLICT", "path": "draft", "message": message}


def _stored(tenant_id: uuid.UUID, keys: Sequence[str]) -> dict[str, Stored]:
    rows = DefinitionVersion.objects.filter(tenant_id=tenant_id, definition__key__in=keys, definition__deleted_at=None)
    rows = rows.select_related("definition")
    stored: dict[str, Stored] = {}
    for row in rows:
        kept = stored.get(row.definition.key, Stored())
        versions = {**kept.versions, row.version: plain_text(row.document())}
        current = row.version if row.definition.published_version_id == row.id else kept.current
        stored[row.definition.key] = Stored(versions, current)
    return stored


def _tenant_names(tenant_id: uuid.UUID) -> dict[str, str]:
    """Return the key of each definition of the tenant, by every name that a bundle can use for the definition.

    The names are the key, the id, and the id in the product that exported the definition.
    """
    names: dict[str, str] = {}
    rows = Definition.objects.filter(tenant_id=tenant_id, archived_at__isnull=True)
    for pk, key, foreign in rows.values_list("id", "key", "foreign_id"):
        if foreign:
            names.setdefault(foreign.lower(), key)
        names[str(pk)] = names[key] = key
    return names


def _known_with(known: Known, plan: Sequence[Planned]) -> Known:
    """Return the known names, with the versions that the import will create."""
    workflows: dict[str, frozenset[int]] = dict(known.workflows)
    for planned in plan:
        key = planned.workflow.key
        if planned.versions:
            workflows[key] = workflows.get(key, frozenset()) | frozenset(planned.versions)
    return replace(known, workflows=workflows, definition_of=bound(_definition_of, plan, known))


def _definition_of(plan: Sequence[Planned], known: Known, name: str, version: int) -> dict[str, Any] | None:
    """Return the document of a version that the import creates, or else of a stored version."""
    for planned in plan:
        if planned.workflow.key == name and version in planned.versions:
            return planned.versions[version]
    return known.definition_of(name, version)


# -- Invalid definitions -----------------------------------------------------------------------------------------------


def _version_problems(planned: Planned, known: Known) -> list[Problem]:
    """Return the errors of the versions that the import creates."""
    found = []
    for number, document in planned.versions.items():
        problems = validate({**document, "version": number}, known)
        found += [{**problem.as_object(), "version": number} for problem in problems if problem.is_error]
    return list({(item["code"], item["path"], item["message"]): item for item in reversed(found)}.values())[::-1]


def _warnings(planned: Planned, known: Known, is_draft_only: bool) -> Iterable[Problem]:
    """Yield what the author must know about a workflow that can be imported."""
    workflow = planned.workflow
    trigger = planned.draft.get("trigger")
    if "trigger" in workflow.metadata and workflow.metadata["trigger"] != trigger:
        message = "differs from the trigger of the definition; the trigger of the definition is used"
        yield {"code": "BUNDLE_TRIGGER_IGNORED", "path": "metadata.trigger", "message": message}
    if workflow.scenarios:
        yield _not_applied("scenarios")
    if is_draft_only:
        message = "only the draft is saved; replace the placeholders, then import the bundle again to get its versions"
        yield {"code": "BUNDLE_DRAFT_ONLY", "path": "publishedVersions", "message": message}
    if planned.draft not in planned.versions.values():
        for problem in validate(planned.draft, known):
            if problem.is_error:
                yield {**problem.as_object(), "message": f"the draft cannot be published yet: {problem.message}"}


def _not_applied(path: str) -> Problem:
    message = "is stored and exported; the portal does not apply it yet"
    return {"code": "BUNDLE_NOT_APPLIED", "path": path, "message": message}
