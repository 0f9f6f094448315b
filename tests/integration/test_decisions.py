"""Screens of decisions about unknown outcomes: dashboard, list, form and redaction. The workflow is not running."""

import re
from typing import Any

import pytest
from django.urls import reverse

from tests.support.api import Api
from tests.support.factories import make_run, make_tenant, make_token
from tests.support.members import member_of
from workflows.engine.unknown_outcomes import decision_form
from workflows.models import HumanTask
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CONTEXT = {
    "action": "crm.charge@1",
    "request": {"card": {"number": "4111"}, "amount": 5},
    "idempotencyKey": "order-7",
    "attempts": 2,
    "startedAt": "2026-01-01T00:00:00+00:00",
    "invocationId": "0192f0c4-0000-7000-8000-0000000000aa",
    "error": "lost",
}


def open_decision(tenant: Any, **fields: Any) -> HumanTask:
    return HumanTask.objects.create(
        tenant=tenant,
        run=make_run(tenant),
        step_path="root.steps[0]",
        task_type="action.decide_outcome",
        title="Did crm.charge@1 have its effect?",
        context_data=CONTEXT,
        assigned_roles=["operator"],
        **fields,
    )


def test_dashboard_counts_open_decisions_of_the_tenant(tenant: Any) -> None:
    open_decision(tenant)
    open_decision(tenant, status="claimed")
    open_decision(tenant, status="completed")
    open_decision(make_tenant())
    client = member_of(tenant)
    rows = {row.name: row for row in client.get(reverse("admin:index")).context_data["attention"]}
    assert rows["unknown"].count == "2"
    listed = client.get(reverse("admin:workflows_humantask_changelist") + "?kind=decisions").content.decode()
    assert listed.count('<span class="st c-violet">') == 2


def test_page_shows_request_key_and_attempts_and_chooses_no_outcome(tenant: Any) -> None:
    task = open_decision(tenant)
    page = member_of(tenant).get(reverse("admin:workflows_humantask_change", args=[task.id])).content.decode()
    chosen = ('value="&quot;happened&quot;"', "did_not_happen", "Fail the step")
    for shown in ("order-7", "4111", "crm.charge v1", *chosen):
        assert shown in page, shown
    assert not re.search(r"\schecked[\s>=]", page[page.index('id="task-form"') :])


def test_form_sends_only_what_the_person_chose(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("workflows.admin.human_tasks.task_complete", lambda **given: sent.append(given))
    address = reverse("admin:workflows_humantask_change", args=[open_decision(tenant).id])
    client = member_of(tenant)
    page = client.post(address, {"response/output": "", "response/reason": ""}).content.decode()
    assert (sent, page.count("This field is required."), "Choose one of the 3 values." in page) == ([], 1, True)
    given = {"response/outcome": '"did_not_happen"', "response/output": '{"number": 1}', "response/reason": "no charge"}
    assert "This value is not allowed here." in client.post(address, given).content.decode()
    client.post(address, {**given, "response/output": ""})
    client.post(address, {**given, "response/outcome": '"happened"', "response/reason": "seen"})
    assert [given["response"] for given in sent] == [
        {"outcome": "did_not_happen", "reason": "no charge"},
        {"outcome": "happened", "output": {"number": 1}, "reason": "seen"},
    ]


@pytest.mark.parametrize(
    ("schema", "output", "help_text", "result"),
    [
        ({}, '{"nonsense": 1}', "no output schema: any JSON value is accepted", "The output itself is not checked"),
        ({}, "", "no output schema: any JSON value is accepted", "This field is required."),
        ({"type": "object"}, "[]", "no output schema: any JSON object is accepted", "The response was not sent."),
        ({"minProperties": 1}, "{}", "must match the output schema", "The response was not sent."),
        ({"minProperties": 1}, '{"id": 1}', "must match the output schema", "Your draft is saved.</bdi></div>"),
        ({"properties": {"id": {"type": "string"}}}, "", "must match the output schema", "The response was not sent."),
    ],
)
def test_page_says_if_the_output_is_checked(tenant: Any, schema: Any, output: str, help_text: str, result: str) -> None:
    task = open_decision(tenant, form_schema=decision_form(schema))
    client, address = member_of(tenant), reverse("admin:workflows_humantask_change", args=[task.id])
    page = client.get(address).content.decode()
    assert help_text in page
    assert "output is checked" not in page
    given = {"response/outcome": '"happened"', "response/output": output, "response/reason": "seen", "check": "yes"}
    checked = client.post(address, given).content.decode()
    assert result in checked
    assert ("The output itself is not checked" in checked) is (output == '{"nonsense": 1}')


def test_redaction_rules_of_action_inputs_and_outputs_apply_to_the_task(tenant: Any) -> None:
    tenant.redaction_rules = ["/input/card/number", "/output/iban"]
    tenant.save()
    task = open_decision(tenant, status="completed", response={"outcome": "happened", "output": {"iban": "DE1"}})
    shown = Api(make_token(tenant)).get(f"/tasks/{task.id}").json()
    assert shown["context_data"]["request"] == {"card": {"number": "[redacted]"}, "amount": 5}
    assert shown["response"]["output"] == {"iban": "[redacted]"}
    page = member_of(tenant).get(reverse("admin:workflows_humantask_change", args=[task.id])).content.decode()
    assert "4111" not in page
    assert "DE1" not in page
    assert "context_data" not in Api(make_token(tenant, Role.VIEWER)).get(f"/tasks/{task.id}").json()
