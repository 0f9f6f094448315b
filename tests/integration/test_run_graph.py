"""The tab "Graph" of a run: the state of each step, and the way that the run took (docs/reference/screens.md#graph)."""

import re
from html import unescape
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import expr, make_run, publish
from tests.support.graph_documents import attempt, branch, loop, work
from tests.support.long_runs import looping_run
from tests.support.members import member_of
from tests.support.statements import sent_statements
from tests.support.step_rows import fail_run, record_steps
from workflows.models import Run

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CHECK, YES, NO = "root.steps[0]", "root.steps[0].then.steps[0]", "root.steps[0].else.steps[0]"
EACH, TRY = "root.steps[1]", "root.steps[1].body.steps[0]"
RISKY, SAVED = f"{TRY}.try.steps[0]", f"{TRY}.catch.steps[0]"
LAST, END = "root.steps[2]", "root.steps[3]"
HOSTILE = "<script>alert(1)</script>\u202egnp.exe" + "x" * 150


@pytest.fixture
def version(tenant: Any) -> Any:
    check = {**branch("check", [work("yes")], [work("no")]), "condition": expr("payload.n > 1")}
    return publish(
        tenant, check, loop("each", attempt("try", [work("risky")], [work("saved")])),
        work("last", name=HOSTILE), work("end"),
    )  # fmt: skip


def shown(run: Run, query: str = "") -> str:
    address = reverse("admin:workflows_run_change", args=[run.id])
    response = member_of(run.tenant, role="viewer").get(f"{address}?tab=graph{query}")
    assert response.status_code == 200
    return response.content.decode()


def states_of(page: str) -> dict[str, str]:
    """Return the class of the state of each step by its path."""
    found = re.findall(r'<a class="(?:nd|fl) ([a-z]*)"[^>]*?data-step="([^"]+)"', page, re.DOTALL)
    return {path: state for state, path in found}


def failed_run(tenant: Any, version: Any) -> Run:
    run = make_run(tenant, definition_version=version, current_step_path=LAST)
    items = [
        row
        for item in range(3)
        for row in (
            (RISKY, "FAILED" if item == 1 else "SUCCEEDED", {"iteration": str(item)}),
            *([(SAVED, "SUCCEEDED", {"iteration": "1"})] if item == 1 else []),
            (TRY, "SUCCEEDED", {"iteration": str(item), "branch": "catch" if item == 1 else "try"}),
        )
    ]
    record_steps(run, (CHECK, "SUCCEEDED", {"branch": "else"}), (NO, "SUCCEEDED", {}), *items)
    record_steps(run, (EACH, "SUCCEEDED", {}), (LAST, "FAILED", {"error": {"category": "ActionError", "code": "GONE"}}))
    fail_run(run, LAST)
    return run


def test_states_and_way_of_a_failed_run(tenant: Any, version: Any) -> None:
    run = failed_run(tenant, version)
    page = shown(run)
    assert states_of(page) == {
        CHECK: "taken", YES: "off", NO: "taken", EACH: "taken", TRY: "taken", RISKY: "caught", SAVED: "taken",
        LAST: "failed", END: "todo",
    }  # fmt: skip
    for text in ("then, not taken", "else, taken", "catch, taken", "3: 2 ok, 1 caught", "Item 2 of 3 is shown",
                 "ended here", "no: payload.n &gt; 1", "GONE"):  # fmt: skip
        assert text in page, text
    assert page.count('class="ed on"') == 5  # start, into else, to the join, after the branch, after the loop
    assert page.count('class="ed bad"') == 1
    assert "the run ended here" in page
    words = " ".join(re.sub("<[^>]*>", "", page[page.index("Way taken") :]).split())
    assert words.startswith("Way taken check no → no → each (3) → &lt;script&gt;")
    assert "Branch “check” was false: payload.n &gt; 1" in words
    panel = member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id]), {"step": CHECK})
    words = " ".join(re.sub("<[^>]*>", "", panel.content.decode()).split())
    assert "Branch else: payload.n &gt; 1 was false" in words
    assert "<script>alert(1)</script>" not in page


def test_another_item_of_a_loop_has_its_own_states(tenant: Any, version: Any) -> None:
    run = failed_run(tenant, version)
    page = shown(run, f"&step={EACH}&iteration=0")
    states = states_of(page)
    assert (states[RISKY], states[SAVED]) == ("taken", "off")
    assert "Item 1 of 3 is shown" in page
    assert "catch, not taken" in page


def test_an_open_run_shows_where_it_is(tenant: Any, version: Any) -> None:
    run = make_run(tenant, definition_version=version, current_step_path=YES)
    record_steps(run, (CHECK, "SUCCEEDED", {"branch": "then"}), (YES, "STARTED", {"ended_at": None}))
    page = shown(run)
    states = states_of(page)
    assert (states[CHECK], states[YES], states[NO], states[EACH]) == ("taken", "current", "off", "todo")
    assert "is here" in page
    assert page.count('class="ed on"') == 2  # the start, and the way into the chosen side
    record_steps(run, (YES, "RETRY_SCHEDULED", {"next_attempt_at": timezone.now()}))
    assert re.search(r'aria-label="yes[^"]*retrying', shown(run))


def test_a_run_without_steps_shows_its_whole_graph(tenant: Any, version: Any) -> None:
    states = states_of(shown(make_run(tenant, definition_version=version, status="STARTING")))
    assert len(states) == 9
    assert set(states.values()) == {"todo"}


def test_a_step_links_to_its_row_in_the_steps_tab(tenant: Any, version: Any) -> None:
    run = failed_run(tenant, version)
    page = shown(run)
    address = re.search(rf'href="([^"]+)"\s+data-step="{re.escape(RISKY)}"', page)
    assert address
    steps = member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id]) + unescape(address[1]))
    assert "Item 2 of 3" in " ".join(re.sub("<[^>]*>", " ", steps.content.decode()).split()) or "2 of 3" in str(
        steps.content
    )


def test_graph_of_10000_steps_needs_few_statements_and_bytes(tenant: Any) -> None:
    run = looping_run(tenant, items=10_000, failed_every=7, fails=True)
    client, address = member_of(tenant), reverse("admin:workflows_run_change", args=[run.id])
    client.get(address)
    with sent_statements() as statements:
        response = client.get(f"{address}?tab=graph")
    assert len(statements) <= 12, "\n".join(statements)
    assert len(response.content) <= 100_000
    assert "of 10,000 is shown" in response.content.decode()
