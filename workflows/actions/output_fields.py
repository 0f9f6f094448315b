"""JSON Schemas of the outputs of actions, for the validation of expressions that read an output."""

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from workflows.actions.registry import find_action
from workflows.engine.transforms import TRANSFORMS

_RESULT: dict[str, Any] = {"type": "object", "properties": {"result": {}}, "additionalProperties": False}


def registered_output(action_id: str, version: int) -> dict[str, Any] | None:
    """Return the JSON Schema of the output that a step of this action saves, or None if it is not known."""
    if (action_id, version) in TRANSFORMS:
        return _RESULT
    action = find_action(action_id, version)
    return None if action is None else _output(action.output_model)


@cache
def _output(model: type[BaseModel]) -> dict[str, Any] | None:
    """Return the schema of a model's JSON.

    The JSON of a model has the fields of the model and no others, unless the model accepts extra fields or writes its
    JSON itself. Pydantic's schema does not say so.
    """
    if model.__pydantic_decorators__.model_serializers:
        return None
    try:
        schema = model.model_json_schema(mode="serialization", by_alias=False)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return None
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    return schema
