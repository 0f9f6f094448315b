"""The answer box says for each state of a run what happened, why, and what to do. Each page needs few statements.

Source: docs/reference/screens.md#run-page
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from portal.pages import outages
from tests.support.events import open_wait
from tests.support.factories import make_run, publish
from tests.support.long_runs import looping_run
from tests.support.members import member_of
from tests.support.problems import add_retry
from tests.support.servers_state import servers
from tests.support.statements import sent_statements
from workflows.admin.run_page import TABS
from workflows.engine.definition import RetryPolicy
from workflows.engine.retry import retry_delay_ms
from workflows.models import Run, RunStep, RunWait
from workflows.models.fields import short_id
from workflows.projections.transaction import projection_writer
from workflows.services.runs.replay_checks import replay_facts_of_run

pytestmark = pytest.mark.usefixtures("no_dispatcher", "healthy")


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pages show no outage. The workers of earlier tests have ended, or not."""
    monkeypatch.setattr(outages, "servers", lambda: servers())


# Key of a run of the story, its status as shown, and texts of its answer.
ANSWERS = {
    "PAY-105": ("Failed", "“Capture at the bank” received 404 three times. No retry is left.", "Replay on version 3"),
    "TCK-4471": ("Waiting", "Waiting for the event TICKET_CUSTOMER_REPLIED with the key TCK-4471", "channel in"),
    "SET-1124": (
        "Retrying",
        "“Upload to the bank” failed 9 times.",  # attempt 10 becomes overdue while the tests run
        "Attempt 10",
        "An attempt cannot be started earlier",
        "Attempt Error At (UTC) Next attempt 9 MAINTENANCE",
        "4 earlier",
    ),
    "PAY-098": (
        "Outcome unknown",
        "It is not known whether “Reserve the amount” had its effect",
        "Decide the outcome…",
        "the step fails with ACTION_OUTCOME_UNKNOWN. Then",
    ),
    "PAY-094": (
        "Canceled",
        "Jonas Weber canceled this run",
        "The cancel took effect 1.7 s later",
        "Customer paid twice",
        "asked to stop.” A cancel does not undo the steps",
        "Bank confirms settlement canceled 1 h",
    ),
    "REF-311": ("Waiting", "Waiting for a person: Approve a refund of EUR 480.00", "Open the task"),
    "INV-2207": ("Waiting", "Waiting until", "The step “Before reminder 2” waits for this time"),
    "PAY-145": ("Succeeded", "The run succeeded in", "12 steps ran."),
}


def text_of(page: str) -> str:
    text = " ".join(re.sub(r"<[^>]*>", " ", page[page.index('id="run-live"') :]).split())
    return re.sub(r" ([.,:”])", r"\1", text.replace("“ ", "“"))


def test_each_state_has_its_answer_and_few_statements(story: Any) -> None:
    client = member_of(story.tenant)
    client.get(reverse("admin:index"))
    for key, texts in ANSWERS.items():
        run = Run.objects.filter(tenant=story.tenant, correlation_key=key).order_by("created_at")[0]
        with sent_statements() as sent:
            page = text_of(client.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode())
        assert [text for text in texts if text not in page] == [], (key, page[:1500])
        assert len(sent) <= 12, (key, "\n".join(sent))


@pytest.mark.parametrize("key", ["PAY-105", "PAY-094"])
def test_each_tab_needs_few_statements(story: Any, key: str) -> None:
    client = member_of(story.tenant)
    run = Run.objects.filter(tenant=story.tenant, correlation_key=key).order_by("created_at")[0]
    for tab in TABS:
        with sent_statements() as sent:
            page = client.get(reverse("admin:workflows_run_change", args=[run.id]), {"tab": tab.id})
        assert page.context["tab"] == tab
        assert len(sent) <= 12, (tab.id, "\n".join(sent))


def test_each_tab_of_a_retry_inside_a_loop_needs_few_statements(tenant: Any) -> None:
    call = {
        "id": "call", "type": "action.call", "retry": {"maxAttempts": 5, "backoffMs": 600_000},
        "config": {"actionId": "http.request", "version": 1, "inputMapping": {"url": "https://x.test"}},
    }  # fmt: skip
    path, now = "root.steps[0].body.steps[0]", timezone.now()
    run = looping_run(tenant, items=3, body=call)
    error = {"category": "TransientError", "code": "HTTP_503", "message": "closed", "nodePath": path, "at": ""}
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(status="WAITING", ended_at=None, current_step_path=path)
        RunStep.objects.filter(run=run, step_path=path, iteration="2").update(
            status="RETRY_SCHEDULED",
            error=error,
            next_attempt_at=now,
            action_id="http.request",
            step_type="action.call",
        )
        RunWait.objects.create(
            tenant=tenant, run=run, step_path=path, step_id="call", kind="retry", status="WAITING", opened_at=now,
            deadline_at=now + timedelta(minutes=3), iteration="2",
        )  # fmt: skip
    client = member_of(tenant, role="operator")
    address = reverse("admin:workflows_run_change", args=[run.id])
    client.get(address)
    for tab in TABS:
        with sent_statements() as sent:
            page = client.get(address, {"tab": tab.id})
        assert "“call” failed once. Last error: HTTP_503, closed" in text_of(page.content.decode())
        assert len(sent) <= 12, (tab.id, len(sent), "\n".join(sent))


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"status": "STARTING"}, ["The run is starting", "Temporal has not confirmed the start yet"]),
        ({"status": "RUNNING", "current_step_path": "root.steps[0]"}, ["“s” is running", "There is nothing to do."]),
        ({"status": "TERMINATED", "ended_at": timezone.now()}, ["terminated in Temporal", "No catch block ran."]),
        ({"status": "TIMED_OUT", "ended_at": timezone.now()}, ["its time was over", "Find out which step"]),
        ({"status": "CANCELED", "ended_at": timezone.now()}, ["The portal sent no request to cancel this run."]),
        (
            {"status": "WAITING", "stuck_since": timezone.now(), "stuck_attempts": 4, "stuck_cause": "a <b>bug</b>"},
            ["Temporal cannot move this run", "attempt 4", "a &lt;b&gt;bug&lt;/b&gt;", "An administrator can"],
        ),
        (
            {"drift_found_at": timezone.now(), "drift_reason": "odd"},
            ["This page may be wrong. Odd (found", "Compare with Temporal…"],
        ),
    ],
)  # fmt: skip
def test_answer_of_other_states(tenant: Any, fields: dict[str, Any], texts: list[str]) -> None:
    run = make_run(tenant, **fields)
    page = text_of(member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id])).content.decode())
    assert [text for text in texts if text not in page] == [], page[:1500]


def test_running_step_without_an_open_row_is_named_as_the_last_recorded_one(tenant: Any) -> None:
    run = looping_run(tenant, items=3)
    path = "root.steps[0].body.steps[0]"
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(status="RUNNING", ended_at=None, current_step_path=path)
    page = text_of(member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id])).content.decode())
    assert "The run is running The last recorded step is “One item”, item 3." in page
    assert (", item 3 " in page, "iteration 2" in page) == (True, False)


@pytest.mark.parametrize(("minutes", "is_overdue"), [(-5, True), (5, False)])
def test_wait_past_its_deadline_is_shown_as_overdue(tenant: Any, minutes: int, is_overdue: bool) -> None:
    run = make_run(tenant)
    open_wait(tenant, run=run, deadline_at=timezone.now() + timedelta(minutes=minutes))
    page = text_of(member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id])).content.decode())
    assert ("no worker has recorded it" in page) == is_overdue


def test_overdue_attempt_is_the_headline_and_no_end_is_predicted(tenant: Any) -> None:
    run = add_retry(tenant)
    address = reverse("admin:workflows_run_change", args=[run.id])
    page = text_of(member_of(tenant).get(address).content.decode())
    assert "Attempt 3 of 4 follows at" in page
    with projection_writer("test"):
        RunWait.objects.filter(run=run).update(deadline_at=timezone.now() - timedelta(minutes=5))
    page = text_of(member_of(tenant).get(address).content.decode())
    assert re.search(r"Attempt 3 was due at .{5,20} and has not been recorded", page), page[:1500]
    assert ("The run fails at about" in page, "follows at" in page) == (False, False)


@pytest.mark.parametrize(
    ("is_caught", "outcome"),
    [
        (False, "If attempt 5 fails, the run fails."),
        (True, "the run goes on with “Note it”, in the catch block of “try”."),
    ],
)
def test_waiting_retry_shows_last_error_attempts_and_when_it_gives_up(
    tenant: Any, is_caught: bool, outcome: str
) -> None:
    retry = {"maxAttempts": 5, "backoffMs": 600_000, "backoffMultiplier": 1, "jitter": True}
    config = {"actionId": "http.request", "version": 1, "inputMapping": {"url": "https://x.test"}}
    call = {"id": "call", "type": "action.call", "retry": retry, "config": config}
    saved = {"id": "saved", "name": "Note it", "type": "state.set", "config": {"state": "SAVED"}}
    steps = [{"id": "try", "type": "control.tryCatch", "try": [call], "catch": [saved]}] if is_caught else [call]
    path = "root.steps[0].try.steps[0]" if is_caught else "root.steps[0]"
    run = make_run(tenant, definition_version=publish(tenant, *steps), current_step_path=path)
    now = timezone.now()
    due = now + timedelta(minutes=3)
    error = {"category": "TransientError", "code": "HTTP_503", "message": "closed", "nodePath": path, "at": ""}
    with projection_writer("test"):
        for attempt in (1, 2):
            RunStep.objects.create(
                tenant=tenant, run=run, step_path=path, attempt=attempt, step_id="call", step_type="action.call",
                status="RETRY_SCHEDULED", error={**error, "message": f"closed {attempt}"}, started_at=now,
                ended_at=now, next_attempt_at=due, projection_seq=attempt,
            )  # fmt: skip
        RunWait.objects.create(
            tenant=tenant, run=run, step_path=path, step_id="call", kind="retry", status="WAITING", opened_at=now,
            deadline_at=due,
        )  # fmt: skip
    policy = RetryPolicy(max_attempts=5, backoff_ms=600_000, backoff_multiplier=1)
    delays = [retry_delay_ms(policy, attempt=n, category="TransientError", seed=f"{run.id}/{path}") for n in (3, 4)]
    fails_at = due + timedelta(milliseconds=sum(delay or 0 for delay in delays))
    shown = member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()
    page = text_of(shown)
    assert all(text in page for text in ("“call” failed twice.", "HTTP_503, closed 2", "Attempt 3 of 5 follows"))
    assert outcome in page
    assert f'datetime="{fails_at.isoformat()}"' in shown
    listed = member_of(tenant).get(reverse("admin:workflows_run_changelist")).content.decode()
    # The message comes last, because a long one is cut.
    assert re.search(
        "Attempt 2 of 5 failed, next attempt <time[^>]*>in 2 min</time>: <bdi>closed 2<", " ".join(listed.split())
    )


@pytest.mark.parametrize(
    ("attempt", "numbers", "others"),
    [("4", [4, 3, 2, 1], "5 later"), ("9", [9, 8, 7, 6, 5], "4 earlier"), ("99", [9, 8, 7, 6, 5], "4 earlier")],
)
def test_each_attempt_of_a_retry_can_be_opened(story: Any, attempt: str, numbers: list[int], others: str) -> None:
    run = Run.objects.get(tenant=story.tenant, correlation_key="SET-1124")
    address = reverse("admin:workflows_run_change", args=[run.id])
    query = {"attempt": attempt, "step": run.current_step_path}
    shown = member_of(story.tenant).get(address, query)
    page = shown.content.decode()
    assert [int(number) for number in re.findall(r'id="attempt-(\d+)"', page)] == numbers
    assert f" {others} " in text_of(page)
    found = shown.context["panel"].attempts
    for url, expected in ((found.before_url, 4), (found.after_url, 5)):
        if url:
            assert member_of(story.tenant).get(address + url).context["panel"].step.attempt == expected


@pytest.mark.parametrize(
    ("status", "is_primary"), [("FAILED", True), ("TIMED_OUT", True), ("CANCELED", False), ("TERMINATED", False)]
)
def test_replay_is_the_main_action_only_of_a_failed_run(tenant: Any, status: str, is_primary: bool) -> None:
    error = {"category": "ActionError", "message": "no", "nodePath": "x", "at": "y"}
    failed = {"error": error, "error_category": "ActionError"}
    run = make_run(tenant, status=status, ended_at=timezone.now(), correlation_key="PAY-1", **failed)
    page = member_of(tenant, role="operator").get(reverse("admin:workflows_run_change", args=[run.id]))
    offers = page.context["offers"]
    assert (offers.primary is not None and offers.primary.name.startswith("Replay")) == is_primary
    assert offers.beside == []
    assert ("Replay on version 1…" in [offer.name for offer in offers.menu if not offer.why_not]) == (not is_primary)
    assert [crumb[0] for crumb in page.context["crumbs"]] == ["Runs", run.definition.name, "PAY-1"]


@pytest.mark.parametrize(
    ("status", "relation", "other", "line"),
    [
        ("FAILED", "replay", "SUCCEEDED", "A replay of this run has succeeded:"),
        ("FAILED", "key", "SUCCEEDED", "A newer run of this key has succeeded:"),
        ("TIMED_OUT", "key", "WAITING", "Another run of this key is open:"),
        ("CANCELED", "replay", "RUNNING", "A replay of this run is open:"),
        ("FAILED", "key", "FAILED", ""),
        ("FAILED", "older", "SUCCEEDED", ""),
        ("FAILED", "none", "SUCCEEDED", ""),
    ],
)
def test_replay_is_offered_in_the_menu_only_if_another_run_of_the_key_is_in_the_way(
    tenant: Any, status: str, relation: str, other: str, line: str
) -> None:
    error = {"category": "ActionError", "message": "no", "nodePath": "x", "at": "y"}
    failed = {"error": error, "error_category": "ActionError"}
    now = timezone.now()
    run = make_run(tenant, status=status, created_at=now, ended_at=now, correlation_key="PAY-1", **failed)
    places: dict[str, dict[str, Any]] = {
        "replay": {"replay_of": run},
        "key": {"correlation_key": "PAY-1"},
        "older": {"correlation_key": "PAY-1", "created_at": now - timedelta(hours=1)},
        "none": {"correlation_key": "PAY-2"},
    }
    same = {"definition_version": run.definition_version, "definition": run.definition}
    found = make_run(tenant, **same, **{"created_at": now + timedelta(seconds=1), **places[relation]}, status=other)
    make_run(tenant, correlation_key="PAY-1", status="SUCCEEDED")  # of another definition
    client = member_of(tenant, role="operator")
    page = client.get(reverse("admin:workflows_run_change", args=[run.id]))
    offers, shown = page.context["offers"], text_of(page.content.decode())
    offered = {offer.name for offer in (offers.primary, *offers.beside) if offer is not None}
    address = reverse("admin:workflows_run_change", args=[found.id])
    listed = client.get(reverse("admin:workflows_run_changelist"), {"q": str(run.id)}).content.decode()
    assert ("Replay on version 1…" in offered) == (not line)
    assert [bool(replay_facts_of_run(run).in_the_way), address in listed] == [bool(line), bool(line)]
    assert "Replay on version 1…" in {offer.name for offer in (offers.primary, *offers.beside, *offers.menu) if offer}
    if line:
        assert line in shown
        assert f'<a href="{address}">' in page.content.decode()
    else:
        assert "A replay now would do the work twice." not in shown


def test_a_failed_replay_without_a_key_says_who_asked_for_it_and_that_one_attempt_was_allowed(tenant: Any) -> None:
    config = {"actionId": "http.request", "version": 1, "inputMapping": {"url": "https://x.test"}}
    version = publish(tenant, {"id": "call", "type": "action.call", "config": config})
    path, now = "root.steps[0]", timezone.now()
    error = {"category": "TransientError", "code": "HTTP_503", "message": "closed", "nodePath": path, "at": ""}
    run = make_run(
        tenant, definition_version=version, status="FAILED", ended_at=now, error=error,
        replay_of=make_run(tenant, definition_version=version), requested_by="Maya Lindqvist",
    )  # fmt: skip
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path=path, step_id="call", step_type="action.call", status="FAILED",
            error=error, started_at=now, ended_at=now, projection_seq=1,
        )  # fmt: skip
    client = member_of(tenant, role="operator")
    page = text_of(client.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode())
    assert re.search(r"a replay of run \S+ by Maya Lindqvist", page)
    assert page.count("The policy allows 1 attempt.") == 2, "in the answer and in the panel of the step"
    form = client.get(reverse("admin:workflows_run_replay", args=[run.id])).content.decode()
    path_to_page = re.sub(r"<[^>]*>", " ", form[form.index('class="crumb"') :].partition("</nav>")[0])
    assert f"{run.definition.name} {short_id(run.id)}" in " ".join(path_to_page.split())
