"""Publication and pause of definitions (docs/reference/administration.md#definition-life-cycle)."""

import json
import uuid
from typing import Any

from django.db.models import Max

from workflows.actions.input_fields import known_input_fields
from workflows.actions.registry import actions_without_secrets, known_actions
from workflows.actors import Actor
from workflows.engine.definition import canonical_text, definition_hash
from workflows.engine.validate import Known, Problem, validate
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import command_transaction
from workflows.models import Definition, DefinitionVersion, Secret
from workflows.services.payload_check import known_schema_refs
from workflows.statuses import CommandAction, Role, TriggerType


def definition_problems(document: Any, *, tenant_id: uuid.UUID) -> list[Problem]:
    """Return the errors and warnings of a definition document.

    The document may refer only to names that the tenant has registered.
    """
    return validate(document, known_names(tenant_id))


def known_names(tenant_id: uuid.UUID) -> Known:
    """Return the names that the definitions of a tenant may refer to."""
    return Known(
        actions=known_actions(),
        schema_refs=known_schema_refs(tenant_id),
        workflows=_known_workflows(tenant_id),
        secrets=frozenset(Secret.objects.filter(tenant_id=tenant_id).values_list("name", flat=True)),
        without_secrets=actions_without_secrets(),
        action_fields=known_input_fields(),
    )


def _known_workflows(tenant_id: uuid.UUID) -> dict[str, frozenset[int]]:
    """Return the published versions of each definition.

    `control.callWorkflow` accepts its key and its id, so both are keys of the result.
    """
    versions: dict[str, set[int]] = {}
    rows = DefinitionVersion.objects.filter(tenant_id=tenant_id, definition__archived_at__isnull=True)
    for pk, key, number in rows.values_list("definition_id", "definition__key", "version"):
        versions.setdefault(key, set()).add(number)
        versions.setdefault(str(pk), set()).add(number)
    return {name: frozenset(found) for name, found in versions.items()}


def definition_publish(*, actor: Actor, key: str) -> DefinitionVersion:
    """Publish the draft as the next version. New runs use it from now on.

    Idempotency: a draft that equals the published version creates no new version.
    Errors: NotFound, PermissionRefused; InputInvalid DEFINITION_INVALID with all problems. The author must act.
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
    """Pause or unpause a definition.

    While a definition is paused, no event and no request starts a run. Open runs continue.

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
    version = version_create(actor, definition, document, number=number)
    definition.publish(version, document)
    return version


def version_create(actor: Actor, definition: Definition, document: dict[str, Any], *, number: int) -> DefinitionVersion:
    """Store a valid definition document as an immutable version."""
    text = canonical_text({**document, "version": number})
    trigger = document.get("trigger") or {}
    return DefinitionVersion.objects.create(
        tenant_id=actor.tenant_id,
        definition=definition,
        version=number,
        canonical_text=text,
        definition_hash=definition_hash(text),
        trigger_type=trigger.get("type", TriggerType.MANUAL),
        trigger_event_name=trigger.get("eventName", ""),
        published_by_name=actor.name,
    )


def _draft(definition: Definition) -> dict[str, Any]:
    if not definition.draft_text:
        raise Conflict(
            f"{definition.key} has no draft to publish; import a bundle with a draft first", code="DEFINITION_NO_DRAFT"
        )
    return json.loads(definition.draft_text)


def _without_version(document: dict[str, Any]) -> str:
    return canonical_text({key: value for key, value in document.items() if key != "version"})
