"""Pages of long lists begin behind a row: each row is on one page in each order, and no page reads earlier rows."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.events import receive
from tests.support.factories import make_run
from tests.support.list_pages import links_in, pager_is_live
from tests.support.members import member_of
from tests.support.plans import copies, no_sorts, rows_read
from tests.support.problems import add_incident
from workflows.models import BulkJob, Event, Run
from workflows.selectors.keyset import keyset_page, position_text

pytestmark = pytest.mark.usefixtures("no_dispatcher")
EVENTS = reverse("admin:workflows_event_changelist")
RUNS = reverse("admin:workflows_run_changelist")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.admin.base.TenantAdmin.list_per_page", 3)


def pages_of(client: Client, address: str) -> list[Any]:
    """Return all pages of a list, by its links to the next page. Assert that the links back lead to the same rows."""
    pages = [client.get(address)]
    while following := links_in(pages[-1]).get("Next"):
        pages.append(client.get(address.partition("?")[0] + following))
    back = [pages[-1]]
    while previous := links_in(back[0]).get("Previous"):
        back.insert(0, client.get(address.partition("?")[0] + previous))
    assert [ids_in(page) for page in back] == [ids_in(page) for page in pages]
    assert ["First page" in links_in(page) for page in back] == [number > 0 for number in range(len(pages))]
    return pages


def ids_in(page: Any) -> list[Any]:
    return [row.pk for row in page.context["cl"].result_list]


def add_runs(tenant: Any) -> list[Run]:
    """Add runs with few different values, so that each order has ties, and some without a value."""
    first = make_run(tenant, correlation_key="K-0", status="FAILED")
    now = timezone.now()
    for number in range(1, 11):
        ended = None if number % 4 == 0 else now + timedelta(minutes=number % 2)
        make_run(
            tenant, definition_version=first.definition_version, correlation_key=f"K-{number % 3}",
            status=("FAILED", "WAITING", "SUCCEEDED")[number % 3], state=("", "A", "B")[number % 3],
            error_code=("", "E1")[number % 2], created_at=now - timedelta(minutes=number // 4), ended_at=ended,
        )  # fmt: skip
    return list(Run.objects.filter(tenant=tenant))


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "order", ["started", "key", "status", "definition", "trigger", "state", "what", "ended", "took"]
)
@pytest.mark.usefixtures("small_pages")
def test_each_run_is_on_one_page_in_each_order(tenant: Any, order: str, sign: str) -> None:
    runs = add_runs(tenant)
    pages = pages_of(member_of(tenant), f"{RUNS}?o={sign}{order}")
    listed = [run for page in pages for run in page.context["cl"].result_list]
    wanted = {
        "state": lambda run: run.state, "what": lambda run: run.error_code,
        "ended": lambda run: run.ended_at, "took": lambda run: run.ended_at,
    }.get(order, lambda run: True)  # fmt: skip
    assert sorted(run.id for run in listed) == sorted(run.id for run in runs if wanted(run))
    column = {
        "started": "created_at", "key": "correlation_key", "definition": "definition_key", "trigger": "trigger_type",
        "what": "error_code", "ended": "ended_at",
    }.get(order, order)  # fmt: skip
    values = [getattr(run, column) for run in listed]
    assert values == sorted(values, reverse=bool(sign))


@pytest.mark.usefixtures("small_pages")
def test_new_rows_move_no_row_to_another_page(tenant: Any) -> None:
    runs, client = add_runs(tenant), member_of(tenant)
    second = links_in(client.get(f"{RUNS}?definition={runs[0].definition_key}"))["Next"]
    before = ids_in(client.get(RUNS + second))
    assert f"definition={runs[0].definition_key}" in second
    make_run(tenant, definition_version=runs[0].definition_version)
    assert ids_in(client.get(RUNS + second)) == before


@pytest.mark.parametrize("name", ["run", "definition", "incident", "bulkjob"])
def test_links_to_other_pages_change_with_the_rows_of_a_live_list(tenant: Any, name: str) -> None:
    """New rows push others from the page. If its links stayed, no page would have these rows."""
    run = make_run(tenant, status="FAILED", ended_at=timezone.now())
    job = BulkJob(tenant=tenant, action="replay", actor_type="user", actor_id="1", actor_name="a")
    if name == "bulkjob":
        job.save()
    rows: dict[str, Any] = {
        "run": (run, {"temporal_workflow_id": "'w' || n"}),
        "definition": (run.definition, {"key": "'k' || n", "name": "'n' || n"}),
        "incident": (None, {"number": "n + 1", "fingerprint": "'f' || n"}),
        "bulkjob": (job, {}),
    }  # fmt: skip
    row, columns = rows[name]
    copies(row or add_incident(run), 50, **columns)
    page = member_of(tenant).get(reverse(f"admin:workflows_{name}_changelist"))
    assert "Next" in links_in(page)
    assert pager_is_live(page)


@pytest.mark.usefixtures("small_pages")
def test_page_whose_rows_have_left_the_list_leads_to_the_first_page(tenant: Any) -> None:
    for _ in range(11):
        receive(tenant)
    client = member_of(tenant)
    pages = pages_of(client, f"{EVENTS}?event_type=REPLIED")
    last, before = pages[-1].request["QUERY_STRING"], links_in(pages[2])["Previous"]
    kept = ids_in(pages[2])[:2]
    Event.objects.filter(tenant=tenant).exclude(id__in=kept).update(event_type="OTHER")
    for query in (f"?{last}", before):
        shown = client.get(EVENTS + query)
        assert (ids_in(shown), links_in(shown)) == (kept, {})


@pytest.mark.parametrize(
    "at",
    [
        "x", "%00", "W10", position_text(["2026-01-01T00:00:00", "x"]), position_text([None, None]),
        position_text(["2026-01-01T00:00:00+00:00", None]), position_text(["0001-01-01T00:00:00+14:00", "a"]),
        position_text(["2026-01-01", "00000000-0000-0000-0000-000000000000"]), position_text(["\x00", "\x00"]),
        position_text([["a"], {"b": 1}]), "9" * 9000, "2026-01-01T00:00:00+00:00_00000000",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["run", "event", "eventdelivery", "definition", "schedule", "command", "bulkjob"])
def test_position_that_cannot_be_read_leads_to_the_first_page(tenant: Any, name: str, at: str) -> None:
    make_run(tenant)
    page = member_of(tenant).get(reverse(f"admin:workflows_{name}_changelist"), {"at": at})
    assert page.status_code == 200
    assert links_in(page) == {}


@pytest.mark.parametrize("text", ["\x00", "\ud800", "K" * 9_000])
def test_text_that_no_key_can_have_is_no_position(tenant: Any, text: str) -> None:
    run = make_run(tenant)
    page = member_of(tenant).get(RUNS, {"o": "key", "at": position_text([text, run.id])})
    assert (page.status_code, ids_in(page), links_in(page)) == (200, [run.id], {})


def test_rows_without_a_value_come_where_postgresql_sorts_them(tenant: Any) -> None:
    for number in range(5):
        make_run(tenant, queued_until=None if number % 2 else timezone.now())
    rows = Run.objects.filter(tenant=tenant)
    for order in (("queued_until",), ("-queued_until",), (F("queued_until").asc(nulls_last=True), "-id")):
        ordered, found, at = list(rows.order_by(*order, "id")), list[Any](), ""
        while True:
            page = keyset_page(rows.order_by(*order), at=at, size=2)
            found += page.rows
            if not (at := page.following):
                break
        assert [run.queued_until for run in found] == [run.queued_until for run in ordered]
        assert {run.id for run in found} == {run.id for run in ordered}
    with pytest.raises(ValueError, match="in the order of PostgreSQL"):
        keyset_page(rows.order_by(F("queued_until").asc(nulls_first=True)))


@pytest.mark.parametrize(
    "query",
    ["", "status__exact=FAILED", "o=key", "o=status", "o=-status", "o=definition", "o=trigger", "o=-ended", "o=took"],
)
def test_deep_page_of_the_run_list_reads_one_page_of_rows(tenant: Any, query: str) -> None:
    run = make_run(tenant)
    copies(
        run, 5_000, temporal_workflow_id="'w' || n", created_at="now() - n * interval '1 s'",
        ended_at="now() + n * interval '1 s'",
        correlation_key="'K-' || lpad(n::text, 5, '0')", correlation_key_folded="'k-' || lpad(n::text, 5, '0')",
        status="CASE WHEN n % 3 = 0 THEN 'SUCCEEDED' ELSE 'FAILED' END",
    )  # fmt: skip
    client = member_of(tenant)
    rows = client.get(f"{RUNS}?{query}").context["cl"].queryset
    position = ""
    for _ in range(3):  # 3,000 rows deep
        position = keyset_page(rows, at=position, size=1_000).following
    pages: list[Any] = []
    with no_sorts():
        read = rows_read(tenant, lambda: pages.append(keyset_page(rows, at=position)), "workflow_runs")
    assert len(pages[0].rows) == 50
    assert read <= 51 + 51 + 10  # the rows before and after a change of the first value, and rows of subqueries
