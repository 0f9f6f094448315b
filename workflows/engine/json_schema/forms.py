"""Check of responses to human tasks with the JSON Schema (2020-12) of the form.

The service, the validator of the update and the workflow use the same function. The function therefore reads nothing
from outside, and references resolve only within the schema. The number of steps is also limited, because a long check
would exceed Temporal's limit for a workflow task.
"""

from typing import Any

from workflows.engine.json_schema.check import MAX_PROBLEMS, Problem, value_problems
from workflows.engine.json_schema.faults import schema_faults
from workflows.engine.json_schema.links import link_schema
from workflows.engine.sizes import MAX_FORM_BYTES, json_size

MAX_FORM_STEPS = 300_000


def form_schema_problem(schema: Any) -> str | None:
    """Return a sentence about the first fault of a form. Return None if responses can be checked with the form."""
    faults = schema_faults(schema, max_bytes=MAX_FORM_BYTES)
    return f"the form is not a valid JSON Schema: {_sentence(faults[0])}" if faults else None


def form_problems(schema: dict[str, Any] | None, response: Any) -> list[Problem]:
    """Return the problems of a response, at most `MAX_PROBLEMS`. The list is empty if the response matches the form."""
    size = json_size(response)
    if size > MAX_FORM_BYTES:
        return [{"pointer": "", "message": f"has {size} bytes, but at most {MAX_FORM_BYTES} bytes are allowed"}]
    if schema is None:
        return []
    return value_problems(link_schema(schema), response, max_problems=MAX_PROBLEMS, max_steps=MAX_FORM_STEPS)


def form_problem(schema: dict[str, Any] | None, response: Any) -> str | None:
    """Return a sentence with a pointer about the first problem of a response. Return None if the response matches."""
    size = json_size(response)
    if size > MAX_FORM_BYTES:
        return f"the response has {size} bytes, but at most {MAX_FORM_BYTES} bytes are allowed"
    if schema is None:
        return None
    problems = value_problems(link_schema(schema), response, max_problems=1, max_steps=MAX_FORM_STEPS)
    return _sentence(problems[0]) if problems else None


def _sentence(problem: Problem) -> str:
    return f"{problem['pointer'] or '/'}: {problem['message']}"
