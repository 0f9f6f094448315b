"""Map of a definition version: its counts are links to exactly the runs that they count.

Source: docs/reference/screens.md#map
"""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import expr, make_run, make_tenant, publish
from tests.support.graph_documents import branch, loop, work
from tests.support.members import member_of
from tests.support.statements import sent_statements
from tests.support.step_rows import count_all_steps, fail_run, record_steps
from workflows.admin import live
from workflows.models import Run, RunWait
from workflows.projections.transaction import projection_writer

CHECK, YES, NO = "root.steps[0]", "root.steps[0].then.steps[0]", "root.steps[0].else.steps[0]"
EACH, ITEM = "root.steps[1]", "root.steps[1].body.steps[0]"


@pytest.fixture
def version(tenant: Any) -> Any:
    check = {**branch("check", [work("yes", name="Reserve")], [work("no")]), "condition": expr("payload.n > 1")}
    return publish(tenant, check, loop("each", work("item")), work("end"))


@pytest.fixture
def viewer(tenant: Any) -> Client:
    return member_of(tenant, role="viewer")


def page_of(version: Any, query: str = "") -> str:
    return f"{reverse('admin:workflows_definition_change', args=[version.definition_id])}{query}"


def shown(client: Client, version: Any, query: str = "") -> str:
    response = client.get(page_of(version, query))
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_each_count_opens_exactly_its_runs(tenant: Any, version: Any, viewer: Client, zone: str) -> None:
    viewer.cookies["pointsman_zone"] = zone
    failed = [make_run(tenant, definition_version=version, correlation_key=f"FAILED-{n}") for n in range(2)]
    for run in failed:
        record_steps(run, (CHECK, "SUCCEEDED", {"branch": "then"}), (YES, "FAILED", {}))
        fail_run(run, YES)
    replay = make_run(tenant, definition_version=version, replay_of=failed[0], correlation_key="REPLAY")
    fail_run(replay, YES)
    good = make_run(tenant, definition_version=version)
    record_steps(good, (CHECK, "SUCCEEDED", {"branch": "else"}), status="SUCCEEDED", ended_at=timezone.now())
    before = {"created_at": timezone.now() - timedelta(days=3), "correlation_key": "BEFORE"}
    fail_run(make_run(tenant, definition_version=version, **before), YES)
    retrying = make_run(
        tenant, status="RUNNING", definition_version=version, current_step_path=YES, correlation_key="RETRYING"
    )
    with projection_writer("test"):
        RunWait.objects.create(
            tenant=tenant, run=retrying, kind="retry", status="WAITING", step_path=YES, opened_at=timezone.now()
        )
    make_run(tenant, definition_version=version, current_step_path=YES, correlation_key="OPEN")
    count_all_steps(tenant)

    page = shown(viewer, version)
    assert "2 of 3 closed runs of version 1 failed at one step" in " ".join(page.split())
    assert ">then 67 % (2)<" in page
    assert ">else 33 % (1)<" in page
    for count, keys in (
        ('\\s+aria-label="Reserve: 2 failed"', {"FAILED-0", "FAILED-1"}),
        ('\\s+aria-label="Reserve: 1 retrying"', {"RETRYING"}),
        ('\\s+aria-label="Reserve: 2 open"', {"RETRYING", "OPEN"}),
        (">v1 2</a>", {"RETRYING", "OPEN"}),
    ):
        address = re.search(rf'href="([^"]+)"{count}', page)
        assert address, count
        listed = viewer.get(unescape(address[1]))
        assert listed.status_code == 200, address[1]
        known = ("FAILED-0", "FAILED-1", "REPLAY", "BEFORE", "RETRYING", "OPEN")
        assert {key for key in known if f">{key}<" in listed.content.decode()} == keys
    assert "3 of 4 closed runs" in " ".join(shown(viewer, version, "?period=7d").split())


def test_steps_in_a_loop_are_counted_as_times(tenant: Any, version: Any, viewer: Client) -> None:
    run = make_run(tenant, definition_version=version)
    record_steps(run, *((ITEM, "SUCCEEDED", {"iteration": str(n), "seconds": 3}) for n in range(1200)))
    count_all_steps(tenant)
    page = shown(viewer, version)
    assert 'aria-label="item, 1,200 times, p95 3.2 s, p50 3.2 s"' in page


def test_map_says_up_to_when_it_has_counted(tenant: Any, version: Any, viewer: Client) -> None:
    assert "All runs are counted" in shown(viewer, version)
    ended: dict[str, Any] = {"status": "SUCCEEDED", "ended_at": timezone.now()}
    for claim in ("ended", "failed at a step"):
        record_steps(make_run(tenant, definition_version=version), (CHECK, "SUCCEEDED", {}), **ended)
        page = " ".join(re.sub("<[^>]*>", " ", shown(viewer, version)).split())
        assert "Counting continues" in page
        assert re.search(rf"Up to \d\d:\d\d ?, no run of version 1 {claim}. Later results are not counted yet.", page)
        assert f"{claim} in this period" not in page
        count_all_steps(tenant)
        page = " ".join(re.sub("<[^>]*>", " ", shown(viewer, version)).split())
        assert "All runs are counted" in page
        assert "No run of version 1 failed at a step in this period. Replays are not counted." in page


def test_map_shows_the_chosen_version_and_ignores_an_unreadable_address(
    tenant: Any, version: Any, viewer: Client
) -> None:
    publish(tenant, work("other", name="Another step"))
    assert "Another step" in shown(viewer, version)
    assert "Reserve" in shown(viewer, version, "?version=1&heat=time&period=1h")
    for query in ("?version=99", "?version=x", "?version=" + "9" * 5000, "?period=%00&heat=%E2%80%AE", "?tab=nothing"):
        assert "Map of version 2" in shown(viewer, version, query)


def test_all_versions_are_added_up_by_the_id_of_the_step(tenant: Any, version: Any, viewer: Client) -> None:
    """In the new version, the step `end` has another path, the path of `yes` is unchanged, and `item` is missing."""
    old = make_run(tenant, definition_version=version, correlation_key="OLD")
    record_steps(old, (ITEM, "SUCCEEDED", {"iteration": "0"}), (YES, "FAILED", {}))
    fail_run(old, YES)
    fail_run(make_run(tenant, definition_version=version), "root.steps[2]")
    make_run(tenant, definition_version=version, current_step_path="root.steps[2]")
    check = {**branch("check", [work("yes", name="Reserve")], [work("no")]), "condition": expr("payload.n > 1")}
    newer = publish(tenant, check, work("end", name="The end"))
    fail_run(make_run(tenant, definition_version=newer, correlation_key="NEW"), YES)
    make_run(tenant, definition_version=newer, current_step_path="root.steps[1]")
    count_all_steps(tenant)

    page = shown(viewer, newer, "?version=all")
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "Map of all versions" in text
    assert "2 of 3 closed runs of all versions failed at one step" in text
    address = re.search(r'href="([^"]+)"\s+aria-label="Reserve: 2 failed"', page)
    assert address
    listed = viewer.get(unescape(address[1])).content.decode()
    assert {key for key in ("OLD", "NEW") if f">{key}<" in listed} == {"OLD", "NEW"}
    assert "The end 2 0 1" in text, "the numbers of the moved step are added up"
    assert not re.search(r'href="[^"]+"\s+aria-label="The end: ', page), "a list by path would have other runs"
    assert ">item<" not in page


def test_map_is_live_and_sent_again_only_after_a_change(
    tenant: Any, version: Any, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "age_of", lambda _: 0)

    def tag() -> str:
        found = re.search(r'id="map-live"[^>]* data-version="([^"]+)"', shown(viewer, version))
        assert found
        return found[1]

    def status(shown_tag: str) -> int:
        return viewer.get(page_of(version), headers={"If-None-Match": f'"{shown_tag}"'}).status_code

    first = tag()
    assert status(first) == 304
    record_steps(make_run(tenant, definition_version=version), (CHECK, "SUCCEEDED", {}))
    assert status(first) == 200
    second = tag()
    assert status(second) == 304
    count_all_steps(tenant)
    assert status(second) == 200, "the counters have changed"


def test_page_needs_few_statements_for_any_number_of_runs(tenant: Any, version: Any, viewer: Client) -> None:
    for _ in range(3):
        run = make_run(tenant, definition_version=version)
        record_steps(run, (CHECK, "SUCCEEDED", {"branch": "then"}))
        fail_run(run, YES)
    count_all_steps(tenant)
    viewer.get(page_of(version))
    for query in ("", "?version=all", "?version=1", "?tab=starts"):
        with sent_statements() as statements:
            assert viewer.get(page_of(version, query)).status_code == 200
        assert len(statements) <= 12, (query, "\n".join(statements))


def test_no_run_of_another_tenant_is_counted(tenant: Any, version: Any) -> None:
    fail_run(make_run(tenant, definition_version=version), YES)
    count_all_steps(tenant)
    assert Run.objects.filter(tenant=tenant).count() == 1
    assert member_of(make_tenant()).get(page_of(version)).status_code == 404
