"""REST API of incidents. Source: docs/reference/incidents.md"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import make_token, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents
from tests.support.members import member_of
from workflows.models import BulkJob, Tenant, TenantMembership
from workflows.statuses import Role


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant))


@pytest.fixture
def incident(tenant: Any) -> Any:
    version = publish(tenant, CAPTURE)
    for key in ("PAY-1", "OLD-2"):
        fail_run(version, f"No payment with the id {key} exists.")
    return grow_incidents(tenant)[0]


def test_list_and_detail(api: Api, tenant: Any, incident: Any) -> None:
    fail_run(publish(tenant, CAPTURE, key="other"), code="TIMEOUT")
    grow_incidents(tenant)
    for query, numbers in {
        "": [2, 1], "?state=new": [2, 1], "?state=open": [], "?definition=flow": [1], "?error_code=TIMEOUT": [2],
        "?number=1": [1], "?owner=nobody": [],
    }.items():  # fmt: skip
        assert [row["number"] for row in api.get(f"/incidents{query}").json()["results"]] == numbers, query
    shown = api.get(f"/incidents/{incident.id}").json()
    wanted = {"number": 1, "definition": "flow", "run_count": 2, "state": "new", "versions": "version 1", "merged": []}
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["message"] == "No payment with the id <id> exists."
    assert (len(shown["hours"]), sum(hour["failures"] for hour in shown["hours"])) == (24, 2)
    assert [(row["version"], row["closed"], row["failed"]) for row in shown["by_version"]] == [(1, 2, 2)]
    assert len(api.get("/runs?incident=1").json()["results"]) == 2


def test_changes_return_the_incident(api: Api, tenant: Any, incident: Any) -> None:
    member_of(tenant)
    username = TenantMembership.objects.get(tenant=tenant).user.username
    until = (timezone.now() + timedelta(days=1)).isoformat()
    path = f"/incidents/{incident.id}"
    for name, body, wanted in (
        ("own", {"username": username}, {"state": "open", "owner": username}),
        ("snooze", {"until": until, "failures": 5, "reason": "later"}, {"state": "snoozed", "snoozed_for": 5}),
        ("reopen", {}, {"state": "open", "snoozed_for": None}),
        ("resolve", {"version": 2}, {"state": "resolved", "resolved_in": 2}),
        ("close", {}, {"state": "closed"}),
        ("split", {"text": "OLD-"}, {"number": 2, "run_count": 1, "split_from": 1, "split_text": "OLD-"}),
    ):
        shown = api.post(f"{path}/{name}", body)
        assert shown.status_code == 200, shown.content
        assert {key: shown.json()[key] for key in wanted} == wanted
    split = api.get("/incidents?number=2").json()["results"][0]["id"]
    assert api.post(f"/incidents/{split}/merge", {"into": 1}).json()["run_count"] == 2
    assert api.get(f"/incidents/{split}").json()["merged_into"] == 1
    assert api.post(f"/incidents/{split}/separate", {}).json()["run_count"] == 1
    notes = api.post(f"{path}/notes", {"text": "The bank is down."}).json()["notes"]
    assert [note["text"] for note in notes] == ["The bank is down."]


def test_replay_is_a_bulk_job_of_the_incident(api: Api, incident: Any) -> None:
    created = api.post(f"/incidents/{incident.id}/replay", {"version": "pinned"})
    assert (created.status_code, created.json()["total"]) == (201, 2)
    assert BulkJob.objects.get(id=created.json()["id"]).incident_id == incident.id


def test_requests_that_cannot_be_carried_out_are_refused(api: Api, incident: Any) -> None:
    path = f"/incidents/{incident.id}"
    for name, body, status, code in (
        ("own", {}, 400, "MEMBER_UNKNOWN"),  # a token cannot be the owner
        ("own", {"user": "x"}, 400, "VALIDATION_ERROR"),
        ("snooze", {}, 400, "VALIDATION_ERROR"),
        ("snooze", {"until": "2020-01-01T00:00:00Z"}, 400, "VALIDATION_ERROR"),
        ("snooze", {"failures": 0}, 400, "VALIDATION_ERROR"),
        ("resolve", {}, 400, "VALIDATION_ERROR"),
        ("resolve", {"version": 3}, 400, "INCIDENT_VERSION_UNKNOWN"),
        ("reopen", {}, 409, "INCIDENT_STATE"),
        ("merge", {"into": 1}, 400, "INCIDENT_MERGE_TARGET"),
        ("separate", {}, 409, "INCIDENT_NOT_MERGED"),
        ("split", {"text": "No payment"}, 400, "INCIDENT_SPLIT"),
        ("notes", {"text": " "}, 400, "VALIDATION_ERROR"),
    ):
        assert error_of(api.post(f"{path}/{name}", body), status)["code"] == code, (name, body)


def test_redaction_rules_hide_the_message(api: Api, tenant: Any, incident: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/error/message"])
    assert api.get(f"/incidents/{incident.id}").json()["message"] == "[redacted]"
    page = member_of(tenant, role=Role.ADMIN).get(f"/admin/workflows/incident/{incident.id}/change/").content.decode()
    assert "No payment" not in page
