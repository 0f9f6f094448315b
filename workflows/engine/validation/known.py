"""Facts about a tenant that the validation of its definitions uses. The caller reads them from the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workflows.engine.action_fields import InputFields


@dataclass
class Known:
    """Names that the definitions of one tenant may refer to.

    `actions` has the known versions for each action id. `workflows` has the known versions for each key or id of a
    definition. If `secrets` is None, the names of secrets are not checked. `without_secrets` holds the actions that
    accept no secrets. `action_fields` holds the input fields of actions. If an action is not in it, its fields are not
    checked.
    """

    actions: Mapping[str, frozenset[int]]
    schema_refs: frozenset[str]
    workflows: Mapping[str, frozenset[int]] = field(default_factory=dict)
    secrets: frozenset[str] | None = None
    without_secrets: frozenset[tuple[str, int]] = frozenset()
    action_fields: Mapping[tuple[str, int], InputFields] = field(default_factory=dict)
