"""Import of bundles (docs/reference/language.md#bundles)."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial as bound
from typing import Any

from django.db import transaction

from workflows.actions.registry import known_actions
from workflows.actors import Actor
from workflows.bundles.plan import Planned, Stored, parents_of, plain_text, plan_import
from workflows.bundles.reading import BundleWorkflow, read_bundle
from workflows.concurrency import held_starts_wake
from workflows.engine.definition import canonical_text
from workflows.engine.validate import Known, validate
from workflows.errors import InputInvalid
from workflows.ledger import command_transaction
from workflows.models import Definition, DefinitionVersion, EventType
from workflows.services.definitions.problems import known_names
from workflows.services.definitions.publish import version_create
from workflows.services.payload_check import ANY_SCHEMA, known_schema_refs
from workflows.services.schedules.follow import schedules_follow_on_commit
from workflows.statuses import CommandAction, Role, SchemaMode


@dataclass
class Imported:
    """Result for one definition of a bundle.

    - `unchanged`: the stored draft and version were already equal to the imported definition.
    - `renamed`: steps that got a new id because their id was used twice, `{path, from, to}`.
    - `references`: calls of children that were translated, `{path, workflow, version, key, number}`.
    - `unresolved`: calls of workflows that neither the bundle nor the tenant has.
    - `problems`: the reasons why a partial import left the definition out. Nothing of this definition was stored.
    """

    key: str
    draft_saved: bool
    versions: list[int] = field(default_factory=list)
    unchanged: bool = False
    renamed: list[dict[str, str]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    unresolved: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)


def bundle_import(*, actor: Actor, document: Any, publish: bool, partial: bool = False) -> list[Imported]:
    """Save the drafts of a bundle in one transaction. With `publish`, also create and publish its versions.

    If one definition is refused, the whole bundle is refused. With `partial`, the definitions without a problem are
    imported.

    Idempotency: a definition that equals the stored one is not changed.
    Errors: PermissionRefused; InputInvalid BUNDLE_INVALID; InputInvalid BUNDLE_DEPENDENCIES_MISSING,
    BUNDLE_CHILD_VERSION or DEFINITION_INVALID, with all problems of all definitions.
    """
    with command_transaction(
        actor=actor,
        action=CommandAction.IMPORT,
        target_type="bundle",
        target_id=_bundle_name(document),
        payload={"publish": publish, "partial": partial},
    ) as command:
        actor.require(Role.AUTHOR, to="import definitions")
        tenant_id = actor.tenant_id
        workflows = [_inferred(workflow, tenant_id) for workflow in read_bundle(document)]
        plan, refused = _checked_plan(workflows, tenant_id, publish=publish, partial=partial)
        done = [_store(actor, planned, publish=publish) for planned in plan]
        order = [workflow.key for workflow in workflows]
        imported = sorted([*done, *refused], key=lambda item: order.index(item.key))
        command.details = {"imported": [vars(item) for item in imported]}
        return imported


def _bundle_name(document: Any) -> str:
    """Return the keys of a bundle as text that the ledger can store. The bundle is not checked yet."""
    workflows = document.get("workflows") if isinstance(document, dict) else None
    keys = [str(item.get("key")) for item in workflows if isinstance(item, dict)] if isinstance(workflows, list) else []
    return ascii(", ".join(keys))[1:-1][:200]


def _inferred(workflow: BundleWorkflow, tenant_id: uuid.UUID) -> BundleWorkflow:
    """For the mode `inferred`, set the payload schema of the definition to the payload schema of its trigger event.

    There are two exceptions: the trigger has a payload mapping, which changes the shape of the payload; or the
    catalogue names no schema. In these cases the definition keeps its own schema. If its own schema is not registered,
    the definition accepts any object.
    """
    if workflow.metadata.get("payload_schema_mode") != SchemaMode.INFERRED:
        return workflow
    refs = known_schema_refs(tenant_id)
    before = {str(document.get("payloadSchemaRef")) for document in (workflow.definition, *workflow.versions.values())}

    def inferred(document: dict[str, Any]) -> dict[str, Any]:
        found = document.get("trigger")
        trigger = found if isinstance(found, dict) else {}
        entry = EventType.objects.filter(tenant_id=tenant_id, name=trigger.get("eventName"), is_active=True).first()
        own = document.get("payloadSchemaRef")
        ref = entry.payload_schema_ref if entry and not trigger.get("payloadMapping") else ""
        return {**document, "payloadSchemaRef": ref or (own if own in refs else ANY_SCHEMA)}

    versions = {number: inferred(document) for number, document in workflow.versions.items()}
    definition = inferred(workflow.definition)
    needed = [ref for ref in workflow.schema_refs if ref not in before]
    metadata = {**workflow.metadata, "payload_schema_ref": definition["payloadSchemaRef"]}
    return replace(workflow, definition=definition, versions=versions, schema_refs=needed, metadata=metadata)


# -- Check -------------------------------------------------------------------------------------------------------------


def _checked_plan(
    workflows: Sequence[BundleWorkflow], tenant_id: uuid.UUID, *, publish: bool, partial: bool
) -> tuple[list[Planned], list[Imported]]:
    """Return the plan of the definitions without a problem, and the refused definitions.

    Errors: InputInvalid if the import is not partial and a definition is refused, or if all definitions are refused.
    """
    refused: list[Imported] = []
    while True:
        plan = _plan(workflows, tenant_id, publish=publish)
        bad = [planned for planned in plan if planned.problems]
        if not bad:
            return plan, refused
        if not partial or len(bad) == len(workflows):
            raise _refusal(bad, publish=publish)
        refused += [Imported(item.workflow.key, draft_saved=False, problems=item.problems) for item in bad]
        left = {item.workflow.key for item in bad}
        workflows = [workflow for workflow in workflows if workflow.key not in left]
        # If a child is refused, its parents are refused too. Otherwise a parent would call a definition of the tenant
        # with the same name.
        orphans = parents_of(workflows, [item.workflow for item in bad])
        refused += [Imported(parent.key, draft_saved=False, problems=[problem]) for parent, problem in orphans]
        workflows = [workflow for workflow in workflows if workflow.key not in {item.key for item in refused}]


def _plan(workflows: Sequence[BundleWorkflow], tenant_id: uuid.UUID, *, publish: bool) -> list[Planned]:
    keys = [workflow.key for workflow in workflows]
    plan = plan_import(
        workflows, stored=_stored(tenant_id, keys), tenant_names=_tenant_names(tenant_id), publish=publish
    )
    known = known_names(tenant_id)
    for planned in plan:
        numbers = known.workflows.get(planned.workflow.key, frozenset()) | frozenset(planned.versions)
        known = replace(known, workflows={**known.workflows, planned.workflow.key: numbers})
    known = replace(known, definition_of=bound(_definition_of, plan, known))
    for planned in plan:
        planned.problems += _missing_dependencies(planned.workflow, known)
        if publish:
            planned.problems += _definition_problems(planned, known)
    return plan


def _definition_of(plan: Sequence[Planned], known: Known, name: str, version: int) -> dict[str, Any] | None:
    """Return the document of a version that the import creates, or else of a stored version."""
    for planned in plan:
        if planned.workflow.key == name and version in planned.versions:
            return planned.versions[version]
    return known.definition_of(name, version)


def _stored(tenant_id: uuid.UUID, keys: Sequence[str]) -> dict[str, Stored]:
    rows = DefinitionVersion.objects.filter(tenant_id=tenant_id, definition__key__in=keys, definition__deleted_at=None)
    rows = rows.select_related("definition")
    stored: dict[str, Stored] = {}
    for row in rows:
        kept = stored.get(row.definition.key, Stored())
        versions = {**kept.versions, row.version: plain_text(json.loads(row.canonical_text))}
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


def _missing_dependencies(workflow: BundleWorkflow, known: Known) -> list[dict[str, Any]]:
    actions = known_actions()
    needed = [("action", f"{name}@{version}", version in actions.get(name, ())) for name, version in workflow.actions]
    needed += [("schema", ref, ref in known.schema_refs) for ref in workflow.schema_refs]
    return [
        {"code": "BUNDLE_DEPENDENCIES_MISSING", "path": "dependencies", "kind": kind, "name": name,
         "message": f"the {kind} {name} is not registered here"}
        for kind, name, is_known in needed
        if not is_known
    ]  # fmt: skip


def _definition_problems(planned: Planned, known: Known) -> list[dict[str, Any]]:
    found = []
    for number, document in planned.versions.items():
        problems = validate({**document, "version": number}, known)
        found += [{**problem.as_object(), "version": number} for problem in problems if problem.is_error]
    return list({(item["code"], item["path"], item["message"]): item for item in reversed(found)}.values())[::-1]


def _refusal(bad: Sequence[Planned], *, publish: bool) -> InputInvalid:
    problems = [{"workflow": item.workflow.key, **problem} for item in bad for problem in item.problems]
    missing = [
        {name: problem[name] for name in ("workflow", "kind", "name")}
        for problem in problems
        if problem["code"] == "BUNDLE_DEPENDENCIES_MISSING"
    ]
    children = [problem for problem in problems if problem["code"] == "BUNDLE_CHILD_VERSION"]
    first = problems[0]
    details: dict[str, Any] = {"problems": problems, "definition": first["workflow"]}
    if missing:
        names = ", ".join(dict.fromkeys(item["name"] for item in missing))
        return InputInvalid(
            f"the bundle needs actions or schemas that are not registered here: {names}; register these first",
            code="BUNDLE_DEPENDENCIES_MISSING",
            details={**details, "missing": missing},
        )
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if children:
        first = children[0]
        return InputInvalid(
            f"{first['workflow']} cannot be imported: {first['path']}: {first['message']}{more}",
            code="BUNDLE_CHILD_VERSION",
            details=details,
        )
    return InputInvalid(
        f"{first['workflow']} cannot be published: {first['path']}: {first['message']}{more}",
        code="DEFINITION_INVALID",
        details=details,
    )


# -- Store -------------------------------------------------------------------------------------------------------------


def _store(actor: Actor, planned: Planned, *, publish: bool) -> Imported:
    workflow = planned.workflow
    definition = Definition.objects.filter(tenant_id=actor.tenant_id, key=workflow.key).first()
    if definition is None:
        definition = Definition(tenant_id=actor.tenant_id, key=workflow.key)
    text = canonical_text(planned.draft)
    is_same = definition.draft_text == text
    if not is_same:
        definition.draft_text = text
        definition.draft_version += 1
    for name, value in workflow.metadata.items():
        setattr(definition, name, value)
    if workflow.foreign_ids:
        definition.foreign_id = workflow.foreign_ids[-1][:200]
    definition.save()
    # The import may have raised the concurrency limit. Then there are free slots for held starts.
    transaction.on_commit(bound(held_starts_wake, tenant_id=actor.tenant_id, definition_id=definition.id))
    schedules_follow_on_commit(definition.id)
    imported = Imported(
        workflow.key,
        draft_saved=not is_same,
        unchanged=is_same,
        renamed=workflow.renamed,
        references=planned.references,
        unresolved=planned.unresolved,
    )
    if publish:
        before = definition.published_version_id
        have = {row.version: row for row in definition.versions.all()}
        for number, document in planned.versions.items():
            version = have.get(number) or version_create(actor, definition, document, number=number)
            imported.versions.append(number)
        if before != version.id:
            definition.publish(version, planned.draft)
        imported.unchanged = is_same and before == version.id
    return imported
