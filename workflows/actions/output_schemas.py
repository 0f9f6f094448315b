"""JSON Schema of an action's output.

It is used for the form in which an operator enters the output of a lost execution.
"""

import logging
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from workflows.actions.registry import Action
from workflows.engine.json_schema.forms import form_schema_problem
from workflows.engine.sizes import json_size
from workflows.engine.unknown_outcomes import decision_form

# The form is stored in the human task together with the request, so it must be small.
MAX_SCHEMA_BYTES = 16_384
ANY_OBJECT: dict[str, Any] = {"type": "object"}

logger = logging.getLogger(__name__)


def output_schema(action: Action) -> dict[str, Any]:
    """Return the schema of the action's JSON output.

    If the action has no usable schema, the returned schema accepts any object.
    """
    try:
        schema = action.output_model.model_json_schema(mode="serialization")
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        return _without_schema(action, str(error))
    if json_size(schema) > MAX_SCHEMA_BYTES:
        return _without_schema(action, f"it has more than {MAX_SCHEMA_BYTES} bytes")
    problem = form_schema_problem(decision_form(schema))
    return schema if problem is None else _without_schema(action, problem)


def _without_schema(action: Action, reason: str) -> dict[str, Any]:
    logger.warning("the output schema of %s@%s cannot be used in a form: %s", action.id, action.version, reason)
    return ANY_OBJECT
