"""Catalogue of the actions that the definitions of a tenant can call (docs/reference/engine.md#actions).

It contains the actions that apps register, the tenant's HTTP connectors, and the pure actions of the engine.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from workflows.actions.lookup import tenant_actions
from workflows.actions.registry import Action, find_action
from workflows.actions.transform_entries import OUTPUT_SCHEMA, TRANSFORM_ENTRIES
from workflows.errors import NotFound
from workflows.models import Connector

BUILT_IN, CONNECTOR, PURE = "built-in", "connector", "pure"


@dataclass(frozen=True)
class CatalogueEntry:
    """One action with its version.

    `origin` is `built-in`, `pure`, `connector`, or the app that registers the action. `repetition` and `idempotency`
    are sentences for authors. `connector` is the row of a connector.

    Units: `timeout_seconds` is in seconds. It is None for a pure action, which needs no time limit.
    """

    id: str
    version: int
    label: str
    category: str
    origin: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    examples: list[dict[str, Any]]
    has_side_effects: bool
    takes_secrets: bool
    repetition: str
    idempotency: str
    timeout_seconds: float | None = None
    retry_hint: dict[str, Any] = field(default_factory=dict)
    secret_names: list[str] = field(default_factory=list)
    connector: Connector | None = None

    def __str__(self) -> str:
        return f"{self.id}@{self.version}"


def action_catalogue(tenant_id: uuid.UUID) -> list[CatalogueEntry]:
    """Return the entries of all actions of a tenant, in the order of their ids and versions.

    Cost: two queries.
    """
    connectors = {(row.action_id, row.version): row for row in Connector.objects.filter(tenant_id=tenant_id)}
    entries = [_entry(action, connectors.get((action.id, action.version))) for action in tenant_actions(tenant_id)]
    return sorted([*entries, *_pure_entries()], key=lambda entry: (entry.id, entry.version))


def catalogue_entry(*, tenant_id: uuid.UUID, action_id: str, version: int) -> CatalogueEntry:
    """Return the entry of one action.

    Errors: NotFound. An action of another tenant counts as not found.
    """
    for entry in action_catalogue(tenant_id):
        if (entry.id, entry.version) == (action_id, version):
            return entry
    raise NotFound(f"there is no action {action_id[:200]}@{version}", code="ACTION_NOT_FOUND")


def _entry(action: Action, row: Connector | None) -> CatalogueEntry:
    connector = row if find_action(action.id, action.version) is None else None
    return CatalogueEntry(
        id=action.id,
        version=action.version,
        label=action.label,
        category=action.category,
        origin=CONNECTOR if connector else _app_of(action),
        description=action.description,
        input_schema=_schema(action, "validation"),
        output_schema=_schema(action, "serialization"),
        examples=list(action.examples),
        has_side_effects=action.has_side_effects,
        takes_secrets=action.may_take_secrets,
        repetition=_repetition(action),
        idempotency=_idempotency(action, connector),
        timeout_seconds=action.timeout_seconds,
        retry_hint=action.retry_hint,
        secret_names=sorted(action.secret_names),
        connector=connector,
    )


def _app_of(action: Action) -> str:
    app = action.run.__module__.partition(".")[0]
    return BUILT_IN if app == "workflows" else app


def _schema(action: Action, mode: Any) -> dict[str, Any]:
    model = action.input_model if mode == "validation" else action.output_model
    try:
        return model.model_json_schema(mode=mode)
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        return {"type": "object", "description": f"The model has no JSON Schema: {error}"}


def _repetition(action: Action) -> str:
    if action.is_transactional:
        return (
            "The action writes only this database, in one transaction with the action ledger. A lost execution leaves"
            " nothing behind and is repeated."
        )
    if not action.has_side_effects:
        return "The action has no effect, so a lost execution is repeated."
    if action.is_idempotent:
        return "A second execution with the same key has no second effect, so a lost execution is repeated."
    return "A lost execution is not repeated. An operator decides about its outcome in a human task."


def _idempotency(action: Action, connector: Connector | None) -> str:
    if action.idempotency_key is not None:
        return "The action can compute its key from the input. Otherwise it uses the key of the step."
    header = connector.spec.get("idempotency_header") if connector else None
    if header:
        return f"The key of the step is sent in the header {header}."
    return "The action uses the key of the step."


def _pure_entries() -> list[CatalogueEntry]:
    return [
        CatalogueEntry(
            id=action_id,
            version=version,
            label=entry.label,
            category="Transform",
            origin=PURE,
            description=entry.description,
            input_schema=entry.input_schema(),
            output_schema=OUTPUT_SCHEMA,
            examples=[entry.example],
            has_side_effects=False,
            takes_secrets=False,
            repetition="The action only computes a value. It runs in the workflow, at no cost in Temporal.",
            idempotency="The action needs no key.",
        )
        for (action_id, version), entry in TRANSFORM_ENTRIES.items()
    ]
