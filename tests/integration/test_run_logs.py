"""The log of a run: lines from projection records, the tab, the API, redaction and the limit.

Source: docs/reference/projections.md#log-of-a-run
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.support import records
from tests.support.api import Api
from tests.support.factories import make_run, make_token
from tests.support.list_pages import links_in
from tests.support.members import member_of
from tests.support.records import run_record, step_record, task_record, wait_record
from workflows.engine.clock import datetime_of_ms
from workflows.models import Run, RunLog
from workflows.projections import run_logs
from workflows.projections.ends import RunEnd, record_run_closed
from workflows.projections.transaction import projection_writer
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")
START = 1_700_000_000_000
ERROR = {
    "category": "ActionError", "code": "NOT_FOUND", "message": "no payment PAY-1", "nodePath": "root.steps[0]",
    "details": {"status": 404, "body": "SECRET BODY"},
}  # fmt: skip
STARTED = ("info", "Temporal started the run with version 1 of the definition.")


def step(seq: int, status: str, **more: Any) -> dict[str, Any]:
    return {**step_record(seq, status), "type": "action.call", **more}


def wait(seq: int, status: str, **more: Any) -> dict[str, Any]:
    return {**wait_record(seq, status), **more}


def verdict(seq: int, name: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "verdict", "seq": seq, "at": START + seq, "waitId": wait_record(1, "")["id"], "eventId": "evt-1",
        "verdict": name, "reason": "the value is HIDDEN-VALUE", **more,
    }  # fmt: skip


def write(run: Run, *batch: dict[str, Any], **epochs: str) -> None:
    own = {"id": str(run.id)[:-2] + "ff"}
    assert records.write(run, *[{**record, **own} if "id" in record else record for record in batch], **epochs)


def lines_of(run: Run) -> list[tuple[str, str]]:
    return list(RunLog.objects.filter(run=run).order_by("at", "id").values_list("level", "message"))


def task(seq: int, status: str, **more: Any) -> dict[str, Any]:
    return {**task_record(seq, status, wait_record(1, "")["id"]), **more}


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            step(2, "RETRY_SCHEDULED", attempt=2, error=ERROR, nextAttemptAt=START + 8_002),
            ("warning", "Attempt 2 failed. The next attempt follows in 8.0 s."),
        ),
        (
            step(2, "RETRY_SCHEDULED", error=ERROR, nextAttemptAt=START + 600_002),
            ("warning", "Attempt 1 failed. The next attempt follows in 10 min."),
        ),
        (step(2, "FAILED", attempt=3, error=ERROR), ("warning", "Attempt 3 failed. No attempt is left.")),
        (step(2, "FAILED", error=ERROR), ("warning", "The step failed. No attempt is left.")),
        (step(2, "FAILED", type="control.if", error={**ERROR, "nodePath": "root.steps[0].then.steps[0]"}), None),
        (step(2, "SUCCEEDED", type="control.if", branch="else"), ("debug", "Branch: else.")),
        (
            step(2, "SUCCEEDED", type="control.tryCatch", branch="catch"),
            ("info", "The error was caught. The catch block has run."),
        ),
        (step(2, "SUCCEEDED", type="control.tryCatch", branch="try"), None),
        (step(2, "SUCCEEDED"), None),
        (
            wait(2, "WAITING", deadlineAt=START + 60_000),
            ("info", "Waits for the event E with the key k until 2023-11-14 22:14:20 UTC."),
        ),
        (wait(2, "WAITING", waitKind="time", deadlineAt=START), ("info", "Waits until 2023-11-14 22:13:20 UTC.")),
        (wait(2, "WAITING", waitKind="retry"), None),
        (wait(2, "RESOLVED", eventId="evt-1"), ("info", "The event evt-1 matched.")),
        (wait(2, "TIMED_OUT"), ("warning", "No event matched before the deadline.")),
        (
            wait(2, "TIMED_OUT", waitKind="human"),
            ("warning", "The task was not completed before the deadline."),
        ),
        (task(2, "pending"), ("info", "Opened the task “T”.")),
        (task(2, "completed", completedBy="maya"), ("info", "The task was completed by maya.")),
        (
            verdict(
                2, "filtered", mismatch={"code": "FILTER_MISMATCH", "path": "channel", "op": "=", "value": "HIDDEN"}
            ),
            ("info", "The event evt-1 did not match the filter channel =."),
        ),
        (verdict(2, "filtered"), ("info", "The event evt-1 did not match a filter or the form of the task.")),
        (verdict(2, "late"), ("warning", "The event evt-1 came too late.")),
        (run_record(2, "SUCCEEDED"), ("info", "The run ended: succeeded.")),
        (run_record(2, "CANCELED"), ("warning", "The run ended: canceled.")),
        (run_record(2, "FAILED", error=ERROR), ("error", "The run ended: failed.")),
    ],
    ids=lambda value: "" if value is None or isinstance(value, tuple) else f"{value['kind']}-{value.get('status', '')}",
)
def test_line_of_each_record(tenant: Any, record: dict[str, Any], line: tuple[str, str] | None) -> None:
    run = make_run(tenant, status="STARTING")
    if record["kind"] == "task":
        write(run, wait(1, "WAITING", waitKind="human"))
    write(run, record)
    assert lines_of(run) == [STARTED, *([line] if line else [])]


def test_repeated_and_late_batches_write_each_line_once_in_order(tenant: Any) -> None:
    run = make_run(tenant, status="STARTING")
    later = [wait(4, "RESOLVED", eventId="evt-1", at=START), run_record(5, "SUCCEEDED", at=START)]
    earlier = [step(2, "SUCCEEDED", type="control.if", branch="then", at=START), wait(3, "WAITING", at=START)]
    for batch in (later, earlier, later, earlier):
        write(run, *batch)
    messages = [message for _, message in lines_of(run)][-4:]
    assert messages == [
        "Branch: then.",
        "Waits for the event E with the key k.",
        "The event evt-1 matched.",
        "The run ended: succeeded.",
    ]


def test_reset_and_continue_as_new_and_an_end_by_temporal_have_lines(tenant: Any) -> None:
    run = make_run(tenant, status="STARTING")
    write(run, run_record(1, "RUNNING"), wait(2, "WAITING"))
    write(run, run_record(3, "RUNNING"), epoch="epoch-2", current="epoch-2")
    write(run, run_record(2, "RUNNING"), epoch="epoch-3", current="epoch-3")
    with projection_writer("test"):
        end = RunEnd("epoch-3", "TERMINATED", datetime_of_ms(START + 9_000))
        record_run_closed(Run.objects.get(id=run.id), end, now=datetime_of_ms(START + 9_000))
    messages = [message for _, message in lines_of(run)]
    assert "The run continues in a new execution of Temporal, because its history was long." in messages
    assert "The run was reset in Temporal. The steps after the reset point are undone and run again." in messages
    assert "Waits for the event E with the key k." in messages, "a reset keeps the lines of past epochs"
    assert messages[-1] == "Temporal reports the end of the run: terminated."


def test_run_keeps_a_limited_number_of_lines_of_each_level(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "MAX_LINES", 5)
    run = make_run(tenant, status="STARTING")
    for start in (1, 11):
        branches = [
            step(seq, "SUCCEEDED", type="control.if", branch="then", path=f"s{seq}") for seq in range(start, start + 10)
        ]
        write(run, *branches)
    write(run, step(30, "FAILED", error=ERROR), run_record(31, "FAILED", error=ERROR))
    levels = [level for level, _ in lines_of(run)]
    assert (levels.count("debug"), levels[-2:]) == (5, ["warning", "error"])


@pytest.fixture
def failed(tenant: Any) -> Run:
    run = make_run(tenant, status="STARTING")
    write(
        run,
        step(2, "SUCCEEDED", type="control.if", branch="else", path="root.steps[1]"),
        wait(3, "WAITING"),
        step(4, "FAILED", error=ERROR, iteration="16"),
        run_record(5, "FAILED", error=ERROR),
    )
    return run


def shown(run: Run, query: str = "") -> str:
    address = reverse("admin:workflows_run_change", args=[run.id])
    page = member_of(run.tenant, role="viewer").get(f"{address}?tab=logs{query}").content.decode()
    return page[page.index('id="run-live"') :]


def messages_in(page: str) -> list[str]:
    return re.findall(r'<td class="err-c">\s*<bdi>([^<]*)</bdi>', page)


WAITS, BRANCHES = "Waits for the event E with the key k.", "Branch: else."
FAILS, ENDS = "The step failed. No attempt is left.", "The run ended: failed."


@pytest.mark.parametrize(
    ("query", "messages"),
    [
        ("", [ENDS, FAILS, WAITS, STARTED[1]]),
        ("&level=debug", [ENDS, FAILS, WAITS, BRANCHES, STARTED[1]]),
        ("&level=error", [ENDS]),
        ("&level=nonsense&logs=nonsense", [ENDS, FAILS, WAITS, STARTED[1]]),
        ("&level=debug&in_step=root.steps%5B1%5D", [BRANCHES]),
        ("&level=debug&from=2023-11-14T22:13:21", []),
        ("&level=debug&until=2023-11-14T22:13:21", [ENDS, FAILS, WAITS, BRANCHES, STARTED[1]]),
    ],
)
def test_tab_filters_by_level_step_and_time(failed: Run, query: str, messages: list[str]) -> None:
    page = shown(failed, query)
    assert messages_in(page) == messages
    assert re.search(r"Logs\s*<span class=\"n\">4</span>", page), "the number in the tab leaves out debug lines"


def test_tab_shows_the_item_and_the_code_but_no_response_and_names_unreadable_filters(failed: Run) -> None:
    assert "There is no level loud." in shown(failed, "&level=loud")
    page = shown(failed, "&from=yesterday")
    assert "item 17" in page
    assert "NOT_FOUND" in page
    assert "SECRET BODY" not in page
    assert "This is not a time. Write it as in 2026-11-24T13:47:00." in page
    failed.tenant.redaction_rules = ["/error/message"]
    failed.tenant.save()
    assert ("no payment PAY-1" in page, "no payment PAY-1" in shown(failed)) == (True, False)


def test_pages_of_the_tab_keep_the_filter_and_need_few_statements(tenant: Any) -> None:
    run = make_run(tenant, status="STARTING")
    write(run, *[step(seq, "FAILED", error={**ERROR, "nodePath": f"s{seq}"}, path=f"s{seq}") for seq in range(2, 122)])
    client, address = member_of(tenant), reverse("admin:workflows_run_change", args=[run.id])
    query, seen = "?tab=logs&level=warning", 0
    while query:
        with CaptureQueriesContext(connection) as queries:
            page = client.get(address + query)
        seen += len(messages_in(page.content.decode()))
        query = links_in(page).get("Next", "")
        assert "level=warning" in (query or "level=warning")
    assert seen == 120
    sql = [q["sql"] for q in queries if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))]
    assert len(sql) <= 12, "\n".join(sql)


@pytest.fixture
def api(tenant: Any) -> Callable[..., Any]:
    client = Api(make_token(tenant, role=Role.VIEWER))
    return lambda run, query="": client.get(f"/runs/{run.id}/logs{query}")


def test_api_returns_lines_from_a_level_of_a_step_in_a_period(failed: Run, api: Callable[..., Any]) -> None:
    found = api(failed).json()["results"]
    assert [line["message"] for line in found] == [STARTED[1], BRANCHES, WAITS, FAILS, ENDS]
    assert found[3]["error"] == {name: ERROR[name] for name in ("category", "code", "message", "nodePath")}
    assert (found[3]["step_path"], found[3]["iteration"], found[3]["level"]) == ("root.steps[0]", "16", "warning")
    after = (datetime_of_ms(START + 4)).isoformat().replace("+00:00", "Z")
    before = (datetime_of_ms(START + 4) + timedelta(milliseconds=1)).isoformat().replace("+00:00", "Z")
    for query, messages in {
        "?level=warning": [FAILS, ENDS],
        "?step_path=root.steps%5B1%5D": [BRANCHES],
        f"?at_after={after}&at_before={before}": [FAILS],
    }.items():
        assert [line["message"] for line in api(failed, query).json()["results"]] == messages
    assert api(failed, "?level=loud").status_code == 400
