"""Errors and warnings of a definition document, with the names that the tenant has registered."""

import uuid
from typing import Any

from workflows.actions.input_fields import known_input_fields
from workflows.actions.registry import actions_without_secrets, known_actions
from workflows.engine.validate import Known, Problem, validate
from workflows.models import DefinitionVersion, Secret
from workflows.services.payload_check import known_schema_refs


def definition_problems(document: Any, *, tenant_id: uuid.UUID, text: str | None = None) -> list[Problem]:
    """Return the errors and warnings of a definition document.

    The document may refer only to names that the tenant has registered. Lines and columns refer to `text`, or to the
    canonical text of the document.
    """
    return validate(document, known_names(tenant_id), text=text)


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
