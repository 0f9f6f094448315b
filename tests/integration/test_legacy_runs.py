"""Runs of an older engine: they are imported and shown, and every request for them is refused.

Source: docs/reference/authority.md#control-matrix
"""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ingress.dispatch.routing import event_route
from tests.support.api import Api, error_of
from tests.support.events import receive
from tests.support.factories import make_token, publish
from tests.support.members import member_of
from workflows.models import Command, EventDelivery, Run, RunStep, RunWait
from workflows.statuses import Role

AT = "2024-05-01T10:00:00Z"
STEP = {"id": "ask", "type": "event.wait", "path": "root.steps[0]", "status": "STARTED", "startedAt": AT}
WAIT = {
    "stepId": "ask", "path": "root.steps[0]", "kind": "event", "status": "WAITING", "eventName": "REPLIED",
    "correlationKey": "T-1", "openedAt": AT,
}  # fmt: skip
RUN = {
    "id": "old-7", "definition": "flow", "version": 1, "status": "WAITING", "input": {"ticketId": "T-1"},
    "correlationKey": "T-1", "createdAt": AT, "startedAt": AT, "steps": [STEP], "waits": [WAIT],
}  # fmt: skip


@pytest.fixture(autouse=True)
def published(tenant: Any, no_dispatcher: None) -> None:
    publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}})


def imported(tenant: Any, tmp_path: Path, *runs: dict[str, Any], **document: Any) -> str:
    file = tmp_path / "runs.json"
    file.write_text(json.dumps({"format": "pointsman.legacy-runs", "formatVersion": 1, "runs": runs, **document}))
    output = StringIO()
    call_command("import_legacy_runs", str(file), tenant=tenant.slug, stdout=output)
    return output.getvalue().strip()


def test_legacy_runs_are_imported_once_and_shown(tenant: Any, tmp_path: Path) -> None:
    assert imported(tenant, tmp_path, RUN) == "1 runs imported, 0 existed already"
    assert imported(tenant, tmp_path, RUN) == "0 runs imported, 1 existed already"
    run = Run.objects.get(tenant=tenant)
    assert (run.engine, run.status, run.trigger_metadata) == ("db", "WAITING", {"legacyId": "old-7"})
    assert (RunStep.objects.get(run=run).step_id, RunWait.objects.get(run=run).correlation_key) == ("ask", "T-1")
    assert Api(make_token(tenant)).get(f"/runs/{run.id}").json()["engine"] == "db"
    page = member_of(tenant, role=Role.ADMIN).get(f"/admin/workflows/run/{run.id}/change/").content.decode()
    assert "History of an older engine" in page


def test_routing_skips_a_legacy_wait(tenant: Any, tmp_path: Path) -> None:
    imported(tenant, tmp_path, RUN)
    event_route(receive(tenant).id)
    assert not EventDelivery.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("action", ["cancel", "terminate", "replay", "resume", "retry", "requeue-event-wait"])
def test_shell_and_api_refuse_every_request(tenant: Any, tmp_path: Path, action: str) -> None:
    imported(tenant, tmp_path, RUN)
    run = Run.objects.get(tenant=tenant)
    with pytest.raises(CommandError, match="WORKFLOW_LEGACY_RUN_READ_ONLY"):
        call_command("control_run", action, str(run.id), reason="x")
    response = Api(make_token(tenant, Role.ADMIN)).post(f"/runs/{run.id}/{action}", {"reason": "x"})
    assert error_of(response, 409)["code"] == "WORKFLOW_LEGACY_RUN_READ_ONLY"
    assert list(Command.objects.filter(run=run).values_list("state", "source").order_by("requested_at")) == [
        ("refused", "cli"),
        ("refused", "api"),
    ]
    assert Run.objects.get(tenant=tenant).status == "WAITING"


@pytest.mark.parametrize(
    ("run", "document", "words"),
    [
        ({**RUN, "definition": "other"}, {}, "publish them first.*other@1"),
        ({**RUN, "status": "ODD"}, {}, "/runs/1/status"),
        ({**RUN, "unknown": 1}, {}, "/runs/1/unknown"),
        (RUN, {"format": "x"}, "pointsman.legacy-runs"),
        ({**RUN, "input": {"a": "\x00"}}, {}, "input"),
    ],
)
def test_invalid_file_imports_nothing(
    tenant: Any, tmp_path: Path, run: dict[str, Any], document: dict[str, Any], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        imported(tenant, tmp_path, {**RUN, "id": "good"}, run, **document)
    assert not Run.objects.filter(tenant=tenant).exists()
