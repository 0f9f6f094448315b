"""Publication of definitions (docs/reference/administration.md#definition-life-cycle)."""

from typing import Any

from django.db.models import Max

from workflows.actors import Actor
from workflows.engine.definition import canonical_text, definition_hash
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.json_numbers import read_stored_json
from workflows.models import Definition, DefinitionVersion
from workflows.services.connectors import connectors_lock
from workflows.services.definitions.changes import definition_change, require_not_archived, require_reason
from workflows.services.definitions.drafts import require_draft_version
from workflows.services.definitions.problems import definition_problems
from workflows.statuses import CommandAction, TriggerType


def definition_publish(
    *, actor: Actor, key: str, note: str = "", draft_version: int | None = None, idempotency_key: str = ""
) -> DefinitionVersion:
    """Publish the draft as the next version. New runs use it from now on.

    `draft_version` is the number of the draft that the author has seen. If it is None, the present draft is published.

    Idempotency: a draft that equals the published version creates no new version.
    Errors: NotFound, PermissionRefused; Conflict DEFINITION_NO_DRAFT, DRAFT_STALE, DEFINITION_ARCHIVED; InputInvalid
    DEFINITION_INVALID with all problems. The author must act.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.PUBLISH,
        to="publish definitions",
        reason=note,
        payload=None if draft_version is None else {"draftVersion": draft_version},
        idempotency_key=idempotency_key,
    ) as change:
        require_not_archived(change.definition)
        if draft_version is not None:
            require_draft_version(change.definition, draft_version)
        version = _publish(actor, change.definition, _draft(change.definition), note=note)
        change.command.details = {"version": version.version, "definitionHash": version.definition_hash}
        return version


def definition_roll_back(
    *, actor: Actor, key: str, version: int, reason: str, idempotency_key: str = ""
) -> DefinitionVersion:
    """Publish the text of an older version again, as a new version. The draft does not change.

    Errors: NotFound, PermissionRefused; NotFound DEFINITION_VERSION_NOT_FOUND; InputInvalid REASON_REQUIRED;
    InputInvalid DEFINITION_INVALID if the old text names something that does not exist any more; Conflict
    DEFINITION_ARCHIVED, DEFINITION_VERSION_CURRENT.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.ROLL_BACK,
        to="roll back definitions",
        reason=reason,
        payload={"version": version},
        idempotency_key=idempotency_key,
    ) as change:
        definition = change.definition
        require_reason(reason, to="roll back a definition")
        require_not_archived(definition)
        old = definition.versions.filter(version=version).first()
        if old is None:
            raise NotFound(f"{key} has no version {version}", code="DEFINITION_VERSION_NOT_FOUND")
        if definition.published_version_id is None or is_same_text(old, definition.published_version):
            raise Conflict(
                f"the text of version {version} of {key} is published already; nothing was changed",
                code="DEFINITION_VERSION_CURRENT",
            )
        new = _publish(actor, definition, old.document(), note=reason, rolled_back_to=version)
        change.command.details = {"version": new.version, "definitionHash": new.definition_hash}
        return new


def draft_differs(definition: Definition) -> bool:
    """Return True if publishing the draft would make a new version."""
    published = definition.published_version
    if not definition.draft_text or published is None:
        return bool(definition.draft_text)
    return _without_version(published.document()) != _without_version(_draft(definition))


def is_same_text(one: DefinitionVersion, other: DefinitionVersion | None) -> bool:
    """Return True if two versions have the same text apart from their number."""
    return other is not None and _without_version(one.document()) == _without_version(other.document())


def _publish(
    actor: Actor, definition: Definition, document: dict[str, Any], *, note: str, rolled_back_to: int | None = None
) -> DefinitionVersion:
    connectors_lock(tenant_id=actor.tenant_id, document=document)  # before the validation, which reads their schemas
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
    version = version_create(actor, definition, document, number=number, note=note, rolled_back_to=rolled_back_to)
    definition.publish(version, document)
    return version


def version_create(
    actor: Actor,
    definition: Definition,
    document: dict[str, Any],
    *,
    number: int,
    note: str = "",
    rolled_back_to: int | None = None,
    payload_schema: Any = None,
) -> DefinitionVersion:
    """Store a valid definition document as an immutable version, with the payload schema that was pinned with it.

    The connectors that it calls are locked until the version is committed.
    Errors: Conflict CONNECTOR_CHANGED.
    """
    connectors_lock(tenant_id=actor.tenant_id, document=document)
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
        payload_schema_json=payload_schema,
        note=note,
        rolled_back_to=rolled_back_to,
        published_by_name=actor.name,
    )


def _draft(definition: Definition) -> dict[str, Any]:
    if not definition.draft_text:
        raise Conflict(f"{definition.key} has no draft to publish; save a draft first", code="DEFINITION_NO_DRAFT")
    return read_stored_json(definition.draft_text)


def _without_version(document: dict[str, Any]) -> str:
    return canonical_text({key: value for key, value in document.items() if key != "version"})
