"""Responses to human tasks against the form's JSON Schema (2020-12).

The same function answers the service before it asks Temporal, the update's validator and the workflow. So it reads
nothing from outside (references resolve within the schema only), and it is bounded, because a check that takes long would
hold a workflow task up for longer than Temporal waits.
"""

from typing import Any

from workflows.engine.json_schema.check import Problem, value_problems
from workflows.engine.json_schema.faults import schema_faults
from workflows.engine.json_schema.links import link_schema
from workflows.engine.sizes import MAX_FORM_BYTES, json_size

MAX_FORM_STEPS = 300_000


def form_schema_problem(schema: Any) -> str | None:
    """What is wrong with a form, for its author; None when responses can be checked with it."""
    faults = schema_faults(schema, max_bytes=MAX_FORM_BYTES)
    return f"the form is no JSON Schema: {_sentence(faults[0])}" if faults else None


def form_problem(schema: dict[str, Any] | None, response: Any) -> str | None:
    """A sentence with a pointer about what does not fit, or None when all does."""
    size = json_size(response)
    if size > MAX_FORM_BYTES:
        return f"the response has {size} bytes; {MAX_FORM_BYTES} are allowed"
    if schema is None:
        return None
    problems = value_problems(link_schema(schema), response, max_problems=1, max_steps=MAX_FORM_STEPS)
    return _sentence(problems[0]) if problems else None


def _sentence(problem: Problem) -> str:
    return f"{problem['pointer'] or '/'}: {problem['message']}"
