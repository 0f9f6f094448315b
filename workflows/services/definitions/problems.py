"""Errors and warnings of a definition document, with the names that the tenant has registered."""

import json
import uuid
from functools import partial
from typing import Any

from workflows.actions.lookup import known_actions, known_input_fields, known_output
from workflows.actions.registry import actions_without_secrets
from workflows.engine.validate import Known, Problem, validate
from workflows.models import DefinitionVersion, Secret
from workflows.services.definitions.facts import TenantFacts
from workflows.services.payload_check import known_schema_refs
from workflows.strict_json import read_marked_json


def definition_problems(document: Any, *, tenant_id: uuid.UUID, text: str | None = None) -> list[Problem]:
    """Return the errors and warnings of a definition document.

    The document may refer only to names that the tenant has registered. `text` is the JSON text of the document. Lines
    and columns refer to it; without it, they refer to the canonical text.
    """
    return validate(document, known_names(tenant_id), text=text)


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


def known_names(tenant_id: uuid.UUID) -> Known:
    """Return the names that the definitions of a tenant may refer to."""
    facts = TenantFacts(tenant_id)
    return Known(
        actions=known_actions(tenant_id),
        schema_refs=known_schema_refs(tenant_id),
        workflows=_known_workflows(tenant_id),
        secrets=frozenset(Secret.objects.filter(tenant_id=tenant_id).values_list("name", flat=True)),
        without_secrets=actions_without_secrets(),
        action_fields=known_input_fields(tenant_id),
        schema_of=facts.schema,
        output_of=partial(known_output, tenant_id),
        definition_of=facts.definition,
        event_of=facts.event,
    )


def _known_workflows(tenant_id: uuid.UUID) -> dict[str, frozenset[int]]:
    """Return the published versions of each definition.

    `control.callWorkflow` accepts its key and its id, so both are keys of the result.
    """
    versions: dict[str, set[int]] = {}
    rows = DefinitionVersion.objects.filter(
        tenant_id=tenant_id, definition__archived_at=None, definition__deleted_at=None
    )
    for pk, key, number in rows.values_list("definition_id", "definition__key", "version"):
        versions.setdefault(key, set()).add(number)
        versions.setdefault(str(pk), set()).add(number)
    return {name: frozenset(found) for name, found in versions.items()}
