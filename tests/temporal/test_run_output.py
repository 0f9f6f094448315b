"""The output of a run: its row, the API, the page, redaction, and the rebuild (docs/reference/projections.md#rows)."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from tests.support.api import Api
from tests.support.factories import expr, make_token, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.api.list_values import MAX_SIZE_IN_LIST
from workflows.models import Run, Tenant, TenantMembership
from workflows.services.runs.rebuild import run_rebuild
from workflows.statuses import ReconcileOutcome, Role

REPLIED = "TICKET_CUSTOMER_REPLIED"


def assign(**targets: Any) -> dict[str, Any]:
    return {"id": "set", "type": "transform.assign", "config": {"assign": targets}}


def finished(driver: TenantDriver, **payload: Any) -> Run:
    """Return a run that took an event with a card number and succeeded."""
    publish(driver.tenant, wait_for_reply(), assign(**{"meta.state": "DONE"}))
    run = driver.start({"ticketId": "T-1", "card": "4111", "big": 12345678901234567890, "long": "", **payload})
    driver.wait_for_run("WAITING", id=run.id)
    driver.send(REPLIED, {"ticketId": "T-1", "card": "4222"})
    return driver.wait_for_run("SUCCEEDED", id=run.id)


def test_output_is_stored_shown_and_redacted(driver: TenantDriver) -> None:
    run = finished(driver)
    api = Api(make_token(driver.tenant, Role.OPERATOR))
    output = api.get(f"/runs/{run.id}").json()["output"]
    assert output["payload"] == {"ticketId": "T-1", "card": "4111", "big": 12345678901234567890, "long": ""}
    assert output["vars"]["event"] == {"ticketId": "T-1", "card": "4222"}
    assert output["meta"] == {"state": "DONE"}
    Tenant.objects.filter(id=driver.tenant.id).update(redaction_rules=["/payload/card"])
    shown = api.get(f"/runs/{run.id}").json()["output"]
    assert (shown["payload"]["card"], shown["vars"]["event"]["card"]) == ("[redacted]", "[redacted]")
    assert "output" not in Api(make_token(driver.tenant, Role.VIEWER)).get(f"/runs/{run.id}").json()
    member = User.objects.create_user(f"m-{driver.tenant.slug}", is_staff=True)
    TenantMembership.objects.create(tenant=driver.tenant, user=member, role=Role.OPERATOR)
    client = Client()
    client.force_login(member)
    page = client.get(f"/admin/workflows/run/{run.id}/change/?tab=input").content.decode()
    assert "T-1" in page
    assert "DONE" in page
    assert "4222" not in page
    assert run_rebuild(run_id=run.id, is_dry_run=True).outcome == ReconcileOutcome.EQUAL


def test_long_output_is_in_the_row_and_not_in_lists(driver: TenantDriver) -> None:
    run = finished(driver, long="x" * 450_000)
    api = Api(make_token(driver.tenant, Role.OPERATOR))
    (row,) = api.get("/runs").json()["results"]
    assert row["output"] is None
    assert set(row["values_omitted"]) == {"input", "output"}
    assert len(str(api.get("/runs").json())) < MAX_SIZE_IN_LIST
    assert len(api.get(f"/runs/{run.id}").json()["output"]["payload"]["long"]) == 450_000


def test_failed_run_has_no_output(driver: TenantDriver) -> None:
    publish(driver.tenant, assign(**{"vars.x": expr("payload.missing")}))
    run = driver.wait_for_run("FAILED", id=driver.start({}).id)
    assert Api(make_token(driver.tenant)).get(f"/runs/{run.id}").json()["output"] is None
