"""Storing of one workflow of a bundle (docs/reference/language.md#bundles)."""

from dataclasses import dataclass, field
from functools import partial as bound
from typing import Any

from django.db import transaction

from workflows.actors import Actor
from workflows.bundles.metadata import metadata_columns
from workflows.bundles.plan import Planned
from workflows.bundles.writing import differences
from workflows.database_errors import unique_or
from workflows.engine.definition import canonical_text
from workflows.errors import Conflict
from workflows.models import Definition, DefinitionVersion
from workflows.services.bundle_check import CheckedBundle, Refused
from workflows.services.bundle_export import definition_names, exported_document
from workflows.services.bundle_placeholders import placeholders_create
from workflows.services.definitions.changes import definition_followed_up
from workflows.services.definitions.pause import set_paused
from workflows.services.definitions.publish import version_create

PAUSED_REASON = "The imported bundle says that the definition is paused."


@dataclass
class Imported:
    """Result for one definition of a bundle.

    - `outcome`: `created`, `changed`, `unchanged` or `refused`.
    - `versions`: the numbers of the bundle's versions in the tenant. `published` is the number that new runs use.
    - `unchanged`: the stored draft and version were already equal to the imported definition.
    - `renamed`: steps that got a new id because their id was used twice, `{path, from, to}`.
    - `references`: calls of children that were translated, `{path, workflow, version, key, number}`.
    - `unresolved`: calls of workflows that neither the bundle nor the tenant has.
    - `missing`: dependencies that the tenant does not have, `{kind, name, blocks, message}`.
    - `placeholders`: dependencies for which the import created a placeholder, `{kind, name}`.
    - `warnings`: what the author must know, `{code, path, message}`.
    - `problems`: the reasons why the definition is refused. Nothing of this definition was stored.
    """

    key: str
    outcome: str = "created"
    draft_saved: bool = False
    versions: list[int] = field(default_factory=list)
    published: int | None = None
    unchanged: bool = False
    renamed: list[dict[str, str]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    unresolved: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    placeholders: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)


def workflow_refused(refused: Refused) -> Imported:
    """Return the result of a workflow that is not imported."""
    return Imported(
        refused.workflow.key, outcome="refused", missing=refused.missing, problems=refused.problems,
        warnings=refused.workflow.warnings,
    )  # fmt: skip


def workflow_store(actor: Actor, planned: Planned, checked: CheckedBundle) -> Imported:
    """Store the draft, the metadata and the versions of one workflow, and publish its newest version.

    Call it inside the transaction of the import, after the check.

    Errors: Conflict DEFINITION_EXISTS.
    """
    workflow = planned.workflow
    definition = Definition.objects.filter(tenant_id=actor.tenant_id, key=workflow.key).first()
    is_new = definition is None
    if definition is None:
        definition = _new_definition(actor, planned)
    imported = Imported(
        workflow.key,
        renamed=workflow.renamed,
        references=planned.references,
        unresolved=planned.unresolved,
        missing=checked.missing[workflow.key],
        warnings=planned.warnings,
    )
    if workflow.key in checked.drafts_only:
        imported.placeholders = placeholders_create(planned, imported.missing, tenant_id=actor.tenant_id)
    before = (definition.published_version_id, definition.archived_at)
    imported.draft_saved = _save_draft(definition, planned, is_new=is_new)
    definition.archived_at = None
    _set_columns(actor, definition, planned, imported)
    with unique_or(_created_meanwhile(workflow.key)):
        definition.save()
    _store_versions(actor, definition, planned, imported)
    _store_differences(definition, planned)
    transaction.on_commit(bound(definition_followed_up, tenant_id=actor.tenant_id, definition_id=definition.id))
    imported.unchanged = not imported.draft_saved and before == (definition.published_version_id, None)
    imported.outcome = "created" if is_new else "unchanged" if imported.unchanged else "changed"
    return imported


def _created_meanwhile(key: str) -> Conflict:
    return Conflict(
        f"another request created the definition {key!r} at the same moment, so nothing was imported. Import the bundle"
        " again",
        code="DEFINITION_EXISTS",
    )


def _new_definition(actor: Actor, planned: Planned) -> Definition:
    document = planned.draft
    return Definition(
        tenant_id=actor.tenant_id,
        key=planned.workflow.key,
        name=str(document.get("name") or planned.workflow.key)[:200],
        description=str(document.get("description") or ""),
        payload_schema_ref=str(document.get("payloadSchemaRef") or "")[:200],
    )


def _save_draft(definition: Definition, planned: Planned, *, is_new: bool) -> bool:
    """Set the draft. Return False if the stored draft is already equal."""
    text = canonical_text(planned.draft)
    if definition.draft_text == text:
        return False
    definition.draft_text = text
    given = planned.workflow.draft_version
    definition.draft_version = given if is_new and given is not None else definition.draft_version + 1
    return True


def _set_columns(actor: Actor, definition: Definition, planned: Planned, imported: Imported) -> None:
    """Set the columns that the bundle's metadata names. A paused definition stays paused."""
    was_paused = definition.is_paused
    workflow = planned.workflow
    for name, value in metadata_columns(workflow.metadata).items():
        setattr(definition, name, value)
    definition.name = definition.name or definition.key
    definition.scenarios = workflow.scenarios
    if workflow.foreign_ids:
        definition.foreign_id = workflow.foreign_ids[-1][:200]
    if was_paused and not definition.is_paused:
        definition.is_paused = True
        message = "the definition stays paused; an author must resume it"
        imported.warnings.append({"code": "BUNDLE_STAYS_PAUSED", "path": "metadata.isPaused", "message": message})
    elif definition.is_paused and not was_paused:
        set_paused(definition, by=actor, reason=PAUSED_REASON)


def _store_versions(actor: Actor, definition: Definition, planned: Planned, imported: Imported) -> None:
    """Create the versions that the tenant does not have, and publish the last one."""
    have = {row.version: row for row in definition.versions.all()}
    schemas = {
        planned.numbers[number]: schema
        for number, schema in planned.workflow.schemas.items()
        if number in planned.numbers
    }
    version: DefinitionVersion | None = None
    for number, document in planned.versions.items():
        version = have.get(number) or version_create(
            actor, definition, document, number=number, payload_schema=schemas.get(number)
        )
        imported.versions.append(number)
    if version is not None and definition.published_version_id != version.id:
        definition.publish(version, version.document())
        # The metadata of the bundle counts, where it differs from the definition.
        for name, value in metadata_columns(planned.workflow.metadata).items():
            if name in ("name", "description", "payload_schema_ref"):
                setattr(definition, name, value or getattr(definition, name))
        definition.save()
    imported.published = definition.published_version.version if definition.published_version else None


def _store_differences(definition: Definition, planned: Planned) -> None:
    """Store where the text of a native bundle differs from an export of what was stored."""
    found = None
    if planned.workflow.written is not None:
        definition.refresh_from_db()  # an export has the values as the database returns them
        exported = exported_document(definition, definition.versions.all(), definition_names(definition.tenant_id))
        found = differences(exported, planned.workflow.written) or None
    if definition.bundle_differences != found:
        definition.bundle_differences = found
        definition.save(update_fields=["bundle_differences"])
