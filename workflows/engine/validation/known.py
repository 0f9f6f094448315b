"""Facts about a tenant that the validation of its definitions uses. The caller reads them from the database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.action_fields import InputFields
from workflows.engine.json_schema.links import LinkedSchema


@dataclass(frozen=True)
class KnownEvent:
    """Event type of the tenant: the correlation paths that apply to it, and its payload schema."""

    paths: tuple[str, ...]
    payload_schema_ref: str = ""


def _nothing(*_names: Any) -> None:
    """Return None: nothing is known."""


@dataclass
class Known:
    """Names that the definitions of one tenant may refer to.

    - `actions`: the known versions for each action id
    - `workflows`: the known versions for each key or id of a definition
    - `secrets`: names of secrets; None if they are not checked
    - `without_secrets`: actions that accept no secrets
    - `action_fields`: input fields of actions; the fields of an action without an entry are not checked

    The functions return None for what is not known, and it is then not checked:

    - `schema_of`: the payload schema with this name
    - `output_of`: the JSON Schema of the output of an action, by id and version
    - `definition_of`: the document of a published version, by key or id, and version
    - `event_of`: the event type with this name
    """

    actions: Mapping[str, frozenset[int]]
    schema_refs: frozenset[str]
    workflows: Mapping[str, frozenset[int]] = field(default_factory=dict)
    secrets: frozenset[str] | None = None
    without_secrets: frozenset[tuple[str, int]] = frozenset()
    action_fields: Mapping[tuple[str, int], InputFields] = field(default_factory=dict)
    schema_of: Callable[[str], LinkedSchema | None] = _nothing
    output_of: Callable[[str, int], dict[str, Any] | None] = _nothing
    definition_of: Callable[[str, int], dict[str, Any] | None] = _nothing
    event_of: Callable[[str], KnownEvent | None] = _nothing
