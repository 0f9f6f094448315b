"""Export of definitions as a bundle (docs/reference/language.md#bundles).

Rule: the export of an imported native bundle is the imported text, except `exportedAt`.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflows.actors import Actor
from workflows.bundles.metadata import FIELDS
from workflows.bundles.steps import child_calls
from workflows.bundles.writing import bundle_text, restored, workflow_document
from workflows.errors import InputInvalid, NotFound
from workflows.json_numbers import read_stored_json
from workflows.models import Definition, DefinitionVersion
from workflows.models.statements import database_now
from workflows.statuses import Role

# An exported bundle is sent as a file, and with its exact text.
BUNDLE_TYPE = "application/json; charset=utf-8"
BUNDLE_HEADERS = {"Content-Disposition": 'attachment; filename="bundle.json"'}


def bundle_export(*, actor: Actor, keys: Sequence[str] | None = None, with_children: bool = False) -> str:
    """Return the canonical text of a bundle with these definitions, in this order.

    Without `keys`, the bundle has all definitions of the tenant that are not archived, in the order of their keys.
    `with_children` adds the definitions that the chosen ones call, directly or through others.

    Errors: PermissionRefused; NotFound DEFINITION_NOT_FOUND with all unknown keys; InputInvalid if there is nothing to
    export. The caller must choose other keys.
    """
    actor.require(Role.VIEWER, to="export definitions")
    names = definition_names(actor.tenant_id)
    chosen = _chosen(actor.tenant_id, keys)
    if not chosen:
        raise InputInvalid("there is no definition to export; create or import one first")
    documents = {row.key: definition_document(row, names) for row in chosen}
    while with_children:
        called = {name for document in documents.values() for name in _children(document)}
        more = _rows(actor.tenant_id).filter(key__in=called - documents.keys())
        added = {row.key: definition_document(row, names) for row in more}
        documents |= added
        if not added:
            break
    moment = database_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return bundle_text(list(documents.values()), exported_at=moment)


def _chosen(tenant_id: uuid.UUID, keys: Sequence[str] | None) -> list[Definition]:
    if keys is None:
        return list(_rows(tenant_id).filter(archived_at__isnull=True))
    found = {row.key: row for row in _rows(tenant_id).filter(key__in=keys)}
    unknown = [key for key in keys if key not in found]
    if unknown:
        raise NotFound(
            f"there is no definition {unknown[0]!r:.200} in this tenant"
            + (f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""),
            code="DEFINITION_NOT_FOUND",
            details={"keys": [key[:200] for key in unknown]},
        )
    return [found[key] for key in dict.fromkeys(keys)]


def _rows(tenant_id: uuid.UUID) -> Any:
    return Definition.objects.filter(tenant_id=tenant_id).order_by("key").prefetch_related("versions")


def definition_names(tenant_id: uuid.UUID) -> dict[str, str]:
    """Return the key of each definition of the tenant, by its id."""
    return {str(pk): key for pk, key in Definition.objects.filter(tenant_id=tenant_id).values_list("id", "key")}


def definition_document(definition: Definition, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a definition as the workflow of a bundle, with the texts of the bundle from which it was imported."""
    return restored(
        exported_document(definition, definition.versions.all(), names), definition.bundle_differences or []
    )


def exported_document(
    definition: Definition, versions: Iterable[DefinitionVersion], names: Mapping[str, str]
) -> dict[str, Any]:
    """Return a definition as the workflow of a bundle. Its children are named by key, and never by id.

    `names` has the key of each definition of the tenant, by id.
    """
    draft = read_stored_json(definition.draft_text) if definition.draft_text else None
    return workflow_document(
        key=definition.key,
        columns={field.column: getattr(definition, field.column) for field in FIELDS.values() if field.column},
        draft=draft and _portable(draft, names),
        draft_version=definition.draft_version,
        versions={row.version: (_portable(row.document(), names), row.payload_schema_json) for row in versions},
        scenarios=definition.scenarios,
    )


def _portable(document: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Name the children of a definition by key, in place. The ids of definitions have no meaning elsewhere."""
    for _, step, name, _ in child_calls(document):
        step["workflowId"] = names.get(name.lower(), name)
    return document


def _children(workflow: Mapping[str, Any]) -> set[str]:
    documents = [item["definition"] for item in workflow["publishedVersions"]]
    documents += [workflow["draft"]["definition"]] if workflow["draft"] else []
    return {name for document in documents for _, _, name, _ in child_calls(document)}
