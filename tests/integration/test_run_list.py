"""The run list: what each filter selects, the counts of the chips, the columns, the orders and the cost of the page.

Source: docs/reference/screens.md#run-list
"""

import gzip
import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.admin.options import BaseModelAdmin
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant
from tests.support.members import member_of
from tests.support.plans import conditions_of, copies, indexes_read, no_sorts, plan_of, rows_read
from tests.support.statements import sent_statements
from tests.support.table_owner import execute_as_owner
from workflows.admin import ledger_list, list_filters, run_changelist, run_chips, run_filters
from workflows.admin.run_changelist import COLUMNS, ORDERS, PARTIAL_ORDERS
from workflows.admin.run_filters import RunListForm
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import Command, HumanTask, Run, RunStep
from workflows.projections.transaction import projection_writer
from workflows.selectors import ledger_search, run_list
from workflows.selectors.keyset import KeysetPage
from workflows.selectors.run_list import shown_status_counts
from workflows.selectors.run_search import runs_by_range
from workflows.statuses import RunStatus
from workflows.tenancy import tenant_scope

pytestmark = pytest.mark.usefixtures("no_dispatcher")

URL = "admin:workflows_run_changelist"
ERROR = {"category": "ACTION", "code": "NOT_FOUND", "message": "No payment", "nodePath": "root.steps[1]"}
HOSTILE = "<script>alert(1)</script>\u202e"
MOST_STATEMENTS, MOST_BYTES = 12, 60_000


@pytest.fixture
def runs(tenant: Any) -> dict[str, Run]:
    """Return runs by the name of what is special about them."""
    hour = timezone.now() - timedelta(hours=2)
    first = make_run(tenant, status="SUCCEEDED", correlation_key="PAY-1", created_at=hour, ended_at=hour)
    same = {"definition_version": first.definition_version, "definition": first.definition}
    made = {
        "plain": first,
        "failed": make_run(
            tenant, **same, status="FAILED", error=ERROR, error_code="NOT_FOUND", error_category="ACTION", version=2,
            correlation_key="pay-2",
        ),
        "waiting": make_run(tenant, state="LATE", current_step_path="root.steps[3]", created_at=hour),
        "retrying": make_run(tenant, status="RUNNING", trigger_type="schedule"),
        "unknown": make_run(tenant),
        "closed at step": make_run(tenant, status="CANCELED", current_step_path="root.steps[3]"),
    }  # fmt: skip
    made["replay"] = make_run(tenant, status="RUNNING", replay_of=made["failed"])
    open_wait(tenant, run=made["waiting"], key="W")
    for name in ("retrying", "unknown"):
        open_wait(tenant, run=made[name], key="", name="", kind="retry", deadline_at=timezone.now())
    HumanTask.objects.create(
        tenant=tenant, run=made["unknown"], step_path="root.steps[0]", task_type=DECIDE_OUTCOME, title="Decide"
    )
    return made


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("status__exact=SUCCEEDED", {"plain"}), ("status__exact=WAITING", {"waiting"}),
        ("status__exact=retrying", {"retrying"}), ("status__exact=unknown", {"unknown"}),
        ("status__exact=open", {"waiting", "retrying", "unknown", "replay"}),
        ("status__exact=open&version=1&definition={definition}", set()),
        ("definition={definition}", {"plain", "failed"}), ("definition={definition}&version=2", {"failed"}),
        ("definition={definition}&version=3", set()), ("q=PAY-", {"plain", "failed"}), ("q=pay-2", {"failed"}),
        ("q=Pay-1", {"plain"}), ("q=W", {"waiting"}), ("state=LATE", {"waiting"}), ("state=late", set()),
        ("error_code=NOT_FOUND", {"failed"}), ("error_category=ACTION", {"failed"}),
        ("failed_step=root.steps[1]", {"failed"}), ("failed_step=root.steps[3]", set()),
        ("current_step=root.steps[3]", {"waiting"}), ("age=1h", {"waiting"}), ("age=7d", set()),
        ("started=1h", {"failed", "retrying", "unknown", "closed at step", "replay"}),
        ("replays=only", {"replay"}), ("replays=newest", {"replay"}), ("replays=replayed", {"failed"}),
        ("replays=deciding&started=1h", {"retrying", "unknown", "closed at step", "replay"}),
        ("replays=never&started=1h", {"retrying", "unknown", "closed at step"}),
        ("replays=without&started=1h", {"failed", "retrying", "unknown", "closed at step"}),
        ("trigger_type__exact=schedule", {"retrying"}), ("created_at_to_0=2020-01-01", set()),
        ("definition={definition}&status__exact=FAILED&error_code=NOT_FOUND&q=pay", {"failed"}),
    ],
)  # fmt: skip
def test_filter_selects_these_runs(tenant: Any, runs: dict[str, Run], query: str, wanted: set[str]) -> None:
    form = RunListForm(QueryDict(query.format(definition=runs["plain"].definition_key)))
    assert form.is_valid(), form.errors
    found = set(form.select(Run.objects.filter(tenant=tenant), tenant_id=tenant.id))
    assert {name for name, run in runs.items() if run in found} == wanted


def test_each_chip_counts_the_list_that_it_links_to(tenant: Any, runs: dict[str, Run]) -> None:
    client = member_of(tenant)
    for query in ("", "?started=1h", f"?definition={runs['plain'].definition_key}&q=pay&cols=state"):
        context = client.get(f"{reverse(URL)}{query}").context_data
        assert sum(chip.count for chip in context["chips"][1:]) == context["chips"][0].count == len(context["rows"])
        for chip in context["chips"]:
            shown = client.get(f"{reverse(URL)}{chip.query}").context_data
            assert len(shown["rows"]) == chip.count, chip
            assert {row.status for row in shown["rows"]} <= {row.status for row in context["rows"]}


def test_time_that_the_clock_shows_twice_is_the_first_one() -> None:
    with timezone.override("America/New_York"):
        form = RunListForm(QueryDict("created_at_from_0=2026-11-01&created_at_from_1=01:30:00"))
        assert form.is_valid(), form.errors
    assert form.cleaned_data["created_at_from"].isoformat() == "2026-11-01T01:30:00-04:00"


def test_list_of_open_runs_has_a_chip_with_their_number(tenant: Any, runs: dict[str, Run]) -> None:
    chips = member_of(tenant).get(f"{reverse(URL)}?status__exact=open").context_data["chips"]
    assert [(chip.word, chip.number, chip.is_chosen) for chip in chips[:2]] == [
        ("All", "7", False),
        ("Open", "4", True),
    ]
    assert "Open" not in {chip.word for chip in member_of(tenant).get(reverse(URL)).context_data["chips"]}


def test_one_link_counts_a_run_and_its_replays_once_and_keeps_the_other_filters(
    tenant: Any, runs: dict[str, Run]
) -> None:
    client = member_of(tenant)
    found = {}
    for query in ("?started=1h&p=1", "?replays=only"):
        page = client.get(f"{reverse(URL)}{query}")
        link = page.context["quick_filter"]
        for words in ("Count a run and its replays once</a>", "Replays are counted too"):
            assert (words in page.content.decode()) == (link is not None)
        found[query] = link and link["query"]
    assert found == {"?started=1h&p=1": "?started=1h&replays=deciding", "?replays=only": None}


def test_counts_end_at_the_limit(tenant: Any, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_list, "MOST_COUNTED", 0)
    counts = shown_status_counts(Run.objects.filter(tenant=tenant), tenant_id=tenant.id)
    assert counts is not None
    assert set(counts.numbers.values()) == {0, 1}


def test_chips_of_a_search_with_many_runs_show_minimums(
    tenant: Any, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (run_list, run_chips):
        monkeypatch.setattr(module, "MOST_COUNTED", 2)
    copies(runs["failed"], 9, temporal_workflow_id="'found-' || n", correlation_key_folded="'pay-3'")
    page = member_of(tenant).get(f"{reverse(URL)}?q=pay-3")
    chips = {chip.word: chip.number for chip in page.context["chips"]}
    assert (chips["All"], chips["Failed"], chips["Succeeded"]) == ("2+", "2+", "")
    assert {"Starting", "Terminated", "Timed out"} <= chips.keys(), "runs that were not counted may have this status"
    exact = member_of(tenant).get(f"{reverse(URL)}?q=pay-1")
    assert [chip.number for chip in exact.context["chips"] if chip.count] == ["1", "1"]


def test_count_that_takes_too_long_leaves_the_numbers_out(
    tenant: Any, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_list, "runs_of_shown_status", lambda rows, **_: rows.extra(where=["pg_sleep(9) IS NULL"]))
    monkeypatch.setattr(run_list, "COUNT_SECONDS", 0.05)
    response = member_of(tenant).get(reverse(URL))
    shown = response.content.decode()
    assert (response.status_code, "the list shows no numbers" in shown, "PAY-1" in shown) == (200, True, True)


@pytest.mark.parametrize("name", ["run", "event", "command"])
def test_search_that_takes_too_long_is_an_error_at_the_search(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    client = member_of(tenant)
    receive(tenant)
    make_run(tenant)
    Command.objects.create(tenant=tenant, action="replay", target_type="run", actor_type="user", actor_name="x")
    query_of = BaseModelAdmin.get_queryset
    monkeypatch.setattr(list_filters, "LIST_SECONDS", 0.05)
    monkeypatch.setattr(ledger_list, "LIST_SECONDS", 0.05)
    commands = Command.objects.extra(where=["pg_sleep(9) IS NULL"])
    monkeypatch.setattr(ledger_search, "keyset_page", lambda rows, **_: KeysetPage(tuple(commands)))
    monkeypatch.setattr(
        BaseModelAdmin,
        "get_queryset",
        lambda self, request: query_of(self, request).extra(where=["pg_sleep(9) IS NULL"]),
    )
    response = client.get(reverse(f"admin:workflows_{name}_changelist"))
    assert (response.status_code, "was stopped" in response.content.decode()) == (400, True)


def test_orders_and_filters_use_indexes_as_the_role_of_the_application(tenant: Any) -> None:
    run = make_run(tenant, correlation_key="TEMPLATE", state="", error_code="")
    failed = "n % 50 = 0"
    copies(
        run, 20_000, id="md5('listed-' || n)::uuid", temporal_workflow_id="'listed-' || n",
        created_at="now() - n * interval '1 s'",
        correlation_key="'PAY-' || n", correlation_key_folded="'pay-' || n", definition_key="'flow-' || n % 500",
        status=f"CASE WHEN {failed} THEN 'FAILED' WHEN n % 50 = 1 THEN 'WAITING' ELSE 'SUCCEEDED' END",
        error=f"""CASE WHEN {failed} THEN json_build_object('nodePath', 'root.steps[' || n % 7000 || ']') END""",
        error_code=f"CASE WHEN {failed} THEN 'E-' || n % 7000 ELSE '' END",
        state="CASE WHEN n % 50 = 2 THEN 'S-' || n % 700 ELSE '' END",
        current_step_path="'root.steps[' || n % 9 || ']'",
    )  # fmt: skip
    # PostgreSQL analyses the tables by itself, and then reads a small table without an index.
    wait = open_wait(tenant, run=run, key="", name="", kind="retry", deadline_at=timezone.now())
    task = HumanTask.objects.create(tenant=tenant, run=run, step_path="s", task_type=DECIDE_OUTCOME, title="Decide")
    copies(wait, 5_000, status="CASE WHEN n % 50 = 0 THEN 'WAITING' ELSE 'RESOLVED' END")
    copies(task, 5_000, status="CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'completed' END")
    rows = Run.objects.filter(tenant=tenant)
    for column, names in ORDERS.items():
        sorted_rows = rows.filter(PARTIAL_ORDERS[column][1]) if column in PARTIAL_ORDERS else rows
        for order in (names, [run_changelist._reversed(name) for name in names]):
            nodes = plan_of(tenant, sorted_rows.order_by(*order)[:50])
            assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], order
            assert not [node for node in nodes if node["Node Type"] == "Sort"], order
    for query, column in (
        ("definition=flow-77", "definition_key)"), ("state=S-2", "state)"),
        ("error_code=E-50", "error_code)"), ("failed_step=root.steps[50]", "failed_step_path ="),
        ("current_step=root.steps[3]", "current_step_path)"), ("status__exact=FAILED", "status)"),
        ("status__exact=retrying", "tenant_id"), ("status__exact=unknown", "tenant_id"),
        ("started=15m", "created_at >="),
    ):  # fmt: skip
        form = RunListForm(QueryDict(query))
        assert form.is_valid()
        found = form.select(rows, tenant_id=tenant.id).order_by("-created_at", "-id")[:50]
        assert column in conditions_of(tenant, found), query


def test_counts_read_no_more_runs_than_they_count(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most runs of other tenants wait, and only one of this tenant. PostgreSQL must know both shares."""
    monkeypatch.setattr(run_list, "MOST_COUNTED", 10)
    others = make_run(make_tenant())
    copies(others, 60_000, temporal_workflow_id="'other-' || n", created_at="now() - n * interval '1 s'")
    copies(
        make_run(tenant), 20_000, temporal_workflow_id="'counted-' || n", created_at="now() - n * interval '1 s'",
        correlation_key_folded="'pay-' || n", definition_key="'flow-' || n % 500",
        status="CASE WHEN n % 50 = 0 THEN 'FAILED' WHEN n % 50 = 1 THEN 'CANCELED' ELSE 'SUCCEEDED' END",
    )  # fmt: skip
    for query, most in (("definition=flow-77", 15), ("q=pay-1", 30), ("", 60)):
        assert 10 < rows_read(tenant, partial(shown_counts, query, tenant), "workflow_runs") <= most, query


def test_counts_read_the_index_of_statuses_if_the_statistics_are_wrong(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics name the most common pairs of tenant and status. With many tenants, this tenant's are left out.

    PostgreSQL then assumes that most of its runs wait, because most runs of the table do.
    """
    monkeypatch.setattr(run_list, "MOST_COUNTED", 10)
    run = make_run(tenant, status="SUCCEEDED")
    copies(run, 6_000, temporal_workflow_id="'own-' || n")
    try:
        copies(
            run, 24_000, temporal_workflow_id="'crowd-' || n",
            tenant_id="md5('tenant-' || CASE WHEN n > 4000 THEN 0 ELSE 1 + n % 200 END)::uuid",
            status="CASE WHEN n > 4000 OR n % 3 = 0 THEN 'WAITING' ELSE 'FAILED' END",
        )  # fmt: skip
        indexes = indexes_read(tenant, partial(shown_counts, "", tenant))
    finally:
        execute_as_owner(
            "DELETE FROM workflow_runs WHERE temporal_workflow_id LIKE 'crowd-%'", "VACUUM ANALYZE workflow_runs"
        )
    runs_read = [name for name in indexes if name.startswith("workflow_runs_")]
    # The few runs that are starting also have an index of their own, over all tenants.
    of_status = {"workflow_runs_by_status", "workflow_runs_starting"}
    assert sum(name in of_status for name in runs_read) == len(RunStatus), runs_read
    # The runs that are retrying or unknown are read by their ids, after their waits and tasks.
    assert set(runs_read) <= of_status | {"workflow_runs_of_tenant", "workflow_runs_pkey"}


@pytest.mark.parametrize("order", ["what", "state", "ended", "-took"])
def test_counts_of_an_order_that_leaves_out_runs_read_few_runs(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Few runs have a state or an error code, and many have not ended. Their statuses need no look at the others."""
    for module in (run_list, run_chips):
        monkeypatch.setattr(module, "MOST_COUNTED", 10)
    copies(
        make_run(tenant), 20_000, temporal_workflow_id="'counted-' || n", created_at="now() - n * interval '1 s'",
        status="CASE WHEN n % 2 = 0 THEN 'RUNNING' WHEN n % 50 = 1 THEN 'FAILED' ELSE 'SUCCEEDED' END",
        error_code="CASE WHEN n % 50 = 1 THEN 'E1' ELSE '' END", state="CASE WHEN n % 50 = 1 THEN 'S1' ELSE '' END",
        ended_at="CASE WHEN n % 2 = 1 THEN now() + n * interval '1 s' END",
    )  # fmt: skip
    client, pages = member_of(tenant), list[Any]()
    with no_sorts():
        read = rows_read(tenant, lambda: pages.append(client.get(f"{reverse(URL)}?o={order}")), "workflow_runs")
    assert read <= 400  # the counts, and the rows of the page with those that explain them
    numbers = {chip.word: chip.number for chip in pages[0].context["chips"]}
    assert numbers["Failed"] == "10+"
    assert numbers["Running"] == ("" if order in ("what", "state") else "0")


def shown_counts(query: str, tenant: Any) -> None:
    form = RunListForm(QueryDict(query))
    assert form.is_valid()
    with tenant_scope(tenant.id):
        found = form.select(Run.objects.filter(tenant=tenant), tenant_id=tenant.id, leave_out=["q"])
        ranges = runs_by_range(found, form.search_ranges(tenant.id)) if "q" in form.data else []
        assert shown_status_counts(found, tenant_id=tenant.id, ranges=ranges)


def test_page_needs_few_statements_and_bytes(tenant: Any, runs: dict[str, Run]) -> None:
    client = member_of(tenant)
    for status in ("CANCELED", "SUCCEEDED", "FAILED"):
        make_run(tenant, status=status, replay_of=runs["plain"], error=ERROR)
    copies(runs["failed"], 60, temporal_workflow_id="'many-' || n")
    client.get(reverse(URL))
    with sent_statements() as statements:
        response = client.get(f"{reverse(URL)}?q=pay")
    assert len(statements) <= MOST_STATEMENTS, statements
    assert len(gzip.compress(response.content)) < MOST_BYTES


def test_page_loads_no_script_that_it_does_not_use(tenant: Any) -> None:
    shown = member_of(tenant).get(reverse(URL)).content.decode()
    loaded = set(re.findall(r'<script src="/static/([^"]*)"', shown))
    assert not [name for name in loaded if "chart" in name or "htmx" in name or "sort" in name]
    assert "portal/run_list.js" in loaded


def test_hostile_values_stay_text(tenant: Any) -> None:
    step = {"step_path": "root.steps[1]", "step_id": "s", "step_type": "action", "status": "FAILED"}
    error = {**ERROR, "message": HOSTILE, "code": HOSTILE}
    run = make_run(
        tenant, status="FAILED", correlation_key=HOSTILE + "k" * 900, state=HOSTILE, error=error, error_code=HOSTILE,
        definition_key=HOSTILE, trigger_metadata={"eventName": HOSTILE},
    )  # fmt: skip
    with projection_writer("test"):
        RunStep.objects.create(tenant=tenant, run=run, name=HOSTILE, started_at=timezone.now(), **step)
    query = {"cols": list(COLUMNS), "state": HOSTILE, "q": HOSTILE, "error_code": HOSTILE}
    shown = member_of(tenant).get(reverse(URL), query).content.decode()
    assert "<script>alert" not in shown
    assert shown.count("&lt;script&gt;alert") > 6
    for text in re.findall(r"[^\n]*\u202e", shown):
        assert "<bdi" in text or 'value="' in text or 'title="' in text or "href=" in text or "aria-label" in text, text


def test_empty_lists_say_what_to_do(tenant: Any) -> None:
    client = member_of(tenant)
    assert "No run has started yet" in client.get(reverse(URL)).content.decode()
    make_run(tenant)
    assert "Remove a filter" in client.get(f"{reverse(URL)}?state=NONE").content.decode()
    assert "compares the beginning of the key" in client.get(f"{reverse(URL)}?q=NONE").content.decode()


def test_viewer_sees_no_actions(tenant: Any) -> None:
    make_run(tenant)
    shown = member_of(tenant, role="viewer").get(reverse(URL)).content.decode()
    assert ("_selected_action" in shown, "Start a run" in shown) == (False, False)


def test_filters_offer_definitions_and_their_steps(tenant: Any) -> None:
    run = make_run(tenant, status="FAILED", error={"nodePath": "root.steps[0]"}, correlation_key="PAY-1")
    client = member_of(tenant)
    form = client.get(reverse(URL)).context["form"]
    assert (run.definition_key, run.definition.name) in form.fields["definition"].widget.choices
    assert "failed_step" not in form.fields
    form = client.get(f"{reverse(URL)}?definition={run.definition_key}").context["form"]
    assert form.fields["current_step"].widget.choices == [("", "Any"), ("root.steps[0]", "s")]
    query = f"?definition={run.definition_key}&failed_step=root.steps[0]"
    shown = client.get(f"{reverse(URL)}{query}")
    assert [token.value for token in shown.context["tokens"]] == [run.definition.name, "s"]
    assert [row.run.id for row in shown.context["rows"]] == [run.id]
    alone = client.get(f"{reverse(URL)}?failed_step=root.steps[0]&definition=")  # links may name only the step
    assert [row.run.id for row in alone.context["rows"]] == [run.id]
    assert client.get(f"{reverse(URL)}?incident=INC-7&definition=gone").status_code == 200
    assert client.get(f"{reverse(URL)}?incident=seven").status_code == 400


def test_many_definitions_are_suggestions(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_filters, "MOST_DEFINITIONS", 0)
    run = make_run(tenant)
    shown = member_of(tenant).get(reverse(URL)).content.decode()
    assert 'list="definitions"' in shown
    assert f'<option value="{run.definition_key}">' in shown
