"""Base class of the input models of the built-in actions.

Workflow documents that were written elsewhere use snake_case for the fields of some actions and camelCase for others.
The built-in actions therefore accept both spellings of every field.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


class ActionInput(BaseModel):
    """Input of a built-in action. A field that the action does not know is refused."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, loc_by_alias=False
    )

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        """Refuse an input with both spellings of a field, because only one of the two values could be used."""
        if isinstance(value, dict):
            for name in cls.model_fields:
                alias = to_camel(name)
                if alias != name and name in value and alias in value:
                    raise ValueError(f"{name} and {alias} are the same field; keep one of the two")
        return value
