"""Actions that the definitions of one tenant can call: registered actions, pure actions, and the tenant's connectors.

An action that an app registers comes before a connector with the same id and version.
"""

import uuid
from typing import Any

from workflows.actions.connectors import connector_action
from workflows.actions.input_fields import registered_input_fields
from workflows.actions.output_fields import registered_output
from workflows.actions.registry import Action, find_action, registered_actions
from workflows.engine.action_fields import InputFields
from workflows.engine.transforms import TRANSFORMS
from workflows.models import Connector


def tenant_action(*, tenant_id: uuid.UUID, action_id: str, version: int) -> Action | None:
    """Return the action, or None if the tenant has no such action. Pure actions of the engine are not included.

    Cost: one query if no app registers the action.
    """
    found = find_action(action_id, version)
    if found is not None:
        return found
    row = Connector.objects.filter(tenant_id=tenant_id, action_id=action_id, version=version).first()
    return None if row is None else connector_action(row)


def repetition_word(action_id: str, version: int, connector: dict[str, Any] | None) -> str:
    """Return what a second execution of an action with the same key does, or an empty text for an unknown action.

    `connector` is the specification of the connector with this id and version, or None. Cost: no statement.
    """
    action = find_action(action_id, version)
    if action is None and connector is not None:
        action = connector_action(Connector(action_id=action_id, version=version, spec=connector))
    if action is None:
        return ""
    if not action.has_side_effects:
        return "without side effects"
    return "idempotent" if action.is_idempotent or action.is_transactional else "not idempotent"


def tenant_actions(tenant_id: uuid.UUID) -> list[Action]:
    """Return all actions of a tenant, in the order of their ids and versions. Pure actions are not included.

    Cost: one query.
    """
    found = {(row.action_id, row.version): row for row in Connector.objects.filter(tenant_id=tenant_id)}
    declared = {key: connector_action(row) for key, row in found.items() if find_action(*key) is None}
    actions = {**declared, **{(action.id, action.version): action for action in registered_actions()}}
    return [action for _, action in sorted(actions.items())]


class KnownActions:
    """Actions of one tenant, for one validation. Pure actions of the engine are included.

    Cost: one query.
    """

    def __init__(self, tenant_id: uuid.UUID) -> None:
        self._connectors = {(row.action_id, row.version): row for row in Connector.objects.filter(tenant_id=tenant_id)}

    def versions(self) -> dict[str, frozenset[int]]:
        """Return all action ids with their versions."""
        versions: dict[str, set[int]] = {}
        registered = [(action.id, action.version) for action in registered_actions()]
        for action_id, version in (*registered, *TRANSFORMS, *self._connectors):
            versions.setdefault(action_id, set()).add(version)
        return {action_id: frozenset(found) for action_id, found in sorted(versions.items())}

    def input_fields(self) -> dict[tuple[str, int], InputFields]:
        """Return the input fields by action id and version. An action that accepts any field has no entry."""
        declared = {key: _schema_fields(row.spec.get("input_schema")) for key, row in self._connectors.items()}
        return {key: fields for key, fields in declared.items() if fields is not None} | registered_input_fields()

    def output(self, action_id: str, version: int) -> dict[str, Any] | None:
        """Return the JSON Schema of the output that a step of this action saves, or None if it is not known."""
        found = registered_output(action_id, version)
        if found is not None or find_action(action_id, version) is not None:
            return found
        row = self._connectors.get((action_id, version))
        return None if row is None else row.spec.get("output_schema") or None


def _schema_fields(schema: Any) -> InputFields | None:
    """Return the fields of a JSON Schema that refuses all other fields. Return None for any other schema."""
    if not isinstance(schema, dict) or schema.get("additionalProperties") is not False:
        return None
    if "patternProperties" in schema:
        return None
    properties = schema.get("properties", {})
    required = tuple((name,) for name in schema.get("required", ()))
    types = {name: _types(field) for name, field in properties.items() if _types(field)}
    return InputFields(frozenset(properties), required=required, types=types)


def _types(schema: Any) -> frozenset[str]:
    """Return the JSON types that a schema names, with `number` for `integer`. The set is empty if it names none."""
    found = schema.get("type", []) if isinstance(schema, dict) else []
    names = [found] if isinstance(found, str) else found
    return frozenset("number" if name == "integer" else name for name in names)
