"""Cases of the replay tests: one run for each behaviour of the engine and the workflow code.

Source: docs/reference/engine.md#determinism
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from tests.support.factories import eventually, expr, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.actions import registry
from workflows.models import HumanTask, Run, RunWait

Action = Callable[[TenantDriver, Run], None]


def no_action(_driver: TenantDriver, _run: Run) -> None:
    """Do nothing, because the run ends without help."""


@dataclass(frozen=True)
class HistoryCase:
    """Run whose history is recorded. `act` does what the run waits for, and `ends` is the final status."""

    name: str
    steps: list[dict[str, Any]]
    ends: str = "SUCCEEDED"
    payload: dict[str, Any] = field(default_factory=lambda: {"ticketId": "T-1", "n": 3})
    act: Action = no_action
    children: list[dict[str, Any]] = field(default_factory=list)
    # The run continues as new executions. Each execution is recorded.
    is_long: bool = False


def set_state(step_id: str, value: str = "X") -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": value}}


def assign(step_id: str, **targets: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": targets}}


def for_each(step_id: str, items: str, *body: dict[str, Any], var: str = "it", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.forEach", "items": expr(items), "itemVar": var, "body": list(body), **more}


def try_catch(step_id: str, *steps: dict[str, Any], catch: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.tryCatch", "try": list(steps), "catch": catch, **more}


def store_value(step_id: str, key: str, **more: Any) -> dict[str, Any]:
    config = {
        "actionId": "store.set",
        "version": 1,
        "inputMapping": {"key": expr(key), "value": expr("payload.n")},
        "saveAs": "kept",
    }
    return {"id": step_id, "type": "action.call", "config": config, **more}


def failing_action(step_id: str, **more: Any) -> dict[str, Any]:
    """Return an action step that always fails and reaches no other system."""
    config = {"actionId": "http.request", "version": 1, "inputMapping": {"method": "GET", "url": "http://127.0.0.1:1/"}}
    return {"id": step_id, "type": "action.call", "config": config, **more}


def short_wait(step_id: str, milliseconds: int = 50) -> dict[str, Any]:
    return {"id": step_id, "type": "time.wait", "config": {"mode": "duration", "durationMs": milliseconds}}


def human_task(**config: Any) -> dict[str, Any]:
    form = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    return {
        "id": "task",
        "type": "human.task",
        "config": {"taskType": "t", "title": "Please", "formSchema": form, **config},
    }


def call_child(step_id: str = "child", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.callWorkflow", "workflowId": "child", "workflowVersion": 1,
            "inputMapping": {"n": expr("payload.n")}, "outputMapping": {"vars.of": expr("childRun.vars")},
            **more}  # fmt: skip


def open_wait_of(run: Run, **fields: Any) -> RunWait:
    """Wait until the run has an open wait with these fields, and return the wait."""
    return eventually(lambda: RunWait.objects.filter(run=run, status="WAITING", **fields).first(), what="an open wait")


def reply(**payload: Any) -> Action:
    """Return an action that sends a reply when a wait is open."""

    def act(driver: TenantDriver, run: Run) -> None:
        open_wait_of(run)
        driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", **payload})

    return act


def replies(*payloads: dict[str, Any]) -> Action:
    """Return an action that sends several replies and waits for the verdict on each."""

    def act(driver: TenantDriver, run: Run) -> None:
        for number, payload in enumerate(payloads):
            open_wait_of(run)
            driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", **payload})
            eventually(lambda n=number: verdict_count(run) > n, what="a verdict")

    return act


def verdict_count(run: Run) -> int:
    return run.deliveries.exclude(status__in=["pending", "sent"]).count()


def cancel(driver: TenantDriver, run: Run) -> None:
    from workflows.services.runs.control import run_cancel

    open_wait_of(run)
    run_cancel(actor=driver.actor, run_id=run.id)


def complete_task(driver: TenantDriver, run: Run) -> None:
    from workflows.services.human_tasks import task_complete

    found = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="a task")
    task_complete(actor=driver.actor, task_id=found.id, response={"ok": True})


def complete_by_event(driver: TenantDriver, run: Run) -> None:
    found = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="a task")
    driver.send("HUMAN_TASK_COMPLETED", {"response": {"ok": 1}}, workflow_correlation_key=str(found.id))
    eventually(lambda: verdict_count(run) == 1, what="a verdict")
    driver.send("HUMAN_TASK_COMPLETED", {"response": {"ok": True}}, workflow_correlation_key=str(found.id))


class Lost(BaseModel):
    n: int = 0


_lost_keys: set[str] = set()


def _lost_once(value: Lost, context: registry.ActionContext) -> Lost:
    """Lose the first execution under each key."""
    if context.idempotency_key not in _lost_keys:
        _lost_keys.add(context.idempotency_key)
        raise registry.ActionOutcomeUnknown("the connection was lost")
    return value


# The recording registers this action. A replay needs no action, because the results are in the history.
LOST_ONCE = registry.Action(
    id="test.lost_once", version=1, label="", input_model=Lost, output_model=Lost, run=_lost_once
)


def decide(driver: TenantDriver, run: Run) -> None:
    from workflows.services.human_tasks import task_complete

    for response in (
        {"outcome": "happened", "output": {"n": 9}, "reason": "it is there"},
        {"outcome": "did_not_happen", "reason": "it is not there"},
        {"outcome": "fail", "reason": "not known"},
    ):
        found = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="a decision")
        task_complete(actor=driver.actor, task_id=found.id, response=response)
        eventually(lambda t=found: HumanTask.objects.filter(id=t.id, status="completed").exists(), what="its end")


PURE_CHILD = [assign("a", **{"vars.twice": expr("payload.n * 2")})]
JOIN = {
    "id": "t",
    "type": "action.call",
    "config": {
        "actionId": "transform.join",
        "version": 1,
        "saveAs": "text",
        "inputMapping": {"values": [1, "a"], "separator": "-"},
    },
}
CASES = [
    HistoryCase(
        "pure-steps",
        [set_state("s"), assign("a", **{"vars.x": expr("payload.n + 1"), "meta.y": expr("nowIso()")})],
    ),
    HistoryCase(
        "if-then-else",
        [{"id": "if", "type": "control.if", "condition": expr("payload.n > 2"), "then": [set_state("t")],
          "else": [set_state("e")]}],
    ),
    HistoryCase(
        "return-inside",
        [for_each("loop", "[1, 2]", try_catch("try", {"id": "end", "type": "control.return"}, catch=[])),
         set_state("never")],
    ),
    HistoryCase("loop-with-actions", [for_each("loop", "[1, 2, 3]", store_value("keep", "'k' & toString(it)"))]),
    HistoryCase(
        "loops-nested",
        [for_each("a", "[1, 2]", for_each(
            "b", "[3, 4]", assign("x", **{"vars.sum": expr("coalesce(vars.sum, 0) + a1 * it")}), short_wait("z", 10),
        ), var="a1")],
    ),
    HistoryCase("loop-continue-and-skip", [
        for_each("c", "[1, 2]", failing_action("f"), set_state("after-f"), onItemError="continue"),
        for_each("k", "[1, 2]", failing_action("g"), set_state("never"), onItemError="skipItem"),
    ]),
    HistoryCase(
        "try-catch",
        [try_catch("try", for_each("loop", "[1]", failing_action("f")),
                   catch=[assign("c", **{"vars.code": expr("problem.code")})], captureErrorAs="problem")],
    ),
    HistoryCase(
        "error-continued",
        [failing_action("f", onError={"policy": "continue"}), assign("a", **{"vars.c": expr("error.category")})],
    ),
    HistoryCase("action-fails-the-run", [failing_action("f")], ends="FAILED"),
    HistoryCase("expression-fails-the-run", [assign("a", **{"vars.x": expr("payload.missing")})], ends="FAILED"),
    HistoryCase(
        "retries", [failing_action("f", retry={"maxAttempts": 3, "backoffMs": 20}, onError={"policy": "continue"})],
    ),
    HistoryCase(
        "flush-of-many-records", [for_each("loop", "[1..120]", set_state("s"), assign("a", **{"vars.n": expr("it")}))],
    ),
    HistoryCase("event-wait", [wait_for_reply(assign={"vars.text": expr("vars.event.text")})], act=reply(text="hello")),
    HistoryCase(
        "event-wait-filters",
        [wait_for_reply(filters=[{"path": "n", "op": ">", "value": 1}], timeoutMs=600_000)],
        act=replies({"n": 1}, {"n": 2}),
    ),
    HistoryCase(
        "event-wait-timeout-caught", [try_catch("try", wait_for_reply(timeoutMs=50), catch=[set_state("late")])],
    ),
    HistoryCase(
        "event-wait-retried",
        [{**wait_for_reply(timeoutMs=30), "retry": {"maxAttempts": 2, "backoffMs": 10}}], ends="FAILED",
    ),
    HistoryCase(
        "event-waits-one-after-another", [wait_for_reply("one"), wait_for_reply("two")],
        act=replies({"n": 1}, {"n": 2}),
    ),
    HistoryCase(
        "time-wait",
        [short_wait("z"), {"id": "u", "type": "time.wait", "config": {"mode": "until", "until": expr("0")}}],
    ),
    HistoryCase("human-task-update", [human_task(dueInMs=600_000)], act=complete_task),
    HistoryCase("human-task-event", [human_task()], act=complete_by_event),
    HistoryCase("human-task-expires", [human_task(dueInMs=50)], ends="FAILED"),
    HistoryCase("child", [call_child()], children=PURE_CHILD),
    HistoryCase(
        "child-fails-and-is-retried", [call_child(retry={"maxAttempts": 2, "backoffMs": 10})], ends="FAILED",
        children=[assign("a", **{"vars.x": expr("payload.none")})],
    ),
    HistoryCase(
        "child-that-is-not-there", [call_child(onError={"policy": "continue"}, workflowVersion=9)], children=PURE_CHILD,
    ),
    HistoryCase(
        "cancel-in-a-wait", [try_catch("try", wait_for_reply(timeoutMs=600_000), catch=[set_state("never")])],
        ends="CANCELED", act=cancel,
    ),
    HistoryCase(
        "cancel-in-a-retry", [failing_action("f", retry={"maxAttempts": 3, "backoffMs": 600_000})],
        ends="CANCELED", act=cancel,
    ),
    HistoryCase(
        "outcomes-decided",
        [for_each("loop", "[1, 2, 3]", {
            "id": "lost", "type": "action.call", "onError": {"policy": "continue"},
            "config": {"actionId": "test.lost_once", "version": 1, "inputMapping": {"n": expr("it")}, "saveAs": "out"},
        })],
        act=decide,
    ),
    HistoryCase("cancel-of-a-task", [for_each("loop", "[1]", human_task())], ends="CANCELED", act=cancel),
    HistoryCase("transforms", [JOIN]),
    HistoryCase(
        "goes-on-as-new", [for_each("loop", "[1..4]", wait_for_reply(timeoutMs=600_000))],
        act=replies(*({"n": n} for n in range(4))), is_long=True,
    ),
]  # fmt: skip
