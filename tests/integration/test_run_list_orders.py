"""The run list: each shown column has an order, and rare runs are found without reading all runs of the tenant.

Source: docs/reference/screens.md#run-list
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_run
from tests.support.members import member_of
from tests.support.plans import copies, rows_read
from workflows.admin import run_changelist
from workflows.admin.run_changelist import COLUMNS, ORDERS, PARTIAL_ORDERS
from workflows.admin.run_filters import RunListForm
from workflows.models import Run
from workflows.selectors import run_list

pytestmark = pytest.mark.usefixtures("no_dispatcher")

URL = "admin:workflows_run_changelist"
MANY, PAGE, MOST_READ = 20_000, 50, 200


def test_each_column_that_can_be_shown_has_an_order() -> None:
    assert set(COLUMNS) - set(ORDERS) == set()


@pytest.mark.parametrize(
    ("order", "wanted", "left_out"),
    [
        ("took", ["SHORT", "LONG"], "Took"), ("-took", ["LONG", "SHORT"], "Took"),
        ("ended", ["LONG", "SHORT"], "Ended"),
        ("what", ["LONG", "SHORT"], "Error code"), ("state", ["SHORT", "OPEN"], "State"),
        ("trigger", ["OPEN", "SHORT", "LONG"], ""),
    ],
)  # fmt: skip
def test_list_is_sorted_by_each_column_and_says_who_is_left_out(
    tenant: Any, order: str, wanted: list[str], left_out: str
) -> None:
    now, hour = timezone.now(), timedelta(hours=1)
    failed = {"status": "FAILED", "trigger_type": "manual"}
    make_run(
        tenant, correlation_key="LONG", created_at=now - 9 * hour, ended_at=now - 2 * hour, error_code="A", **failed
    )
    make_run(
        tenant, correlation_key="SHORT", created_at=now - 3 * hour, started_at=now - 2 * hour, ended_at=now - hour,
        error_code="B", state="EARLY", **failed,
    )  # fmt: skip
    make_run(tenant, correlation_key="OPEN", state="LATE", trigger_type="event")
    client = member_of(tenant)
    page = client.get(f"{reverse(URL)}?o={order}&{'&'.join(f'cols={name}' for name in COLUMNS)}")
    text = page.content.decode()
    assert [row.run.correlation_key for row in page.context["rows"]] == wanted
    assert page.context["chips"][0].count == len(wanted)
    assert (f"Runs without a value for <bdi>{left_out}</bdi> are left out" in text) == bool(left_out)
    assert text.count('aria-sort="') == 1
    assert all(f"o={name}" in text or f"o=-{name}" in text for name in COLUMNS)


@pytest.fixture
def many(tenant: Any) -> Any:
    """Return a tenant with many runs without a key, without an error and of one trigger, definition and version.

    Few of them, the oldest ones, are special.
    """
    run = make_run(tenant, definition_key="flow", trigger_type="event")
    is_rare = f"n > {MANY - 20}"
    copies(
        run, MANY, id="md5('many-' || n)::uuid", temporal_workflow_id="'many-' || n",
        created_at="now() - n * interval '1 s'", ended_at="now() + (n % 977) * interval '1 s'",
        correlation_key_folded="''", status="'SUCCEEDED'",
        state="CASE WHEN n % 9 = 0 THEN 'S-' || n % 700 ELSE '' END",
        trigger_type=f"CASE WHEN {is_rare} THEN 'schedule' ELSE 'event' END",
        version=f"CASE WHEN {is_rare} THEN 1 ELSE 2 END",
        error_category=f"CASE WHEN {is_rare} THEN 'ACTION' WHEN n % 3 = 0 THEN 'ENGINE' ELSE '' END",
        error_code="CASE WHEN n % 3 = 0 THEN 'E-' || n % 700 ELSE '' END",
        replay_of_id=f"CASE WHEN {is_rare} THEN md5('many-' || n - 500)::uuid END",
    )  # fmt: skip
    return tenant


def test_each_order_and_each_filter_for_rare_runs_reads_few_runs(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Run.objects.filter(tenant=many)

    def page(query: str, names: Sequence[str] = ("-created_at", "-id")) -> list[Run]:
        form = RunListForm(QueryDict(query))
        assert form.is_valid()
        return list(form.select(rows, tenant_id=many.id).order_by(*names)[:PAGE])

    def sorted_page(column: str, names: Sequence[str]) -> list[Run]:
        found = rows.filter(PARTIAL_ORDERS[column][1]) if column in PARTIAL_ORDERS else rows
        return list(found.order_by(*names)[:PAGE])

    read = {}
    for column, names in ORDERS.items():
        for order in (names, [run_changelist._reversed(name) for name in names]):
            read[str(order)] = rows_read(many, partial(sorted_page, column, order), "workflow_runs")
    for query in (
        "replays=replayed", "replays=only", "replays=newest", "replays=never", "replays=deciding",
        "trigger_type__exact=schedule", "definition=flow&version=1", "error_category=ACTION",
    ):  # fmt: skip
        read[query] = rows_read(many, partial(page, query), "workflow_runs")
    assert {name: number for name, number in read.items() if number > MOST_READ} == {}
    assert len(page("replays=replayed")) == 20
    monkeypatch.setattr(run_list, "MOST_REPLAYED", 3)
    assert len(page("replays=replayed")) == 20
