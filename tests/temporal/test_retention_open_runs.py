"""Retention compares old runs with Temporal before it deletes them (docs/reference/retention.md#runs)."""

from typing import Any

import pytest
from django.core.management import CommandError

from tests.support.factories import eventually, publish
from tests.support.history_cases import human_task, open_wait_of
from tests.support.management_commands import run_command
from tests.support.old_runs import days_ago, make_old_run
from tests.support.tenant_driver import TenantDriver
from workflows.models import Run, RunWait
from workflows.projections.transaction import projection_writer
from workflows.services.retention import open_runs
from workflows.temporal import gateway


def forget_open_wait(run: Run) -> None:
    """Make the rows of an open run say that the run ended long ago."""
    with projection_writer("test"):
        RunWait.objects.filter(run=run).update(status="RESOLVED")
        Run.objects.filter(id=run.id).update(status="SUCCEEDED", ended_at=days_ago(100))


def test_a_run_that_temporal_has_open_or_ended_later_is_kept(
    driver: TenantDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(driver.tenant, human_task())
    still_open, ended_now = driver.start(), driver.start()
    for run in (still_open, ended_now):
        open_wait_of(run, kind="human")
    gateway.terminate_run(
        workflow_id=ended_now.temporal_workflow_id, first_run_id=ended_now.temporal_first_run_id, reason="test"
    )
    eventually(lambda: gateway.describe_run(workflow_id=ended_now.temporal_workflow_id).closed_at)
    make_old_run(driver.tenant)  # Temporal does not have its history any more
    forget_open_wait(still_open)
    forget_open_wait(ended_now)

    requests: list[Any] = []

    def down(workflow_ids: Any) -> Any:
        requests.append(workflow_ids)
        raise gateway.TemporalTimeout("no response within 11 s")

    monkeypatch.setattr(open_runs, "PAUSES", (0.0, 0.0))
    with monkeypatch.context() as patch, pytest.raises(CommandError, match="not finished"):
        patch.setattr(open_runs, "closings", down)
        run_command("prune", "--tenant", driver.tenant.slug)
    assert Run.objects.filter(tenant=driver.tenant).count() == 3, "without Temporal, no run is deleted"
    assert len(requests) == 3, "a lost response is not the end of the pass"

    output = run_command("prune", "--tenant", driver.tenant.slug, "--dry-run")
    assert "1 (open in Temporal)" in output
    assert Run.objects.get(id=still_open.id).status == "SUCCEEDED", "a dry run repairs nothing"
    output = run_command("prune", "--tenant", driver.tenant.slug)
    assert {"1 (open in Temporal)", "1 (ended later in Temporal)"} <= {
        part.strip() for part in output.split("kept: ")[1].splitlines()[0].split(",")
    }
    assert set(Run.objects.filter(tenant=driver.tenant)) == {still_open, ended_now}
    still_open.refresh_from_db()
    ended_now.refresh_from_db()
    assert (still_open.status, still_open.ended_at) == ("WAITING", None), "the row is repaired"
    assert ended_now.status == "TERMINATED"
