"""Statements of the validation of one definition: not more for a definition that names more."""

from typing import Any

from tests.support.factories import make_definition, publish
from tests.support.statements import sent_statements
from workflows.models import EventType, PayloadSchema
from workflows.services.definitions.problems import definition_problems

MANY = 10
LEAF = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def schema(tenant: Any, ref: str, **fields: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref=ref, schema={"type": "object", "required": ["needed"], **fields})


def call(name: str, number: int) -> dict[str, Any]:
    step = {"id": f"call-{name}", "type": "control.callWorkflow", "inputMapping": {}}
    return {**step, "workflowId": name, "workflowVersion": number}


def wait(name: str) -> dict[str, Any]:
    config = {"eventName": name, "correlationKey": {"$expr": "payload.id"}}
    return {"id": f"wait-{name}", "type": "event.wait", "config": config}


def test_ten_children_and_ten_schemas_are_read_together(tenant: Any) -> None:
    schema(tenant, "payload.Shared.v1")
    leaf = publish(tenant, LEAF, key="leaf")
    steps = [call(str(leaf.definition_id), 1)]
    for number in range(MANY):
        ref = f"payload.Child{number}.v1"
        schema(tenant, ref, properties={"shared": {"$ref": "payload.Shared.v1"}})
        publish(tenant, call("leaf", 1), key=f"child-{number}", payloadSchemaRef=ref)
        schema(tenant, f"payload.Event{number}.v1")
        EventType.objects.create(
            tenant=tenant, name=f"E{number}", correlation_paths=["id"], payload_schema_ref=f"payload.Event{number}.v1"
        )
        steps += [call(f"child-{number}", 1), wait(f"E{number}")]
    document = make_definition(*steps, key="parent")
    with sent_statements() as sent:
        problems = definition_problems(document, tenant_id=tenant.id)
    missing = [problem for problem in problems if problem.code == "INPUT_MISSING"]
    assert len(missing) == MANY  # the schema of each child was read
    assert len(sent) <= 8, sent
