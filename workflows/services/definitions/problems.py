"""Errors and warnings of a definition document, with the names that the tenant has registered."""

import json
import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models.functions import JSONObject

from workflows.actions.lookup import KnownActions
from workflows.actions.registry import actions_without_secrets
from workflows.engine.validate import Known, Problem, validate
from workflows.models import DefinitionVersion, Secret, Tenant
from workflows.services.definitions.facts import TenantFacts
from workflows.services.payload_check import ANY_SCHEMA, registered_schemas
from workflows.strict_json import read_marked_json


def definition_problems(document: Any, *, tenant_id: uuid.UUID, text: str | None = None) -> list[Problem]:
    """Return the errors and warnings of a definition document.

    The document may refer only to names that the tenant has registered. `text` is the JSON text of the document. Lines
    and columns refer to it; without it, they refer to the canonical text.
    """
    return validate(document, known_names(tenant_id, [document]), text=text)


def definition_text_problems(text: str, *, tenant_id: uuid.UUID) -> tuple[Any, list[Problem]]:
    """Return the document of a JSON text, and its errors and warnings.

    If the text is not JSON, the document is None and the only problem is JSON_INVALID.
    """
    try:
        document = read_marked_json(text)
    except json.JSONDecodeError as error:
        return None, [_not_json(error.msg, error.lineno, error.colno)]
    except RecursionError:
        return None, [_not_json("its values are nested too deeply")]
    except ValueError as error:
        return None, [_not_json(str(error))]
    return document, definition_problems(document, tenant_id=tenant_id, text=text)


def _not_json(reason: str, line: int = 1, column: int = 1) -> Problem:
    message = f"the text is not JSON: {reason}; correct the text at line {line}, column {column}"
    return Problem("JSON_INVALID", "", message, line=line, column=column)


def known_names(tenant_id: uuid.UUID, documents: Iterable[Any] = ()) -> Known:
    """Return the names that the definitions of a tenant may refer to. `documents` are those that are validated.

    Cost: two statements, and those of `TenantFacts` for what a definition refers to.
    """
    facts, actions = TenantFacts(tenant_id, documents), KnownActions(tenant_id)
    versions = DefinitionVersion.objects.filter(
        tenant_id=tenant_id, definition__archived_at=None, definition__deleted_at=None
    )
    place = JSONObject(id="definition_id", key="definition__key", version="version")
    names: Any = (
        Tenant.objects.filter(id=tenant_id)
        .values(
            schemas=ArraySubquery(registered_schemas(tenant_id).values("ref")),
            secrets=ArraySubquery(Secret.objects.filter(tenant_id=tenant_id).values("name")),
            versions=ArraySubquery(versions.values(place=place)),
        )
        .get()
    )
    return Known(
        actions=actions.versions(),
        schema_refs=frozenset({ANY_SCHEMA, *names["schemas"]}),
        workflows=_known_workflows(names["versions"]),
        secrets=frozenset(names["secrets"]),
        without_secrets=actions_without_secrets(),
        action_fields=actions.input_fields(),
        schema_of=facts.schema,
        output_of=actions.output,
        definition_of=facts.definition,
        event_of=facts.event,
    )


def _known_workflows(rows: list[dict[str, Any]]) -> dict[str, frozenset[int]]:
    """Return the published versions of each definition.

    `control.callWorkflow` accepts its key and its id, so both are keys of the result.
    """
    versions: dict[str, set[int]] = {}
    for row in rows:
        for name in (row["key"], row["id"]):
            versions.setdefault(name, set()).add(row["version"])
    return {name: frozenset(found) for name, found in versions.items()}
