"""Passes of retention: slices, errors of a part, and what a stopped pass has recorded.

Source: docs/reference/retention.md#how-rows-are-deleted
"""

from collections import Counter
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from django.db import OperationalError

from tests.support.old_runs import days_ago, make_old_run, prune, runs_of
from workflows import tasks
from workflows.models import (
    Command,
)
from workflows.services.audit_verify import audit_verify
from workflows.services.retention import prune as prune_module
from workflows.services.retention import record


def test_the_daily_task_deletes_in_slices(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old_run(tenant)
    sent: list[Any] = []
    monkeypatch.setattr(tasks.prune_old_rows, "apply_async", lambda **options: sent.append(options))
    monkeypatch.setattr(prune_module, "tenants_in_turn", lambda: [tenant])
    monkeypatch.setattr(prune_module, "SLICE_SECONDS", 0)
    Session.objects.create(session_key=tenant.slug, session_data="", expire_date=days_ago(1))
    assert tasks.prune_old_rows() == {}
    assert (len(runs_of(tenant)), sent) == (1, []), "a slice that deletes nothing is not repeated"
    monkeypatch.setattr(prune_module, "SLICE_SECONDS", 60)
    assert tasks.prune_old_rows()["workflow_runs"] == 1
    assert (runs_of(tenant), sent) == (set(), [])

    last = prune_module.Progress("t", "runs", Counter(workflow_runs=1), is_last=True)
    monkeypatch.setattr(prune_module, "SLICE_SECONDS", -1)
    monkeypatch.setattr(prune_module, "tenants_prune", lambda **_: iter([last]))
    assert tasks.prune_old_rows() == {"workflow_runs": 1}
    assert sent == [{"countdown": 1}]


def test_an_error_of_one_part_leaves_the_others(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the login of sign-in, for example, sessions stay and everything else is deleted."""

    def no_login(**_: Any) -> int:
        raise ImproperlyConfigured("DATABASE_SIGNIN_URL is not set")

    monkeypatch.setattr(prune_module, "prune_sessions", no_login)
    make_old_run(tenant)
    with pytest.raises(CommandError, match="1 part"):
        prune(tenant)
    assert runs_of(tenant) == set()


@pytest.mark.parametrize("stop", [OperationalError("server closed the connection"), KeyboardInterrupt()])
def test_a_pass_that_stops_early_records_what_it_has_deleted(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    def stopped(**_: Any) -> Any:
        raise stop

    monkeypatch.setattr(prune_module, "prune_events", stopped)
    make_old_run(tenant)
    with pytest.raises(type(stop)):
        prune(tenant)
    row = Command.objects.get(tenant=tenant, action="prune")
    assert (row.state, row.details["deletedRows"]["workflow_runs"]) == ("observed", 1)


def test_a_killed_process_has_recorded_each_batch(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed ends between two transactions, as this generator does, or its transaction is lost."""

    def deleted() -> list[tuple[int, bool]]:
        rows = Command.objects.filter(tenant=tenant, action="prune")
        return [(row.details["deletedRows"]["workflow_runs"], row.details["isEnded"]) for row in rows]

    for _ in range(3):
        make_old_run(tenant)
    with monkeypatch.context() as patch:
        patch.setattr(record, "command_progress", lambda *_: 1 / 0)
        with pytest.raises(CommandError, match="not finished"):
            prune(tenant)
    assert (len(runs_of(tenant)), deleted()) == (3, []), "without its record, a batch deletes nothing"

    progress = prune_module.tenants_prune(tenants=[tenant], options=prune_module.Pass(batch=2))
    while next(progress).part != "runs":
        pass
    assert (len(runs_of(tenant)), deleted()) == (1, [(2, False)])
    assert sum(1 for _ in progress) > 0
    assert (len(runs_of(tenant)), deleted()) == (0, [(3, True)])
    assert audit_verify(tenant_id=tenant.id).problems == []
