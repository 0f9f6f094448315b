"""Statements of the page of a definition, for each of its tabs (docs/reference/screens.md#graph)."""

from typing import Any

from django.urls import reverse

from tests.support.action_steps import action_step
from tests.support.factories import make_actor, make_definition, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.statements import sent_statements
from tests.support.triggers import STATE
from workflows.engine.definition import canonical_text
from workflows.models import Definition
from workflows.services.connectors import connector_save
from workflows.services.schemas import schema_save
from workflows.statuses import Role


def unpublished(tenant: Any) -> Definition:
    """Create a definition without a version. Its draft names connectors, a schema, an event and another definition."""
    admin = make_actor(tenant, Role.ADMIN)
    schema_save(actor=admin, ref="order", schema={"type": "object", "properties": {"id": {"type": "string"}}})
    actions = ("crm.one", "crm.two")
    for action in actions:
        connector_save(actor=admin, action_id=action, spec={"label": action, "url": "https://example.org/"})
    calls = [action_step(name[-3:], action=name, inputMapping={}, saveAs=name[-3:]) for name in actions]
    publish(tenant, STATE, key="part")
    child = {"id": "child", "type": "control.callWorkflow", "workflowId": "part", "workflowVersion": 1}
    document = make_definition(*calls, child, wait_for_reply(), payloadSchemaRef="order")
    return Definition.objects.create(tenant=tenant, key="flow", name="flow", draft_text=canonical_text(document))


def test_each_tab_of_a_definition_needs_few_statements(story: Any, tenant: Any) -> None:
    """The published definition has many parts. Every tab of the other one checks its draft."""
    published = Definition.objects.get(tenant=story.tenant, key="payment-capture")
    for definition in (published, unpublished(tenant)):
        client = member_of(definition.tenant, role="author")
        address = reverse("admin:workflows_definition_change", args=[definition.id])
        client.get(address)
        for tab in ("map", "versions", "text", "starts", "audit"):
            with sent_statements() as statements:
                response = client.get(address, {"tab": tab})
            assert response.context["tab"].id == tab
            assert len(statements) <= 12, (definition.key, tab, len(statements), "\n".join(statements))
