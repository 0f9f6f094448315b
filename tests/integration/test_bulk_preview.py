"""Preview of bulk jobs: a frozen selection, its limits, and the roles of each request.

Source: docs/reference/screens.md#run-list
"""

from typing import Any

import pytest

from tests.support.bulk_jobs import (
    item_counts,
    item_of,
    make_runs,
    preview_job,
    reload_job,
    unknown_id,
)
from tests.support.factories import make_actor, make_run, make_tenant
from workflows.errors import Conflict, InputInvalid, NotFound, PermissionRefused
from workflows.ledger import command_open
from workflows.models import BulkItem, BulkJob, Command, Run
from workflows.services.bulk.jobs import bulk_pause, bulk_resume, bulk_retry_failures, bulk_start, bulk_stop
from workflows.services.bulk.selectors import bulk_split
from workflows.statuses import CommandAction, Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CANCEL, TERMINATE, REPLAY = CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.REPLAY


# -- Preview -----------------------------------------------------------------------------------------------------------


def test_preview_freezes_the_selection_and_marks_ineligible_runs(tenant: Any) -> None:
    other = make_run(make_tenant())
    waiting, running = make_run(tenant), make_run(tenant, status="RUNNING")
    closed, legacy = make_run(tenant, status="FAILED"), make_run(tenant, engine="db")
    canceling = make_run(tenant)
    command_open(actor=make_actor(tenant), action=CANCEL, target_type="run", target_id=str(canceling.id), run=canceling)
    Command.objects.filter(run=canceling).update(state="accepted")
    job = preview_job(
        tenant, runs=Run.objects.filter(id__in=[waiting.id, running.id, closed.id, legacy.id, canceling.id, other.id])
    )
    make_run(tenant)  # created after the preview, so not part of the selection
    assert (job.state, job.total, item_counts(job)) == ("preview", 5, {"pending": 2, "ineligible": 3})
    assert bulk_split(job) == {
        "by_status": {"WAITING": 1, "RUNNING": 1},
        "ineligible": {"WORKFLOW_RUN_CLOSED": 1, "WORKFLOW_LEGACY_RUN_READ_ONLY": 1, "BULK_ALREADY_ASKED": 1},
    }
    assert [item.target_id for item in job.items.order_by("position")] == [
        waiting.id,
        running.id,
        closed.id,
        legacy.id,
        canceling.id,
    ]
    assert item_of(job, waiting).target_label.startswith(f"{waiting.definition_key}@1")
    row = Command.objects.get(target_id=str(job.id))
    assert (row.action, row.target_type, row.state, row.details["total"]) == ("bulk", "bulk job", "observed", 5)


def test_unknown_ids_and_ids_of_another_tenant_get_the_same_code(tenant: Any) -> None:
    own, others = make_run(tenant), make_run(make_tenant())
    job = preview_job(tenant, ids=[others.id, own.id, unknown_id(), own.id])
    assert item_counts(job) == {"pending": 1, "ineligible": 2}
    assert bulk_split(job)["ineligible"] == {"RUN_NOT_FOUND": 2}
    assert item_of(job, others).target_label == item_of(job, others).status_then == ""


def test_preview_of_replay_accepts_ended_runs(tenant: Any) -> None:
    make_run(tenant, status="FAILED"), make_run(tenant, engine="db")
    assert item_counts(preview_job(tenant, REPLAY)) == {"pending": 1, "ineligible": 1}


def test_preview_freezes_query_sets_with_percent_signs_and_joins(tenant: Any) -> None:
    from workflows.selectors.runs import runs_with_open_cancel

    make_run(tenant, correlation_key="100%"), make_run(tenant, correlation_key="x")
    runs = runs_with_open_cancel(Run.objects.filter(correlation_key__contains="0%"))
    assert preview_job(tenant, runs=runs.extra(where=["correlation_key LIKE '%%0%%'"])).total == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"ids": []}, "BULK_NO_RUNS"),
        ({"runs": Run.objects.none()}, "BULK_NO_RUNS"),
        ({"rate_per_second": 0}, "VALIDATION_ERROR"),
        ({"rate_per_second": float("nan")}, "VALIDATION_ERROR"),
        ({"rate_per_second": 1e9}, "VALIDATION_ERROR"),
    ],
)
def test_preview_without_runs_or_with_invalid_rate_is_refused(tenant: Any, more: dict[str, Any], code: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        preview_job(tenant, **more)
    assert raised.value.code == code
    assert not BulkJob.objects.filter(tenant=tenant).exists()


def test_preview_over_the_limit_is_refused_and_stores_nothing(tenant: Any, settings: Any) -> None:
    settings.BULK_MAX_RUNS = 2
    runs = make_runs(tenant, 3)
    for selection in ({}, {"ids": [run.id for run in runs]}):
        with pytest.raises(InputInvalid) as raised:
            preview_job(tenant, **selection)
        assert raised.value.code == "BULK_TOO_MANY_RUNS"
    assert not BulkItem.objects.filter(tenant=tenant).exists()
    assert preview_job(tenant, ids=[run.id for run in runs[:2]]).total == 2


# -- Permissions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "role"), [(CANCEL, Role.VIEWER), (REPLAY, Role.VIEWER), (TERMINATE, Role.AUTHOR)])
def test_each_request_needs_the_role_of_the_action_and_refusals_are_recorded(
    tenant: Any, action: CommandAction, role: Role
) -> None:
    make_run(tenant)
    actor = make_actor(tenant, role)
    with pytest.raises(PermissionRefused):
        preview_job(tenant, action, actor=actor)
    job = preview_job(tenant, action)
    for step in (bulk_start, bulk_pause, bulk_resume, bulk_stop, bulk_retry_failures):
        with pytest.raises(PermissionRefused):
            step(actor=actor, job_id=job.id)
    assert Command.objects.filter(tenant=tenant, action="bulk", code="PERMISSION_DENIED").count() == 6
    assert reload_job(job).state == "preview"


def test_job_of_another_tenant_is_not_found(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant)
    for step in (bulk_start, bulk_stop):
        with pytest.raises(NotFound):
            step(actor=make_actor(make_tenant()), job_id=job.id)


def test_terminate_needs_a_reason_and_requests_need_the_right_state(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant, TERMINATE, reason="")
    with pytest.raises(InputInvalid, match="reason"):
        bulk_start(actor=make_actor(tenant), job_id=job.id)
    for step in (bulk_pause, bulk_resume, bulk_retry_failures):
        with pytest.raises(Conflict) as raised:
            step(actor=make_actor(tenant), job_id=job.id)
        assert raised.value.code == "BULK_JOB_STATE"
    job = bulk_start(actor=make_actor(tenant), job_id=job.id, reason="stuck")
    assert (job.state, job.reason) == ("running", "stuck")
    empty = preview_job(tenant, ids=[unknown_id()])
    with pytest.raises(Conflict) as raised:
        bulk_start(actor=make_actor(tenant), job_id=empty.id)
    assert raised.value.code == "BULK_NOTHING_TO_DO"
