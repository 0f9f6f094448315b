"""Publication, pause and import of definitions (docs/reference/administration.md#definition-life-cycle)."""

import json
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Max

from workflows.actions.registry import actions_without_secrets, known_actions
from workflows.actors import Actor
from workflows.bundles import BundleWorkflow, read_bundle
from workflows.concurrency import held_starts_wake
from workflows.engine.definition import canonical_text, definition_hash
from workflows.engine.validate import Known, Problem, validate
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import command_transaction
from workflows.models import Definition, DefinitionVersion, Secret
from workflows.services.payload_check import known_schema_refs
from workflows.statuses import CommandAction, Role, TriggerType


@dataclass
class Imported:
    """Result for one definition of a bundle. `unchanged`: the stored draft and version were the same already."""

    key: str
    draft_saved: bool
    versions: list[int] = field(default_factory=list)
    unchanged: bool = False


def definition_problems(document: Any, *, tenant_id: uuid.UUID) -> list[Problem]:
    """Return the errors and warnings of a definition document, checked against what the tenant has registered."""
    known = Known(
        actions=known_actions(),
        schema_refs=known_schema_refs(tenant_id),
        workflows=_known_workflows(tenant_id),
        secrets=frozenset(Secret.objects.filter(tenant_id=tenant_id).values_list("name", flat=True)),
        without_secrets=actions_without_secrets(),
    )
    return validate(document, known)


def _known_workflows(tenant_id: uuid.UUID) -> dict[str, frozenset[int]]:
    """Return published versions by each name that `control.callWorkflow` accepts: a definition's key or id."""
    versions: dict[str, set[int]] = {}
    rows = DefinitionVersion.objects.filter(tenant_id=tenant_id, definition__archived_at__isnull=True)
    for pk, key, number in rows.values_list("definition_id", "definition__key", "version"):
        versions.setdefault(key, set()).add(number)
        versions.setdefault(str(pk), set()).add(number)
    return {name: frozenset(found) for name, found in versions.items()}


def definition_publish(*, actor: Actor, key: str) -> DefinitionVersion:
    """Publish the draft as the next version. New runs use it from now on.

    Idempotency: a draft that equals the published version creates no new version.
    Errors: NotFound, PermissionRefused; InputInvalid DEFINITION_INVALID with every problem; the author must act.
    """
    with command_transaction(
        actor=actor, action=CommandAction.PUBLISH, target_type="definition", target_id=key
    ) as command:
        actor.require(Role.AUTHOR, to="publish definitions")
        definition = (
            Definition.objects.select_for_update(no_key=True).filter(tenant_id=actor.tenant_id, key=key).first()
        )
        if definition is None:
            raise NotFound(f"there is no definition {key!r} in this tenant", code="DEFINITION_NOT_FOUND")
        version = _publish(actor, definition, _draft(definition))
        command.details = {"version": version.version, "definitionHash": version.definition_hash}
        return version


def definition_set_paused(*, actor: Actor, key: str, is_paused: bool, reason: str = "") -> Definition:
    """Pause or unpause a definition. While it is paused, no event and no request starts a run; open runs continue.

    Errors: NotFound, PermissionRefused.
    """
    action = CommandAction.PAUSE if is_paused else CommandAction.UNPAUSE
    with command_transaction(actor=actor, action=action, target_type="definition", target_id=key, reason=reason):
        actor.require(Role.AUTHOR, to="pause definitions")
        changed = Definition.objects.filter(tenant_id=actor.tenant_id, key=key).update(
            is_paused=is_paused, paused_reason=reason if is_paused else ""
        )
        if not changed:
            raise NotFound(f"there is no definition {key!r} in this tenant", code="DEFINITION_NOT_FOUND")
    return Definition.objects.get(tenant_id=actor.tenant_id, key=key)


def bundle_import(*, actor: Actor, document: Any, publish: bool) -> list[Imported]:
    """Save the drafts of a bundle in one transaction, and publish them if `publish` is set.

    Idempotency: a definition that equals the stored one is not changed.
    Errors: PermissionRefused; InputInvalid BUNDLE_INVALID, or BUNDLE_DEPENDENCIES_MISSING with the full list.
    """
    with command_transaction(
        actor=actor,
        action=CommandAction.IMPORT,
        target_type="bundle",
        target_id=_bundle_name(document),
        payload={"publish": publish},
    ) as command:
        actor.require(Role.AUTHOR, to="import definitions")
        workflows = read_bundle(document)
        missing = [problem for workflow in workflows for problem in _missing_dependencies(workflow, actor.tenant_id)]
        if missing:
            raise InputInvalid(
                "the bundle needs actions or schemas that are not registered here: "
                + ", ".join(item["name"] for item in missing)
                + "; register these first",
                code="BUNDLE_DEPENDENCIES_MISSING",
                details={"missing": missing},
            )
        imported = [_import_workflow(actor, workflow, publish=publish) for workflow in workflows]
        command.details = {"imported": [vars(item) for item in imported]}
        return imported


def _bundle_name(document: Any) -> str:
    """Return the keys of an unchecked bundle as text that the ledger can store."""
    workflows = document.get("workflows") if isinstance(document, dict) else None
    keys = [str(item.get("key")) for item in workflows if isinstance(item, dict)] if isinstance(workflows, list) else []
    return ascii(", ".join(keys))[1:-1][:200]


def _import_workflow(actor: Actor, workflow: BundleWorkflow, *, publish: bool) -> Imported:
    document = {**workflow.definition, "id": workflow.key}
    text = canonical_text(document)
    definition = Definition.objects.filter(tenant_id=actor.tenant_id, key=workflow.key).first()
    if definition is None:
        definition = Definition(tenant_id=actor.tenant_id, key=workflow.key)
    is_same = definition.draft_text == text
    if not is_same:
        definition.draft_text = text
        definition.draft_version += 1
    for name, value in workflow.metadata.items():
        setattr(definition, name, value)
    definition.save()
    # A raised concurrency limit frees slots.
    transaction.on_commit(partial(held_starts_wake, tenant_id=actor.tenant_id, definition_id=definition.id))
    imported = Imported(workflow.key, draft_saved=not is_same, unchanged=is_same)
    if publish:
        before = definition.published_version_id
        version = _publish(actor, definition, document)
        imported.versions = [version.version]
        imported.unchanged = is_same and before == version.id
    return imported


def _publish(actor: Actor, definition: Definition, document: dict[str, Any]) -> DefinitionVersion:
    problems = [problem for problem in definition_problems(document, tenant_id=actor.tenant_id) if problem.is_error]
    if problems:
        raise InputInvalid(
            f"{definition.key} cannot be published: {problems[0].path}: {problems[0].message}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            code="DEFINITION_INVALID",
            details={"definition": definition.key, "problems": [problem.as_object() for problem in problems]},
        )
    current = definition.published_version
    if current is not None and _without_version(current.document()) == _without_version(document):
        return current
    number = (definition.versions.aggregate(last=Max("version"))["last"] or 0) + 1
    text = canonical_text({**document, "version": number})
    trigger = document.get("trigger") or {}
    version = DefinitionVersion.objects.create(
        tenant_id=actor.tenant_id,
        definition=definition,
        version=number,
        canonical_text=text,
        definition_hash=definition_hash(text),
        trigger_type=trigger.get("type", TriggerType.MANUAL),
        trigger_event_name=trigger.get("eventName", ""),
        published_by_name=actor.name,
    )
    definition.published_version = version
    definition.name = document["name"]
    definition.description = document.get("description") or ""
    definition.payload_schema_ref = document["payloadSchemaRef"]
    definition.save()
    return version


def _draft(definition: Definition) -> dict[str, Any]:
    if not definition.draft_text:
        raise Conflict(
            f"{definition.key} has no draft to publish; import a bundle with a draft first", code="DEFINITION_NO_DRAFT"
        )
    return json.loads(definition.draft_text)


def _without_version(document: dict[str, Any]) -> str:
    return canonical_text({key: value for key, value in document.items() if key != "version"})


def _missing_dependencies(workflow: BundleWorkflow, tenant_id: uuid.UUID) -> list[dict[str, str]]:
    actions, refs = known_actions(), known_schema_refs(tenant_id)
    missing = []
    for action_id, version in workflow.actions:
        if version not in actions.get(action_id, frozenset()):
            missing.append({"workflow": workflow.key, "kind": "action", "name": f"{action_id}@{version}"})
    for ref in workflow.schema_refs:
        if ref not in refs:
            missing.append({"workflow": workflow.key, "kind": "schema", "name": ref})
    return missing
