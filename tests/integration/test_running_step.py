"""The page of a running run says what runs since when, how long it usually takes, and when it should have ended.

Source: docs/reference/screens.md#run-page
"""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from portal.pages import outages
from tests.integration.test_run_answers import text_of
from tests.support.events import open_wait
from tests.support.factories import make_run, publish
from tests.support.members import member_of
from tests.support.servers_state import servers
from tests.support.statements import sent_statements
from workflows.models import Connector, Run, RunStep, StepCount
from workflows.projections.transaction import projection_writer

pytestmark = pytest.mark.usefixtures("no_dispatcher")
CALL = {
    "id": "call", "type": "action.call", "retry": {"maxAttempts": 3, "backoffMs": 1_000},
    "config": {"actionId": "http.request", "version": 1, "inputMapping": {"url": "https://x.test"}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "servers", lambda: servers())


def running(tenant: Any, seconds: float, config: dict[str, Any] | None = None, **fields: Any) -> Run:
    """Create a run whose only step has been running for these seconds."""
    step_type = "control.callWorkflow" if "child_run" in fields else CALL["type"]
    version = publish(tenant, CALL if config is None else {**CALL, "config": config})
    began = timezone.now() - timedelta(seconds=seconds)
    run = make_run(
        tenant, definition_version=version, status="RUNNING", current_step_path="root.steps[0]", started_at=began
    )
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path="root.steps[0]", step_id="call", step_type=step_type,
            status="STARTED", started_at=began, projection_seq=1, **fields,
        )  # fmt: skip
    return run


def count_executions(run: Run, number: int) -> None:
    """Count executions of the step that took about one second."""
    StepCount.objects.create(
        tenant=run.tenant, definition_version=run.definition_version, hour=timezone.now(), step_path="root.steps[0]",
        measure="time.40", count=number,
    )  # fmt: skip


def shown(run: Run, *, most: int = 12) -> tuple[str, Any]:
    client = member_of(run.tenant, role="operator")
    client.get(reverse("admin:index"))
    with sent_statements() as sent:
        page = client.get(reverse("admin:workflows_run_change", args=[run.id]))
    assert len(sent) <= most, "\n".join(sent)
    return text_of(page.content.decode()), page.context


@pytest.mark.parametrize(
    ("seconds", "executions", "tone", "texts"),
    [
        (0, 40, "blue", ["“call” has been running for ", "(95 % of 40 executions in 7 days)", "What to do: Nothing."]),
        (15, 40, "amber", ["has been running for ", "It takes longer than usual."]),
        (15, 2, "blue", ["Too few earlier executions", "What to do: Nothing."]),
        (900, 2, "amber", ["“call” should have ended at", "Read the logs of the Temporal workers."]),
    ],
)
def test_running_action_is_compared_with_its_usual_time_and_its_limit(
    tenant: Any, seconds: float, executions: int, tone: str, texts: list[str]
) -> None:
    run = running(tenant, seconds)
    count_executions(run, executions)
    text, context = shown(run)
    texts = [*texts, "Attempt 1 of 3 began at", "Without a response, it ends after 20 s."]
    texts.append("A Temporal worker polls the task queue.")
    assert [part for part in texts if part not in text] == [], text[:1500]
    assert context["tone"] == tone


@pytest.mark.parametrize(
    ("action", "mapping", "text"),
    [
        ("http.request", {"url": "https://x.test", "timeoutSeconds": 5}, "Without a response, it ends after 5 s."),
        (
            "http.request", {"url": "https://x.test", "timeout_seconds": {"$expr": "input.n"}},
            "Its worker ends it after 90 s at the latest.",
        ),
        ("email.send", {"to": ["a@b.test"], "subject": "S", "text": "T"}, "ends it after 30 s at the latest."),
        ("archive.copy", {}, "Without a response, it ends after 7 s."),
    ],
)  # fmt: skip
def test_the_answer_names_the_limit_that_ends_the_attempt_first(
    tenant: Any, action: str, mapping: dict[str, Any], text: str
) -> None:
    spec = {"label": "Archive", "method": "POST", "url": "https://archive.test/copy", "timeout_seconds": 7}
    Connector.objects.create(tenant=tenant, action_id="archive.copy", version=1, spec=spec)
    answer, _ = shown(running(tenant, 0, {"actionId": action, "version": 1, "inputMapping": mapping}))
    assert text in answer, answer[:1500]


def test_outage_replaces_the_sentence_about_workers(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "servers", lambda: servers(polled=(900, 900)))
    text, _ = shown(running(tenant, 3))
    assert ("No Temporal worker polls" in text, "A Temporal worker polls" in text) == (True, False)


def test_parent_says_what_its_child_waits_for(tenant: Any) -> None:
    child = make_run(tenant, correlation_key="SUB-1", status="WAITING")
    open_wait(tenant, run=child, name="PAID")
    run = running(tenant, 300, child_run=child)
    text, context = shown(run)
    assert "“call” waits for its child run" in text
    assert ("SUB-1" in text, "Waits for PAID" in text) == (True, True)
    assert context["running"].child.run == child
