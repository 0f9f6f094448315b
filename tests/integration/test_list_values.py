"""Lists leave long payloads to the address of the row (workflows/api/list_values.py)."""

import tracemalloc
from typing import Any

import pytest

from ingress.intake.receive import events_receive
from tests.support.api import Api
from tests.support.factories import make_run, make_token
from workflows.api.list_values import MAX_SIZE_IN_LIST
from workflows.models import Event, Tenant
from workflows.statuses import EventSource, Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def receive(tenant: Any, *payloads: Any) -> None:
    values = [{"event_type": "BIG", "event_id": str(n), "payload": payload} for n, payload in enumerate(payloads)]
    events_receive(tenant_id=tenant.id, values=values, source=EventSource.REST)


def test_a_list_has_short_payloads_and_names_long_ones(tenant: Any) -> None:
    short = {"n": 12345678901234567890, "text": "x" * (MAX_SIZE_IN_LIST - 100)}
    long = {"text": "x" * MAX_SIZE_IN_LIST, "a": [1]}
    receive(tenant, short, long, {})
    api = Api(make_token(tenant, Role.OPERATOR))
    rows = {row["event_id"]: row for row in api.get("/events").json()["results"]}
    assert rows["0"]["payload"] == short
    assert rows["1"]["payload"] is None
    assert [rows[name].get("values_omitted") for name in "012"] == [None, ["payload"], None]
    assert api.get("/events/1").json()["payload"] == long
    assert rows["2"]["payload"] == {}


def test_a_list_of_large_events_needs_little_memory(tenant: Any) -> None:
    receive(tenant, *({f"key{n}-{m}": m for m in range(20_000)} for n in range(10)))
    api = Api(make_token(tenant, Role.OPERATOR))
    assert api.get("/events").status_code == 200
    tracemalloc.start()
    try:
        rows = api.get("/events").json()["results"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(rows) == 10
    assert peak < 5_000_000


def test_keys_and_reasons_of_long_payloads_stay_hidden_in_lists(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["*iban*"])
    receive(tenant, {"iban": "DE-77", "text": "x" * MAX_SIZE_IN_LIST})
    Event.objects.filter(tenant=tenant).update(
        correlation_keys=["DE-77"],
        correlation_key="DE-77",
        correlation_trace=[{"path": "payload.iban", "source": "tenant", "status": "found", "key": "DE-77"}],
        outcome_reason="refused: the value is DE-77",
    )
    api = Api(make_token(tenant, Role.OPERATOR))
    response = api.get("/events")
    assert "DE-77" not in response.content.decode()
    assert response.json()["results"][0]["correlation_keys"] == ["[redacted]"]


def test_lists_of_runs_leave_long_inputs_out(tenant: Any) -> None:
    run = make_run(tenant, input={"text": "x" * MAX_SIZE_IN_LIST})
    api = Api(make_token(tenant, Role.OPERATOR))
    (row,) = api.get("/runs").json()["results"]
    assert (row["input"], row["values_omitted"]) == (None, ["input"])
    assert api.get(f"/runs/{run.id}").json()["input"] == {"text": "x" * MAX_SIZE_IN_LIST}
    assert api.get("/deliveries").status_code == 200
