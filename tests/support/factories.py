"""Factories for tenants, actors, tokens, definitions and runs. Each test creates its own."""

import itertools
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from workflows.actors import Actor
from workflows.engine.definition import canonical_text
from workflows.models import Definition, DefinitionVersion, Run, Tenant
from workflows.projections.transaction import projection_writer
from workflows.services.definitions.publish import definition_publish, version_create
from workflows.services.tokens import token_issue
from workflows.statuses import CommandSource, Role

Found = TypeVar("Found")
_numbers = itertools.count(1)


def make_tenant(name: str = "") -> Tenant:
    slug = f"t{next(_numbers)}-{uuid.uuid4().hex[:8]}"
    return Tenant.objects.create(slug=slug, name=name or slug)


def make_actor(tenant: Tenant, role: Role = Role.ADMIN, name: str = "tester") -> Actor:
    return Actor("user", "0", name, tenant.id, role, CommandSource.API, may_see_payloads=True)


def make_token(tenant: Tenant, role: Role = Role.OPERATOR) -> str:
    return token_issue(tenant_id=tenant.id, name=f"{role} token", role=role)[1]


def make_definition(*steps: dict[str, Any], key: str = "flow", **envelope: Any) -> dict[str, Any]:
    return {
        "id": key,
        "version": 1,
        "name": key.title(),
        "payloadSchemaRef": "payload.Any.v1",
        "steps": list(steps),
        **envelope,
    }


def publish(tenant: Tenant, *steps: dict[str, Any], key: str = "flow", **envelope: Any) -> DefinitionVersion:
    document = make_definition(*steps, key=key, **envelope)
    definition, _ = Definition.objects.get_or_create(tenant=tenant, key=key, defaults={"name": key})
    definition.draft_text = canonical_text(document)
    definition.save()
    return definition_publish(actor=make_actor(tenant, Role.AUTHOR), key=key)


def make_version(tenant: Tenant, *, key: str) -> DefinitionVersion:
    """Create the rows of a published definition, without the work of a publication."""
    document = make_definition({"id": "s", "type": "state.set", "config": {"state": "X"}}, key=key)
    text = canonical_text(document)
    definition = Definition.objects.create(tenant=tenant, key=key, name=key, draft_text=text)
    version = version_create(make_actor(tenant, Role.AUTHOR), definition, document, number=1)
    definition.publish(version, document)
    return version


def expr(source: str) -> dict[str, str]:
    return {"$expr": source}


def wait_for_reply(step_id: str = "reply", key: str = "payload.ticketId", **config: Any) -> dict[str, Any]:
    return {
        "id": step_id,
        "type": "event.wait",
        "config": {"eventName": "TICKET_CUSTOMER_REPLIED", "correlationKey": expr(key), **config},
    }


def eventually(check: Callable[[], Found], *, seconds: float = 120, what: str = "") -> Found:
    """Call `check` until its result is true, and return the result.

    Errors: AssertionError after the deadline, with the last result. `what` names the expected state.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or check}; last result: {found!r}")
        time.sleep(0.03)


def make_run(tenant: Tenant, **fields: Any) -> Run:
    """Create the row of an open run. Temporal has no such run."""
    number = next(_numbers)
    version = fields.pop("definition_version", None) or make_version(tenant, key=f"made-{number}")
    values = {
        "definition": version.definition,
        "definition_version": version,
        "definition_key": version.definition.key,
        "version": version.version,
        "definition_hash": version.definition_hash,
        "semantics_version": 1,
        "status": "WAITING",
        "temporal_workflow_id": f"made-{tenant.slug}-{number}",
        **fields,
    }
    with projection_writer("test"):
        return Run.objects.create(tenant=tenant, **values)
