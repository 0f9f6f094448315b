"""Auto-pause of definitions whose runs fail too often.

Source: docs/reference/administration.md#auto-pause
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import make_actor, make_run, publish
from tests.support.members import member_of
from tests.support.triggers import STATE, TRIGGER
from workflows.models import Command, Definition, Notification
from workflows.services.definitions.auto_pause import failure_rate
from workflows.services.definitions.pause import definition_resume
from workflows.tasks import auto_pause_definitions


def watched(tenant: Any, **settings: Any) -> Definition:
    """Publish a definition with auto-pause."""
    version = publish(tenant, STATE, trigger=TRIGGER, key=f"flow-{tenant.slug}")
    fields = {"auto_pause_on_failure": True, "failure_rate_threshold": 0.5, "failure_rate_min_runs": 4, **settings}
    Definition.objects.filter(id=version.definition_id).update(**fields)
    return Definition.objects.get(id=version.definition_id)


def close_runs(definition: Definition, *statuses: str) -> None:
    version = definition.published_version
    assert version is not None
    for status in statuses:
        make_run(definition.tenant, definition_version=version, status=status, ended_at=timezone.now())


S, F = "SUCCEEDED", "FAILED"


@pytest.mark.parametrize(
    ("settings", "statuses", "is_paused"),
    [
        ({}, [F, F, S, S], True),
        ({}, [F, S, S, S], False),
        ({}, [F, F, F], False),  # too few closed runs
        ({}, ["TIMED_OUT", "TIMED_OUT", S, S], True),
        ({}, [F, S, S, "CANCELED", "TERMINATED", "WAITING"], False),  # only three runs count
        ({"failure_rate_threshold": 50.0}, [F, F, S, S], True),  # percent, from a bundle
        ({"failure_rate_threshold": 1.0}, [F, F, F, F], True),
        ({"failure_rate_threshold": None, "failure_rate_min_runs": None}, [F] * 9, False),
        ({"failure_rate_threshold": None, "failure_rate_min_runs": None}, [F] * 5 + [S] * 5, True),
        ({"auto_pause_on_failure": False}, [F] * 5, False),
        ({"archived_at": datetime(2026, 1, 1, tzinfo=UTC)}, [F] * 5, False),
    ],
)
def test_failure_rate_decides(tenant: Any, settings: Any, statuses: list[str], is_paused: bool) -> None:
    definition = watched(tenant, **settings)
    close_runs(definition, *statuses)
    assert (definition.key in auto_pause_definitions()) == is_paused
    definition.refresh_from_db()
    assert (definition.is_paused, definition.is_auto_paused) == (is_paused, is_paused)


def test_only_the_latest_runs_count(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.services.definitions.auto_pause.WINDOW", 4)
    definition = watched(tenant)
    close_runs(definition, S, S, S, S, S, F, F, S, S)
    rate = failure_rate(definition)
    assert (rate.failed, rate.closed) == (2, 4)


def test_pause_is_recorded_and_shown_and_stays_until_a_person_resumes(tenant: Any) -> None:
    author, operator = member_of(tenant, role="author"), member_of(tenant, role="operator")
    definition = watched(tenant, owner="Billing", contact="#billing", runbook_url="https://runbooks.test/x")
    close_runs(definition, F, F, F, S)
    assert definition.key in auto_pause_definitions()
    assert definition.key not in auto_pause_definitions()
    definition.refresh_from_db()
    reason = "3 of the latest 4 closed runs failed (75 %); the threshold is 50 %"
    assert (definition.paused_reason, definition.paused_by_name) == (reason, "auto-pause")
    row = Command.objects.get(tenant=tenant, action="pause")
    assert (row.actor_type, row.actor_name, row.state, row.reason) == ("system", "auto-pause", "observed", reason)
    assert (row.details["before"]["isPaused"], row.details["after"]["isPaused"]) == (False, True)
    notification = Notification.objects.get(tenant=tenant)  # the operator gets none
    assert notification.user.username == author.get("/admin/").wsgi_request.user.username
    assert all(text in notification.body for text in (reason, "Billing", "#billing", "https://runbooks.test/x"))
    page = operator.get(f"/admin/workflows/definition/{definition.id}/change/").content.decode()
    assert "Paused by the portal, because too many runs failed." in page
    assert ">Definitions paused by the portal<" in operator.get("/admin/").content.decode()

    definition_resume(actor=make_actor(tenant), key=definition.key, reason="corrected")
    assert definition.key not in auto_pause_definitions()  # the old failures do not count any more
    assert ">Definitions paused by the portal<" not in operator.get("/admin/").content.decode()
    close_runs(definition, F, F, F, F)
    assert definition.key in auto_pause_definitions()


def test_publication_begins_a_new_count(tenant: Any) -> None:
    definition = watched(tenant)
    close_runs(definition, F, F, F, F)
    publish(tenant, {**STATE, "config": {"state": "FIXED"}}, trigger=TRIGGER, key=definition.key)
    assert definition.key not in auto_pause_definitions()


def test_error_of_one_definition_does_not_stop_the_others(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = watched(tenant)
    good = publish(tenant, STATE, key=f"good-{tenant.slug}").definition
    Definition.objects.filter(id=good.id).update(auto_pause_on_failure=True, failure_rate_min_runs=1)
    close_runs(Definition.objects.get(id=good.id), F)
    check = failure_rate

    def fail(definition: Definition) -> Any:
        if definition.id == bad.id:
            raise RuntimeError("no")
        return check(definition)

    monkeypatch.setattr("workflows.services.definitions.auto_pause.failure_rate", fail)
    assert good.key in auto_pause_definitions()


def test_page_and_notifications_of_a_failed_run_show_owner_contact_and_runbook(tenant: Any) -> None:
    client = member_of(tenant, role="operator")
    definition = watched(tenant, owner="Billing", contact="#billing", runbook_url="https://runbooks.test/x")
    error = {"category": "ActionError", "message": "no", "nodePath": "x", "at": "y"}
    run = make_run(
        tenant, definition_version=definition.published_version, status=F, ended_at=timezone.now(), error=error,
        error_category="ActionError", started_at=timezone.now() - timedelta(seconds=1),
    )  # fmt: skip
    user = client.get("/admin/").wsgi_request.user
    Notification.objects.create(tenant=tenant, user=user, run=run, idempotency_key="k", title="It failed")
    for address in (f"/admin/workflows/run/{run.id}/change/", "/admin/workflows/notification/"):
        page = client.get(address).content.decode()
        assert all(text in page for text in ("Billing", "#billing", 'href="https://runbooks.test/x"')), address
