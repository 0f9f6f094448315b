"""`manage.py describe_run`: the row, Temporal's view, and the differences."""

import json
import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.factories import publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.models import Run, RunWait
from workflows.projections.transaction import projection_writer


def described(run: Run) -> dict[str, Any]:
    out = StringIO()
    call_command("describe_run", str(run.id), "--json", stdout=out)
    return dict(json.loads(out.getvalue()))


def test_waiting_run_and_its_drift(driver: TenantDriver) -> None:
    publish(driver.tenant, {"id": "s", "type": "state.set", "config": {"state": "OPEN"}}, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})
    driver.wait_for_run("WAITING", id=run.id)
    shown = described(run)
    assert (shown["Difference"], shown["Could not be read"]) == ("none", "nothing")
    assert (shown["Temporal"]["status"], shown["Workflow"]["summary"]["phase"]) == ("RUNNING", "event_wait")
    assert shown["Workflow"]["wait"]["key"] == "T-1"
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(status="SUCCEEDED", projection_seq=99, current_step_path="root.steps[0]")
        RunWait.objects.filter(run=run).update(status="CANCELED")
    drift = "\n".join(described(run)["Difference"])
    for words in (
        "status: SUCCEEDED in the row, RUNNING in Temporal",
        "sequence number: 99 in the row",
        "step: root.steps[0] in the row",
        "open in the workflow",
    ):
        assert words in drift
    out = StringIO()
    call_command("describe_run", str(run.id), stdout=out)
    assert "status: SUCCEEDED in the row" in out.getvalue()


def test_run_unknown_to_temporal_and_unknown_run(driver: TenantDriver) -> None:
    from tests.support.factories import make_run

    shown = described(make_run(driver.tenant))
    assert shown["Temporal"] == "Temporal does not know the run"
    assert "TemporalNotFound" in shown["Could not be read"][0]
    with pytest.raises(CommandError, match="there is no run"):
        call_command("describe_run", str(uuid.uuid4()))
    with pytest.raises(CommandError, match="is not a run id"):
        call_command("describe_run", "x")
