"""Expression lab: the results of the contract, positions of errors, roles, redaction, limits, and no writes."""

import html
import json
import random
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api
from tests.support.events import receive
from tests.support.factories import expr, make_actor, make_run, make_tenant, make_token, publish, wait_for_reply
from tests.support.members import member_of
from workflows.engine.expressions import limits
from workflows.engine.expressions.vectors import NOW_MS, outcome, same_json
from workflows.errors import InputInvalid, NotFound, PermissionRefused
from workflows.models import RunStep, Tenant
from workflows.projections.transaction import projection_writer
from workflows.services.expression_lab import HIDDEN_VALUE, evaluate, expression_evaluate
from workflows.statuses import Role

VECTORS = json.loads((Path(__file__).parents[1] / "unit" / "expressions" / "vectors.json").read_text("utf-8"))
HOSTILE = "<script>alert(1)</script>\u202e"


def test_lab_has_the_results_of_the_contract() -> None:
    """Evaluate 400 of the contract's cases. The others are in tests/unit/expressions."""
    for case in random.Random(16).sample(VECTORS["cases"], 400):
        expected = outcome(case["expr"], VECTORS["contexts"][case["ctx"]])
        result = evaluate(case["expr"], VECTORS["contexts"][case["ctx"]], now_ms=NOW_MS)
        if expected["ok"]:
            assert result.error is None, case
            assert same_json(expected["value"], result.value), case
        else:
            assert result.error is not None, case
            assert result.error.code == expected["error"].code, case
        assert 0 <= result.steps <= result.step_limit


@pytest.mark.parametrize(
    ("source", "code", "line", "column"),
    [
        ("payload.", "EXPRESSION_SYNTAX", 1, 9),
        ("payload\n  & $sum(1)", "EXPRESSION_FUNCTION_NOT_ALLOWED", 2, 5),
        ("function($x){$x}", "EXPRESSION_LAMBDA", 1, 1),
        ("x" * (limits.MAX_SOURCE_LENGTH + 1), "EXPRESSION_TOO_LARGE", 1, 1),
    ],
)
def test_error_has_line_and_column(source: str, code: str, line: int, column: int) -> None:
    error = evaluate(source, {"payload": {}}, now_ms=0).error
    assert error is not None
    assert (error.code, error.line, error.column) == (code, line, column)


def test_expensive_expression_ends_with_the_budget() -> None:
    rows = list(range(2_000))
    result = evaluate("rows.($$.rows.($$.rows))", {"rows": rows}, now_ms=0)
    assert result.error is not None
    assert (result.error.code, result.steps > 100_000) == ("EXPRESSION_BUDGET", True)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1", "number"),
        ("'a'", "string"),
        ("true", "boolean"),
        ("[1]", "array"),
        ("{'a': 1}", "object"),
        ("null", "null"),
    ],
)
def test_type_is_shown(value: str, kind: str) -> None:
    assert evaluate(value, {}, now_ms=0).type == kind


def test_contract_version_can_be_chosen(tenant: Any) -> None:
    event, actor = receive(tenant, payload={"id": 12345678901234567890}), make_actor(tenant, Role.OPERATOR)
    source = "toString(event.payload.id)"
    found = [
        expression_evaluate(actor=actor, expression=source, event_id=event.id, contract=version)[0].value
        for version in (1, 2)
    ]
    assert found == ["12345678901234567000", "12345678901234567890"]
    with pytest.raises(InputInvalid, match="contract version 9"):
        expression_evaluate(actor=actor, expression=source, event_id=event.id, contract=9)


def test_hidden_value_cannot_be_read_or_compared(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/payload/card/number", "workflow_correlation_key"])
    payload = {"card": {"number": "4711", "name": "Ada"}, "login": [{"name": "password", "value": "s-1"}]}
    event, actor = receive(tenant, payload=payload, workflow_correlation_key="K-1"), make_actor(tenant, Role.ADMIN)
    for source, expected in {
        "event.payload.card.number": "[redacted]",
        "event.payload.card.number = '4711'": HIDDEN_VALUE,
        "event.payload.card.number = '4712'": HIDDEN_VALUE,
        "event.payload.card.number = event.payload.card.name": HIDDEN_VALUE,
        "len(event.payload.card.number)": HIDDEN_VALUE,
        "event.payload.card.number < '5'": HIDDEN_VALUE,
        "event.payload.card.number + 1": HIDDEN_VALUE,
        "event.payload.card.number ? 1 : 2": HIDDEN_VALUE,
        "{'a': event.payload.card.number, 'b': event.payload.card.number = '4711'}": HIDDEN_VALUE,
        "event.payload.card.**": None,
        "toString(event)": None,
        "event.payload.login.name": "password",
        "event.payload.": "EXPRESSION_SYNTAX",
        "event.payload.login.value": "[redacted]",
        "event.correlationKey": "[redacted]",
        "event.payload.card.name": "Ada",
    }.items():
        result, scopes = expression_evaluate(actor=actor, expression=source, event_id=event.id)
        text = json.dumps([result.value, scopes.view])
        assert not [hidden for hidden in ("4711", "s-1", "K-1") if hidden in text], source
        assert expected in (None, result.value, result.error and result.error.code), source
        assert (result.error is None) or result.value is None


def test_variable_that_the_run_computed_from_a_hidden_value_is_hidden(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/payload/card/number"])
    targets = {
        "vars.next": expr("vars.isVisa ? 1 : 2"),
        "isVisa": expr("payload.card.number = '4711'"),
        "name": expr("payload.card.name"),
        "card": expr("payload.card"),
    }
    version = publish(tenant, {"id": "a", "type": "transform.assign", "config": {"assign": targets}}, wait_for_reply())
    run = make_run(tenant, definition_version=version, input={"card": {"number": "4711", "name": "Ada"}})
    actor = make_actor(tenant, Role.ADMIN)
    values = {
        "name": "Ada",
        "isVisa": "[redacted]",
        "isVisa = true": HIDDEN_VALUE,
        "next": "[redacted]",
        "card.name": "Ada",
    }
    for source, expected in values.items():
        result, _ = expression_evaluate(actor=actor, expression=source, run_id=run.id, step_path="root.steps[1]")
        assert expected in (result.value, result.error and result.error.code), source


def test_lab_writes_nothing(tenant: Any) -> None:
    event, run, actor = receive(tenant), make_run(tenant, input={"a": 1}), make_actor(tenant, Role.OPERATOR)
    with CaptureQueriesContext(connection) as captured:
        for subject in ({"event_id": event.id}, {"run_id": run.id}):
            expression_evaluate(actor=actor, expression="$", **subject)
    kinds = {row["sql"].split()[0].upper() for row in captured}
    assert kinds <= {"SELECT", "SET", "BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}
    assert any("READ ONLY" in row["sql"] for row in captured)


def test_viewer_and_other_tenant_are_refused(tenant: Any) -> None:
    event = receive(tenant, payload={"pin": 4711})
    viewer = make_actor(tenant, Role.VIEWER)
    with pytest.raises(PermissionRefused):
        expression_evaluate(actor=viewer, expression="event", event_id=event.id)
    stranger = make_actor(make_tenant(), Role.ADMIN)
    for subject in ({"event_id": event.id}, {"run_id": make_run(tenant).id}):
        with pytest.raises(NotFound):
            expression_evaluate(actor=stranger, expression="$", **subject)
    client, address = member_of(tenant, role="viewer"), reverse("admin:workflows_definition_lab")
    page = client.get(address, {"event": str(event.id)}).content.decode()
    assert ("You need the role operator" in page, "4711" in page) == (True, False)
    assert client.post(address, {"expression": "event", "event": str(event.id)}).status_code == 403


@pytest.mark.parametrize(
    "fields",
    [
        {"expression": " ", "event": "EVENT"},
        {"expression": "1"},
        {"expression": "1", "event": "EVENT", "run": "RUN"},
        {"expression": "1", "event": "no-id"},
        {"expression": "1", "event": "EVENT", "contract": 9},
        {"expression": "1", "run": "RUN", "step": "root.steps[7]"},
        {"expression": "1", "event": "EVENT", "scope": {}},
    ],
)
def test_api_refuses_what_it_cannot_evaluate(tenant: Any, fields: dict[str, Any]) -> None:
    ids = {"EVENT": str(receive(tenant).id), "RUN": str(make_run(tenant).id)}
    body = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in fields.items()}
    response = Api(make_token(tenant)).post("/expressions/evaluate", body)
    assert response.status_code == 400, response.content
    assert response.json()["error"]["message"]


def test_api_returns_value_error_and_budget(tenant: Any) -> None:
    api, event = Api(make_token(tenant)), receive(tenant, payload={"n": 2})
    found = api.post("/expressions/evaluate", {"expression": "event.payload.n + 1", "event": str(event.id)}).json()
    assert (found["value"], found["type"], found["error"], found["step_limit"]) == (3, "number", None, limits.MAX_STEPS)
    assert 0 < found["steps"] < 100
    wrong = api.post("/expressions/evaluate", {"expression": "1 +", "event": str(event.id)}).json()
    assert (wrong["type"], wrong["error"]["code"], wrong["error"]["line"]) == ("error", "EXPRESSION_SYNTAX", 1)
    unknown = api.post("/expressions/evaluate", {"expression": "1", "event": str(uuid.uuid4())})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "EVENT_NOT_FOUND")


def test_step_on_the_run_page_leads_to_its_scopes(tenant: Any) -> None:
    version = publish(tenant, {"id": "a", "type": "transform.assign", "config": {"assign": {"n": 1}}}, wait_for_reply())
    run = make_run(tenant, definition_version=version, input={"a": 1})
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path="root.steps[0]", step_id="a", step_type="transform.assign",
            status="SUCCEEDED", started_at=timezone.now(), ended_at=timezone.now(),
        )  # fmt: skip
    page = reverse("admin:workflows_run_change", args=[run.id])
    client, link = member_of(tenant), re.compile(r'href="([^"]*expression-lab/[?]run=[^"]*)"')
    found = link.search(client.get(f"{page}?step=root.steps[0]").content.decode())
    assert found is not None
    lab = client.get(html.unescape(found[1])).content.decode()
    assert (f'value="{run.id}"' in lab, 'value="root.steps[0]"' in lab) == (True, True)
    not_reached = client.get(f"{page}?step=root.steps[1]").content.decode()
    viewer = member_of(tenant, role="viewer").get(f"{page}?step=root.steps[0]").content.decode()
    assert not link.search(not_reached)
    assert not link.search(viewer)


def test_page_marks_the_error_and_shows_hostile_values_as_text(tenant: Any) -> None:
    event = receive(tenant, event_type=HOSTILE, payload={HOSTILE: HOSTILE})
    client, address = member_of(tenant), reverse("admin:workflows_definition_lab")
    page = client.post(address, {"expression": f"event /* {HOSTILE} */ .", "event": str(event.id)}).content.decode()
    assert "<script>alert" not in page
    assert 'aria-label="The place of the error"' in page
    assert "EXPRESSION_SYNTAX" in page
    page = client.post(address, {"expression": "event.payload", "event": str(event.id)}).content.decode()
    assert "<script>alert" not in page
    assert "evaluation steps used" in page
