"""The run page is right at any size: failed step, current step, open wait, counts and the pages of long lists.

Source: docs/reference/screens.md#run-page
"""

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.events import open_wait
from tests.support.factories import make_run, publish
from tests.support.long_runs import insert_rows, looping_run
from tests.support.members import member_of
from tests.support.plans import copies
from tests.support.statements import sent_statements
from workflows.models import DefinitionVersion, Run, RunStep
from workflows.projections.transaction import projection_writer

pytestmark = pytest.mark.usefixtures("no_dispatcher")
MAX_STATEMENTS, MAX_BYTES = 12, 250_000


def shown(run: Run, query: str = "", role: str = "operator") -> str:
    address = reverse("admin:workflows_run_change", args=[run.id])
    return member_of(run.tenant, role=role).get(f"{address}?{query}").content.decode()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page[page.index('id="run-live"') :]).split())


def test_open_wait_is_shown_among_520_waits_and_the_list_has_pages(tenant: Any) -> None:
    wait = open_wait(tenant, key="THE-OPEN-ONE")
    old = {"status": "'RESOLVED'", "opened_at": "opened_at - n * interval '1 minute'", "correlation_key": "'OLD-' || n"}
    insert_rows(wait, 519, **old)
    page = text_of(shown(wait.run))
    assert "Waiting for the event REPLIED with the key THE-OPEN-ONE" in page
    address, client = reverse("admin:workflows_run_change", args=[wait.run.id]), member_of(tenant)
    query, keys = "?tab=events", []
    while query:
        events = client.get(address + query).content.decode()
        assert "520 opened by this run" in text_of(events)
        keys += re.findall(r"<bdi>(OLD-\d+|THE-OPEN-ONE)</bdi>", events[events.index('id="h-w"') :])
        following = re.search(r'href="(\?tab=events&amp;waits=[^"]+)" rel="next"', events)
        query = following.group(1).replace("&amp;", "&") if following else ""
    assert keys == ["THE-OPEN-ONE", *(f"OLD-{number}" for number in range(1, 520))]


def test_failed_step_and_counts_are_right_when_the_last_of_1100_steps_fails(tenant: Any) -> None:
    run = looping_run(tenant, items=1_098, fails=True)  # 1,098 items, the loop and the last step
    page = text_of(shown(run))
    assert "“The last step” failed." in page
    assert "LAST_FAILED : the last step cannot end" in page
    assert "1100 ran: 1099 ok, 1 failed" in page
    assert "Steps 1100" in page
    panel = page[page.index("Attempt") if "Attempt" in page else page.index("The last step") :]
    assert "root.steps[1]" in panel


def test_run_of_10000_steps_needs_few_statements_and_bytes(tenant: Any) -> None:
    run = looping_run(tenant, items=10_000, failed_every=7, fails=True)
    client, address = member_of(tenant), reverse("admin:workflows_run_change", args=[run.id])
    client.get(address)  # the first request reads settings of the session
    for query in ("", "?step=root.steps%5B0%5D.body.steps%5B0%5D&iteration=4999", "?tab=audit"):
        with sent_statements() as statements:
            response = client.get(address + query)
        assert len(statements) <= MAX_STATEMENTS, "\n".join(statements)
        assert len(response.content) <= MAX_BYTES
    assert "Item 9996 of 10000" in text_of(shown(run)), "the newest item with an error is shown first"
    page = text_of(shown(run, "step=root.steps%5B0%5D.body.steps%5B0%5D&iteration=6&rows=failed"))
    assert "10000: 8572 ok, 1428 caught" in page
    assert "1 of 1428, item 7" in page
    assert "ITEM_BAD" in page


@pytest.mark.parametrize("query", ["iteration=x", "iteration=99999999999999999999", "iteration=-1", "step=nowhere",
                                   "attempt=x", "fold=x", "rows=x", "tab=x", "step=&iteration=1.2.3"])  # fmt: skip
def test_unreadable_selection_shows_the_default(tenant: Any, query: str) -> None:
    run = looping_run(tenant, items=3, fails=True)
    assert "root.steps[1]" in text_of(shown(run, query))


@pytest.mark.parametrize("tab", ["steps", "graph"])
def test_field_of_a_loop_shows_the_item_with_this_number(tenant: Any, tab: str) -> None:
    run = looping_run(tenant, items=3, fails=True)
    client, address = member_of(tenant), reverse("admin:workflows_run_change", args=[run.id])
    loop = f"tab={tab}&step=root.steps%5B0%5D&loop=root.steps%5B0%5D&rows=all&iteration=0"
    response = client.get(f"{address}?{loop}&item=+3")
    assert response.status_code == 302
    followed = text_of(client.get(address + response.url).content.decode())
    assert "Item 3 of 3" in followed
    assert ("iteration=2" in response.url, "item=" in response.url, f"tab={tab}" in response.url) == (True, False, True)
    for wrong in ("0", "4", "-1", "x", "1.5", "", "9" * 30, "²"):
        page = client.get(address, dict(parse_qsl(loop)) | {"item": wrong})
        assert page.status_code == 200, wrong
        text = text_of(page.content.decode())
        assert "Type a whole number from 1 to 3." in text, wrong
        assert "Item 1 of 3" in text, wrong
    assert "Type a whole number" not in shown(run, "loop=nowhere&item=9")


def test_lists_ignore_a_position_that_cannot_be_read(tenant: Any) -> None:
    wait = open_wait(tenant)
    for position in ("x", "2026-01-01_x", "2026-01-01T00:00:00_00000000-0000-0000-0000-000000000000", "_"):
        assert "REPLIED" in shown(wait.run, f"tab=events&waits={position}")


def test_children_of_a_loop_are_listed_in_the_order_of_their_items(tenant: Any) -> None:
    call = {"id": "call", "name": "Call <it>", "type": "control.callWorkflow", "workflowId": "x", "workflowVersion": 1}
    run = looping_run(tenant, items=0, body=call)
    with projection_writer("test"):
        for number in range(3):
            child = make_run(tenant, parent_run=run, status="SUCCEEDED", correlation_key=f"CHILD-{number}")
            RunStep.objects.create(
                tenant=tenant, run=run, step_path="root.steps[0].body.steps[0]", iteration=str(number), step_id="call",
                step_type="control.callWorkflow", status="SUCCEEDED", child_run=child, projection_seq=number + 10,
                started_at=timezone.now(), ended_at=timezone.now(),
            )  # fmt: skip
    page = text_of(shown(run, "tab=children"))
    assert re.findall(r"Call &lt;it&gt; Each one, item (\d)", page) == ["1", "2", "3"]
    outline = text_of(shown(run, "step=root.steps%5B0%5D.body.steps%5B0%5D&iteration=1"))
    assert "Item 2 of 3" in outline
    assert "child run" in outline


def test_children_begin_with_the_failed_ones_if_they_have_several_pages(tenant: Any) -> None:
    run = make_run(tenant)
    for number, status in enumerate(["SUCCEEDED", "FAILED", "RUNNING"]):
        make_run(tenant, parent_run=run, status=status, correlation_key=f"CHILD-{number}")

    def listed(query: str = "") -> tuple[int, list[str]]:
        page = shown(run, f"tab=children{query}")
        card = page[page.index('aria-labelledby="h-k"') :]
        chosen = re.search(r'aria-current="true">(\w+) <b>([\d,+]+)<', card)
        assert chosen
        return len(re.findall(r"<td data-l=\"Created\">", card)), [chosen[1], chosen[2]]

    assert listed() == (3, ["All", "3"])
    assert listed("&child_status=open") == (1, ["Open", "1"])
    child = Run.objects.filter(parent_run=run, status="SUCCEEDED").get()
    copies(child, 60, temporal_workflow_id="'child-' || n")
    assert listed() == (1, ["Failed", "1"])
    assert listed("&child_status=all") == (50, ["All", "63"])
    assert listed("&child_status=nonsense") == (1, ["Failed", "1"])


def test_history_is_a_share_of_the_limit(tenant: Any) -> None:
    run = make_run(tenant)
    assert "History" not in text_of(shown(run)).partition("Steps")[0]
    compared = {"history_event_count": 1_000, "history_bytes": 30 * 1024 * 1024}
    page = shown(make_run(tenant, **compared))
    assert "History 60 %" in text_of(page)
    assert "1,000 of 51,200 events and 30.0\xa0MB of 50.0\xa0MB" in page


def test_viewer_sees_no_payload_no_curl_and_the_reason_why_not(tenant: Any) -> None:
    run = failed_call(tenant, {"url": "https://bank.test/pay", "headers": {"X-Trace": "CANARY"}, "body": "CANARY"})
    operator, viewer = shown(run), shown(run, role="viewer")
    assert all(text in operator for text in ("CANARY", "Copy as curl", "https://bank.test/pay"))
    assert "http.request v1, idempotent" in viewer
    assert "CANARY" not in viewer
    assert "Copy as curl" not in viewer
    assert "Hidden. Your role may not see payloads of actions." in viewer
    assert "You need the role operator." in viewer
    assert all(text in viewer for text in ("HTTP_404", "received 404"))
    assert "CANARY" not in shown(run, "tab=input", role="viewer")


def test_similar_failures_are_those_of_the_linked_list(tenant: Any) -> None:
    runs = [failed_call(tenant, {}, key=f"ALIKE-{number}") for number in range(3)]
    failed_call(tenant, {}, key="OTHER-CODE", code="HTTP_500")
    replay = failed_call(tenant, {}, key="A-REPLAY", replay_of=runs[0])
    failed_call(tenant, {}, key="A-REPLAY-TOO", replay_of=runs[1])
    for run, number in ((runs[0], 2), (replay, 4)):  # the replay is also compared with the other replay
        found = rf'<a href="([^"]+)">{number} other runs failed in this step with the same error</a>'
        link = re.search(found, shown(run))
        assert link is not None
        listed = member_of(tenant).get(link.group(1).replace("&amp;", "&")).content.decode()
        assert {f"ALIKE-{number}" in listed for number in range(3)} == {True}
        assert "OTHER-CODE" not in listed
        assert ("A-REPLAY" in listed) == (run is replay)


def test_outline_of_1000_steps_shows_those_around_the_selected_step(tenant: Any) -> None:
    steps = [{"id": f"s{number}", "type": "state.set", "config": {"state": "X"}} for number in range(1_000)]
    run = make_run(tenant, definition_version=publish(tenant, *steps), current_step_path="root.steps[700]")
    page = shown(run)
    assert len(re.findall(r'<div class="r ', page)) == 400
    assert all(text in page for text in ("<bdi>s700</bdi>", "500 steps before", "100 steps after"))
    assert "<bdi>s499</bdi>" in shown(run, "step=root.steps%5B499%5D")


def test_rows_of_steps_that_the_version_does_not_have_are_named(tenant: Any) -> None:
    run = looping_run(tenant, items=2)
    with projection_writer("test"):
        RunStep.objects.filter(run=run, step_path="root.steps[1]").update(step_path="root.steps[9]", iteration="odd")
    assert "version 1 does not have them: root.steps[9]" in text_of(shown(run))


def test_replay_on_the_newer_version_is_suggested_and_chosen_in_the_form(tenant: Any) -> None:
    run = failed_call(tenant, {})
    step = {"id": "call", "type": "state.set", "config": {"state": "REPAIRED"}}
    publish(tenant, step)
    page = shown(run)
    link = re.search(r'<a class="btn primary" href="([^"]+)">.*Replay on version 2…', page)
    assert link is not None
    assert "Replay on version 1…" in text_of(page)
    client, plain = member_of(tenant), reverse("admin:workflows_run_replay", args=[run.id])
    for address, chosen in ((link.group(1), "published"), (plain, "published"), (f"{plain}?on=pinned", "pinned")):
        form = client.get(address).content.decode()
        assert re.findall(r'name="on" value="(\w+)" checked', " ".join(form.split())) == [chosen], address
        assert "1, as before, where the run failed" in form
    assert f'href="{plain}?on=pinned"' in page


def test_curl_has_variables_instead_of_secrets(tenant: Any) -> None:
    headers = {"Authorization": {"$secret": "BANK"}, "X-Api-Key": "CANARY", "X-Plain": "it's"}
    value = {"url": "https://bank.test/pay", "method": "POST", "headers": headers, "body": {"a": 1}}
    page = shown(failed_call(tenant, value))
    curl = re.search(r'data-copy="(curl [^"]+)"', page)
    assert curl is not None
    text = curl.group(1).replace("&#x27;", "'").replace("&quot;", '"')
    assert "CANARY" not in page
    assert text.splitlines() == [
        "curl -X POST https://bank.test/pay \\",
        '  -H "Authorization: $AUTHORIZATION" \\',
        '  -H "X-Api-Key: $X_API_KEY" \\',
        "  -H 'X-Plain: it'\"'\"'s' \\",
        "  -H 'Content-Type: application/json' \\",
        "  --data '{\"a\": 1}'",
    ]


def test_hostile_values_are_text(tenant: Any) -> None:
    evil = "<script>alert(1)</script>\u202e"
    value = {"url": f"https://bank.test/{evil}", "body": {evil: [evil, '{"' + evil]}}
    run = failed_call(tenant, value, message=evil, key=evil + "x" * 200)
    for tab in ("steps", "input", "events", "children", "audit", "definition"):
        page = shown(run, f"tab={tab}")
        assert "<script>alert" not in page
        assert "alert(1)" in page


def test_reason_in_the_response_is_in_the_box_the_panel_and_the_list(tenant: Any) -> None:
    run = failed_call(tenant, {"url": "https://x.test"}, message="x.test responded with status 404.")
    listed = member_of(tenant, role="operator").get(reverse("admin:workflows_run_changelist")).content.decode()
    page, told = shown(run), "no payment. x.test responded with status 404."
    assert (page.count(told), told in listed) == (2, True)
    assert ("no payment" in shown(run, role="viewer"), "status 404." in shown(run, role="viewer")) == (False, True)


def failed_call(
    tenant: Any, value: dict[str, Any], *, message: str = "not found", code: str = "HTTP_404", **fields: Any
) -> Run:
    """Create a run whose only step called `http.request` and failed. All such runs of a tenant have one definition."""
    step = {"id": "call", "type": "action.call", "config": {"actionId": "http.request", "version": 1,
                                                            "inputMapping": {"url": "https://x.test"}}}  # fmt: skip
    version = DefinitionVersion.objects.filter(tenant=tenant).first() or publish(tenant, step)
    error = {
        "category": "ActionError", "code": code, "message": message, "nodePath": "root.steps[0]", "at": "",
        "details": {"status": 404, "body": '{"error": "no payment"}'},
    }  # fmt: skip
    now = timezone.now()
    run = make_run(
        tenant, definition_version=version, status="FAILED", error=error, error_category="ActionError", input=value,
        error_code=code, current_step_path="root.steps[0]", started_at=now, ended_at=now,
        correlation_key=fields.pop("key", "K"), **fields,
    )  # fmt: skip
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path="root.steps[0]", step_id="call", step_type="action.call", status="FAILED",
            action_id="http.request", action_version=1, input=value, error=error, started_at=now, ended_at=now,
        )  # fmt: skip
    run.refresh_from_db()
    return run
