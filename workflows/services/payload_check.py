"""Payloads against their JSON Schema (2020-12). References are resolved from the tenant's registry only."""

import re
import uuid
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from workflows.models import PayloadSchema

# Built in: any object.
ANY_SCHEMA = "payload.Any.v1"


def known_schema_refs(tenant_id: uuid.UUID) -> frozenset[str]:
    registered = PayloadSchema.objects.filter(tenant_id=tenant_id, is_placeholder=False).values_list("ref", flat=True)
    return frozenset({ANY_SCHEMA, *registered})


def payload_problem(payload: Any, *, tenant_id: uuid.UUID, ref: str) -> str | None:
    """A sentence with a pointer about the first thing that does not fit, or None when all does."""
    if not isinstance(payload, dict):
        return "the payload must be a JSON object"
    if ref == ANY_SCHEMA:
        return None
    schema = PayloadSchema.objects.filter(tenant_id=tenant_id, ref=ref).values_list("schema", flat=True).first()
    if schema is None:
        return f"the schema {ref!r} is not registered"
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(payload))
    except Unresolvable as unresolvable:
        return f"the schema {ref!r} refers to something unknown: {unresolvable}"
    except RecursionError:
        return f"the schema {ref!r} refers to itself without end"
    except (re.error, ArithmeticError, ValueError, TypeError) as error:
        return f"the payload cannot be checked with the schema {ref!r}: {type(error).__name__}"
    if error is None:
        return None
    pointer = "/" + "/".join(str(part) for part in error.absolute_path)
    return f"{pointer}: {error.message[:300]}"


class PayloadChecker:
    def __init__(self, tenant_id: uuid.UUID) -> None:
        self.tenant_id = tenant_id

    def problems(self, payload: Any, ref: str) -> list[dict[str, str]]:
        problem = payload_problem(payload, tenant_id=self.tenant_id, ref=ref)
        return [{"pointer": problem.partition(": ")[0], "message": problem}] if problem else []
