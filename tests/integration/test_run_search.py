"""The search for runs finds keys by their beginning in any letter case, and always with an index.

Source: docs/reference/screens.md#run-list
"""

import re
import uuid
from functools import partial
from typing import Any

import pytest
from django.urls import reverse

from tests.support.api import Api
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_token
from tests.support.members import member_of
from tests.support.plans import conditions_of, copies, indexes_read, rows_read
from workflows.models import EventDelivery, Run
from workflows.models.fields import FOLDED_LENGTH, short_id
from workflows.projections.transaction import projection_writer
from workflows.selectors.run_search import (
    first_runs_by_term,
    runs_in_ranges,
    runs_of_event,
    runs_with_key,
    search_ranges,
)

pytestmark = pytest.mark.usefixtures("no_dispatcher")

LONG = "Key-" + "x" * FOLDED_LENGTH


def found_by(tenant: Any, term: str) -> Any:
    return runs_in_ranges(Run.objects.filter(tenant=tenant), search_ranges(tenant_id=tenant.id, term=term))


@pytest.mark.parametrize(
    ("key", "term", "is_found"),
    [
        ("PAY-105", "pay-1", True), ("PAY-105", "PAY-105", True), ("PAY-105", " Pay-10 ", True),
        ("PAY-105", "105", True), ("PAY-105", "y-105", True), ("PAY-105", "05", False), ("PAY-105", "10", False),
        ("x" * FOLDED_LENGTH + "-105", "105", False), ("a\u0301-é9", "-É9", True), ("TCK-4471-A", "4471", False),
        ("PAY-105", "pay-1055", False), ("PAY-105", "pay_105", False),
        ("PAY%5", "pay%", True), ("PAY-5", "pay%", False), ("PAY_5", "p_y", False), ("STRASSE-1", "straße", True),
        ("ÉCLAIR", "écl", True), ("a\u202eb", "A\u202e", True), ("<script>", "<SCRIPT", True), ("", "pay", False),
        (LONG + "1", LONG + "1", True), (LONG + "1", LONG, False), (LONG + "1", LONG[:50].lower(), True),
        ("'; DROP TABLE x", "'; drop", True), ("back\\slash", "BACK\\", True),
        ("50%_", "0%_", True), ("\U0010ffff", "\U0010ffff", True),
    ],
)  # fmt: skip
def test_key_is_found_by_its_beginning_or_end_in_any_letter_case(
    tenant: Any, key: str, term: str, is_found: bool
) -> None:
    run = make_run(tenant, correlation_key=key)
    found = found_by(tenant, term)
    assert list(found) == ([run] if is_found else [])


def test_search_finds_ids_wait_keys_event_ids_and_definitions(tenant: Any) -> None:
    run, _other = make_run(tenant), make_run(tenant)
    open_wait(tenant, run=run, key="Wait-1")
    event = receive(tenant, event_id="event-1", payload={})
    EventDelivery.objects.create(tenant=tenant, event=event, kind="wait", run=run, status="matched")
    started = make_run(tenant, event=event, correlation_key="K")
    for term, wanted in (
        (str(run.id), {run}), (run.temporal_workflow_id, {run}), (run.definition_key, {run}), ("Wait-1", {run}),
        ("event-1", {run, started}), (str(uuid.uuid4()), set()), ("k", {started}), (short_id(run.id), {run}),
        (short_id(run.id).replace("-", "").upper(), {run}), (str(run.id)[:-1], {run}), (str(run.id)[:7], set()),
        ("00000000", set()), (str(run.id)[:17] + "g", set()),
    ):  # fmt: skip
        assert set(found_by(tenant, term)) == wanted, term
    assert [row["id"] for row in first_runs_by_term(tenant_id=tenant.id, term=short_id(run.id), number=6)] == [run.id]


def test_first_runs_are_exact_then_by_beginning_then_by_end(tenant: Any) -> None:
    runs = {key: make_run(tenant, correlation_key=key) for key in ("7-105", "105", "105-x", "no", "105-y")}
    waiting = make_run(tenant, correlation_key="waits")
    open_wait(tenant, run=waiting, key="105")
    found = first_runs_by_term(tenant_id=tenant.id, term=" 105 ", number=6)
    assert [row["correlation_key"] for row in found] == ["waits", "105", "105-y", "105-x", "7-105"]
    assert [row["correlation_key"] for row in first_runs_by_term(tenant_id=tenant.id, term="105", number=2)] == [
        "waits",
        "105",
    ]
    by_definition = first_runs_by_term(tenant_id=tenant.id, term=runs["no"].definition_key, number=6)
    assert [row["correlation_key"] for row in by_definition] == ["no"]
    assert first_runs_by_term(tenant_id=tenant.id, term=str(runs["no"].id), number=6)[0]["correlation_key"] == "no"


def test_search_finds_all_runs_of_a_key_that_very_many_waits_have(tenant: Any) -> None:
    run = make_run(tenant)
    wait = open_wait(tenant, run=run, key="Common")
    copies(run, 1_100, id="md5('common-' || n)::uuid", temporal_workflow_id="'common-' || n")
    copies(wait, 1_100, run_id="md5('common-' || n)::uuid")
    found = found_by(tenant, "Common")
    assert found.count() == 1_101


def test_changed_key_changes_its_folded_copy(tenant: Any) -> None:
    run = make_run(tenant, correlation_key="ONE")
    with projection_writer("test"):
        run.correlation_key = "TWO"
        run.save()
    assert Run.objects.get(id=run.id).correlation_key_folded == "two"


def test_searches_use_indexes_as_the_role_of_the_application(tenant: Any) -> None:
    run = make_run(tenant, correlation_key="TEMPLATE")
    wait = open_wait(tenant, run=run, key="TEMPLATE")
    event = receive(tenant, event_id="template", payload={})
    delivery = EventDelivery.objects.create(tenant=tenant, event=event, kind="wait", run=run, status="matched")
    copies(
        run, 20_000, id="md5('run-' || n)::uuid", temporal_workflow_id="'copy-' || n",
        definition_key="'flow-' || n % 500", correlation_key="'PAY-' || n", correlation_key_folded="'pay-' || n",
        created_at="now() - n * interval '1 s'",
    )  # fmt: skip
    copies(wait, 20_000, run_id="md5('run-' || n)::uuid", correlation_key="'WAIT-' || n")
    copies(event, 20_000, id="md5('event-' || n)::uuid", event_id="'copy-' || n")
    copies(delivery, 20_000, event_id="md5('event-' || n)::uuid", run_id="md5('run-' || n)::uuid", wait_id="NULL")
    runs = Run.objects.filter(tenant=tenant)
    for rows, column in (
        (found_by(tenant, "PAY-1234"), "correlation_key_folded)::text >= 'pay-1234'"),
        (found_by(tenant, "1234"), "correlation_key_reversed)::text >= '4321'"),
        (found_by(tenant, "WAIT-7"), "correlation_key_folded)::text >= "),
        (found_by(tenant, "none"), "correlation_key_folded)::text >= "),
        (runs_with_key(runs, tenant_id=tenant.id, key="PAY-77"), "correlation_key)::text = 'PAY-77'"),
        (runs_of_event(runs, tenant_id=tenant.id, event_id="copy-77"), "event_id)::text = 'copy-77'"),
        (found_by(tenant, "0193a1b2-c3d4-7abc"), "(id >= '0193a1b2-c3d4-7abc-"),
        (runs.filter(definition_key="flow-77"), "definition_key)::text = 'flow-77'"),
    ):
        assert column in conditions_of(tenant, rows.order_by("-created_at", "-id")[:51]), column
    for term in ("PAY-1234", "1234", "none", "flow-77", "0193a1b2"):
        first = partial(first_runs_by_term, tenant_id=tenant.id, term=term, number=6)
        assert max(rows_read(tenant, first, table) for table in ("workflow_runs", "workflow_run_waits")) <= 50, term


def test_search_for_a_text_that_is_no_event_id_reads_no_runs_by_events(tenant: Any) -> None:
    """In a join with events, PostgreSQL can read all runs, because it assumes that many of them have the event."""
    make_run(tenant)
    indexes = indexes_read(tenant, lambda: search_ranges(tenant_id=tenant.id, term="none"))
    # The only read of runs is for the workflow id.
    assert len([name for name in indexes if name.startswith("workflow_runs_")]) == 1, indexes


def test_filter_of_the_api_by_key_finds_runs_and_waits(tenant: Any) -> None:
    by_key, by_wait = make_run(tenant, correlation_key="K-1"), make_run(tenant)
    make_run(tenant, correlation_key="K-10")
    open_wait(tenant, run=by_wait, key="K-1")
    found = Api(make_token(tenant)).get("/runs?correlation_key=K-1").json()["results"]
    assert {row["id"] for row in found} == {str(by_key.id), str(by_wait.id)}


def test_list_finds_a_key_by_its_beginning(tenant: Any) -> None:
    run, other = make_run(tenant, correlation_key="PAY-105"), make_run(tenant, correlation_key="PAY-2")
    shown = member_of(tenant).get(f"{reverse('admin:workflows_run_changelist')}?q=pay-1").content.decode()
    assert (str(run.id) in shown, str(other.id) in shown) == (True, False)


def test_list_shows_the_exact_key_first_and_marks_replays(tenant: Any) -> None:
    original = make_run(tenant, correlation_key="PAY-1")
    for number in range(10, 14):
        make_run(tenant, correlation_key=f"PAY-{number}")
    replay = make_run(tenant, correlation_key="PAY-1", replay_of=original)
    client, url = member_of(tenant), reverse("admin:workflows_run_changelist")

    def keys(query: str) -> list[str]:
        return re.findall(r'class="rk"[^>]*><bdi class="clip">([^<]*)', client.get(f"{url}?{query}").content.decode())

    assert keys("q=pay-1") == ["PAY-1", "PAY-1", "PAY-13", "PAY-12", "PAY-11", "PAY-10"]
    assert keys(f"q={original.id}") == ["PAY-1"]
    assert keys("q=pay-1&o=-key")[0] == "PAY-13"
    assert keys("q=y-12") == ["PAY-12"]
    shown = client.get(url).content.decode()
    assert re.search(rf'href="[^"]*{original.id}[^"]*"\s+title="Replay of PAY-1">Replay of <bdi>PAY-1</bdi></a>', shown)
    assert shown.count(">Replay of <bdi>") == 1
    assert str(replay.id) in shown
