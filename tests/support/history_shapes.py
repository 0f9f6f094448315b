"""The runs whose histories are recorded: one for each thing that the engine and its pump can do (docs/reference/engine.md#determinism)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.desk import Desk
from tests.support.factories import eventually, expr, wait_for_reply
from workflows.models import HumanTask, Run, RunWait

Play = Callable[[Desk, Run], None]


def nothing(_desk: Desk, _run: Run) -> None:
    """The run needs nobody."""


@dataclass(frozen=True)
class Shape:
    name: str
    steps: list[dict[str, Any]]
    ends: str = "SUCCEEDED"
    payload: dict[str, Any] = field(default_factory=lambda: {"ticketId": "T-1", "n": 3})
    play: Play = nothing
    children: list[dict[str, Any]] = field(default_factory=list)
    # The executions of a run that goes on in new ones are recorded each.
    is_long: bool = False


def state(step_id: str, value: str = "X") -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": value}}


def assign(step_id: str, **targets: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform.assign", "config": {"assign": targets}}


def each(step_id: str, items: str, *body: dict[str, Any], var: str = "it", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.forEach", "items": expr(items), "itemVar": var, "body": list(body), **more}


def guarded(step_id: str, *steps: dict[str, Any], catch: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.tryCatch", "try": list(steps), "catch": catch, **more}


def store(step_id: str, key: str, **more: Any) -> dict[str, Any]:
    config = {
        "actionId": "store.set",
        "version": 1,
        "inputMapping": {"key": expr(key), "value": expr("payload.n")},
        "saveAs": "kept",
    }
    return {"id": step_id, "type": "action.call", "config": config, **more}


def failing(step_id: str, **more: Any) -> dict[str, Any]:
    """An action that always fails, and costs nothing outside."""
    config = {"actionId": "http.request", "version": 1, "inputMapping": {"method": "GET", "url": "http://127.0.0.1:1/"}}
    return {"id": step_id, "type": "action.call", "config": config, **more}


def nap(step_id: str, milliseconds: int = 50) -> dict[str, Any]:
    return {"id": step_id, "type": "time.wait", "config": {"mode": "duration", "durationMs": milliseconds}}


def task(**config: Any) -> dict[str, Any]:
    form = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    return {
        "id": "task",
        "type": "human.task",
        "config": {"taskType": "t", "title": "Please", "formSchema": form, **config},
    }


def child(step_id: str = "child", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "control.callWorkflow", "workflowId": "child", "workflowVersion": 1,
            "inputMapping": {"n": expr("payload.n")}, "outputMapping": {"vars.of": expr("childRun.vars")}, **more}  # fmt: skip


def waiting(run: Run, **fields: Any) -> RunWait:
    return eventually(lambda: RunWait.objects.filter(run=run, status="WAITING", **fields).first(), what="an open wait")


def reply(**payload: Any) -> Play:
    def play(desk: Desk, run: Run) -> None:
        waiting(run)
        desk.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", **payload})

    return play


def replies(*payloads: dict[str, Any]) -> Play:
    def play(desk: Desk, run: Run) -> None:
        for number, payload in enumerate(payloads):
            waiting(run)
            desk.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", **payload})
            eventually(lambda n=number: decided(run) > n, what="a verdict")

    return play


def decided(run: Run) -> int:
    return run.deliveries.exclude(status__in=["pending", "sent"]).count()


def cancel(desk: Desk, run: Run) -> None:
    from workflows.services.runs.control import run_cancel

    waiting(run)
    run_cancel(actor=desk.actor, run_id=run.id)


def complete(desk: Desk, run: Run) -> None:
    from workflows.services.human_tasks import task_complete

    found = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="a task")
    task_complete(actor=desk.actor, task_id=found.id, response={"ok": True})


def complete_by_event(desk: Desk, run: Run) -> None:
    found = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="a task")
    desk.send("HUMAN_TASK_COMPLETED", {"response": {"ok": 1}}, workflow_correlation_key=str(found.id))
    eventually(lambda: decided(run) == 1, what="a verdict")
    desk.send("HUMAN_TASK_COMPLETED", {"response": {"ok": True}}, workflow_correlation_key=str(found.id))


PURE_CHILD = [assign("a", **{"vars.twice": expr("payload.n * 2")})]
SHAPES = [
    Shape("pure-steps", [state("s"), assign("a", **{"vars.x": expr("payload.n + 1"), "meta.y": expr("nowIso()")})]),
    Shape("if-then-else", [{"id": "if", "type": "control.if", "condition": expr("payload.n > 2"), "then": [state("t")], "else": [state("e")]}]),
    Shape("return-inside", [each("loop", "[1, 2]", guarded("try", {"id": "end", "type": "control.return"}, catch=[])), state("never")]),
    Shape("loop-with-actions", [each("loop", "[1, 2, 3]", store("keep", "'k' & toString(it)"))]),
    Shape("loops-nested", [each("a", "[1, 2]", each("b", "[3, 4]", assign("x", **{"vars.sum": expr("coalesce(vars.sum, 0) + a1 * it")}), nap("z", 10)), var="a1")]),
    Shape("loop-continue-and-skip", [
        each("c", "[1, 2]", failing("f"), state("after-f"), onItemError="continue"),
        each("k", "[1, 2]", failing("g"), state("never"), onItemError="skipItem"),
    ]),
    Shape("try-catch", [guarded("try", each("loop", "[1]", failing("f")), catch=[assign("c", **{"vars.code": expr("problem.code")})], captureErrorAs="problem")]),
    Shape("error-continued", [failing("f", onError={"policy": "continue"}), assign("a", **{"vars.c": expr("error.category")})]),
    Shape("action-fails-the-run", [failing("f")], ends="FAILED"),
    Shape("expression-fails-the-run", [assign("a", **{"vars.x": expr("payload.missing")})], ends="FAILED"),
    Shape("retries", [failing("f", retry={"maxAttempts": 3, "backoffMs": 20}, onError={"policy": "continue"})]),
    Shape("flush-of-many-records", [each("loop", "[1..120]", state("s"), assign("a", **{"vars.n": expr("it")}))]),
    Shape("event-wait", [wait_for_reply(assign={"vars.text": expr("vars.event.text")})], play=reply(text="hello")),
    Shape("event-wait-filters", [wait_for_reply(filters=[{"path": "n", "op": ">", "value": 1}], timeoutMs=600_000)], play=replies({"n": 1}, {"n": 2})),
    Shape("event-wait-timeout-caught", [guarded("try", wait_for_reply(timeoutMs=50), catch=[state("late")])]),
    Shape("event-wait-retried", [{**wait_for_reply(timeoutMs=30), "retry": {"maxAttempts": 2, "backoffMs": 10}}], ends="FAILED"),
    Shape("event-waits-one-after-another", [wait_for_reply("one"), wait_for_reply("two")], play=replies({"n": 1}, {"n": 2})),
    Shape("time-wait", [nap("z"), {"id": "u", "type": "time.wait", "config": {"mode": "until", "until": expr("0")}}]),
    Shape("human-task-update", [task(dueInMs=600_000)], play=complete),
    Shape("human-task-event", [task()], play=complete_by_event),
    Shape("human-task-expires", [task(dueInMs=50)], ends="FAILED"),
    Shape("child", [child()], children=PURE_CHILD),
    Shape("child-fails-and-is-retried", [child(retry={"maxAttempts": 2, "backoffMs": 10})], ends="FAILED", children=[assign("a", **{"vars.x": expr("payload.none")})]),
    Shape("child-that-is-not-there", [child(onError={"policy": "continue"}, workflowVersion=9)], children=PURE_CHILD),
    Shape("cancel-in-a-wait", [guarded("try", wait_for_reply(timeoutMs=600_000), catch=[state("never")])], ends="CANCELED", play=cancel),
    Shape("cancel-in-a-retry", [failing("f", retry={"maxAttempts": 3, "backoffMs": 600_000})], ends="CANCELED", play=cancel),
    Shape("cancel-of-a-task", [each("loop", "[1]", task())], ends="CANCELED", play=cancel),
    Shape("transforms", [{"id": "t", "type": "action.call", "config": {"actionId": "transform.join", "version": 1, "saveAs": "text", "inputMapping": {"values": [1, "a"], "separator": "-"}}}]),
    Shape("goes-on-as-new", [each("loop", "[1..4]", wait_for_reply(timeoutMs=600_000))], play=replies(*({"n": n} for n in range(4))), is_long=True),
]  # fmt: skip
