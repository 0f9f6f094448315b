"""What runs of several shapes leave in Temporal: billed actions, events and bytes, counted from their real histories.

Each shape is run with n and with 2n of its steps. What the second has more is what a step costs; the rest is the run's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from tests.factories import eventually, expr, make_actor, make_tenant, publish
from tests.fakes import fake_api
from workflows.engine.sizes import json_size
from workflows.models import Event, HumanTask, Run, RunStep, RunWait
from workflows.services.run_start import run_start
from workflows.services.tasks import task_complete
from workflows.statuses import EventSource
from workflows.temporal.gateway import connect_client

STEP_BYTES = 1_500
PAYLOAD_FACTOR = 1.25
RUN_ACTIONS = 2  # start, and the activity of the last records
BIG = 8_000
REPLIED = "TICKET_CUSTOMER_REPLIED"

# -- What Temporal bills (ARCHITECTURE 7) ------------------------------------------------------------------------------

_BILLED = {
    "WORKFLOW_EXECUTION_SIGNALED": 1,
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": 1,
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": 1,
    "TIMER_STARTED": 1,
    "ACTIVITY_TASK_SCHEDULED": 1,
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED": 2,
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": 1,
}
_FREE = {
    "WORKFLOW_EXECUTION_COMPLETED", "WORKFLOW_EXECUTION_FAILED", "WORKFLOW_EXECUTION_CANCELED", "WORKFLOW_TASK_SCHEDULED",
    "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED", "WORKFLOW_TASK_FAILED", "WORKFLOW_TASK_TIMED_OUT",
    "ACTIVITY_TASK_COMPLETED", "ACTIVITY_TASK_FAILED", "ACTIVITY_TASK_TIMED_OUT", "TIMER_FIRED", "TIMER_CANCELED",
    "CHILD_WORKFLOW_EXECUTION_STARTED", "CHILD_WORKFLOW_EXECUTION_COMPLETED", "CHILD_WORKFLOW_EXECUTION_FAILED",
    "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
}  # fmt: skip


def event_name(event: HistoryEvent) -> str:
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")


def billed_actions(event: HistoryEvent) -> int:
    """A start is billed unless its parent or the execution before was billed for it; an activity for each attempt.

    Errors: ValueError for an event of which this table does not know whether it is billed.
    """
    name = event_name(event)
    if name == "WORKFLOW_EXECUTION_STARTED":
        start = event.workflow_execution_started_event_attributes
        return 0 if start.continued_execution_run_id or start.HasField("parent_workflow_execution") else 1
    if name == "ACTIVITY_TASK_STARTED":
        return event.activity_task_started_event_attributes.attempt - 1
    if name in _FREE:
        return 0
    if name not in _BILLED:
        raise ValueError(f"nobody has said whether {name} is billed")
    return _BILLED[name]


# -- What a run has cost -----------------------------------------------------------------------------------------------


@dataclass
class Cost:
    """Of a run with its children. `payload`: what its author put in and took out; `bytes`: as the server counts them."""

    steps: int = 0
    actions: int = 0
    events: int = 0
    bytes: int = 0
    payload: int = 0
    bytes_of: Counter[str] = field(default_factory=Counter)

    def add_history(self, events: list[HistoryEvent], size: int) -> None:
        self.actions += sum(map(billed_actions, events))
        self.events += len(events)
        self.bytes += size
        for event in events:
            self.bytes_of[event_name(event)] += event.ByteSize()


def cost_of(run: Run) -> Cost:
    cost = Cost()
    family = [run, *Run.objects.filter(parent_run=run)]
    for each, (events, size, result) in zip(family, asyncio.run(_histories(family)), strict=True):
        cost.steps += each.step_count
        cost.add_history(events, size)
        cost.payload += json_size(each.input) + json_size({k: result[k] for k in ("payload", "vars", "meta")})
    cost.payload += sum(_payloads(family))
    return cost


def _payloads(family: list[Run]) -> Iterator[int]:
    for step in RunStep.objects.filter(run__in=family, step_type="action.call"):
        yield json_size(step.input) + (json_size(step.output) if step.output is not None else 0)
    for event in Event.objects.filter(deliveries__run__in=family):
        yield json_size(event.payload)
    for task in HumanTask.objects.filter(run__in=family):
        yield json_size(task.context_data) + json_size(task.form_schema) + json_size(task.response)


async def _histories(runs: list[Run]) -> list[tuple[list[HistoryEvent], int, dict[str, Any]]]:
    client = await connect_client()
    found = []
    for run in runs:
        handle = client.get_workflow_handle(run.temporal_workflow_id)
        result = await handle.result()
        described = (await handle.describe()).raw_description.workflow_execution_info
        events = list((await handle.fetch_history()).events)
        if len(events) != described.history_length:
            raise RuntimeError(f"{len(events)} events came, the server speaks of {described.history_length}")
        found.append((events, described.history_size_bytes, result))
    return found


# -- Shapes ------------------------------------------------------------------------------------------------------------


@dataclass
class Shape:
    """`steps(n)` are the steps of a definition; `drive` plays the world around the run."""

    name: str
    n: int
    steps: Callable[[int], list[dict[str, Any]]]
    drive: Callable[[Desk, Run, int], None] = lambda desk, run, n: None
    payload: dict[str, Any] = field(default_factory=dict)
    # At most, for what n more of them cost each.
    actions: float | None = None
    events: float | None = None
    # At most, for the whole run with n; the numbers that the issue names.
    run_actions: int | None = None
    per: str = "step"


class Desk:
    """A tenant whose runs are measured."""

    def __init__(self) -> None:
        self.tenant = make_tenant()
        self.actor = make_actor(self.tenant)
        publish(self.tenant, _state("child", 0), key="child")

    def run(self, shape: Shape, n: int) -> Run:
        key = "-".join([*shape.name.lower().replace(",", "").split(), str(n)])
        publish(self.tenant, *shape.steps(n), key=key)
        run_id, _ = run_start(actor=self.actor, definition_key=key, payload={"ticketId": key, **shape.payload})
        run = Run.objects.get(id=run_id)
        shape.drive(self, run, n)
        return eventually(
            lambda: Run.objects.filter(id=run_id, status="SUCCEEDED").first(),
            seconds=120,
            what=f"the end of {key}; it is {Run.objects.values('status', 'error').get(id=run_id)}",
        )

    def send(self, payload: dict[str, Any]) -> None:
        from ingress.services import event_receive

        value = {"event_type": REPLIED, "payload": payload}
        event_receive(tenant_id=self.tenant.id, value=value, source=EventSource.REST)


def _state(name: str, number: int) -> dict[str, Any]:
    return {"id": f"{name}{number}", "type": "state.set", "config": {"state": f"STATE_{number}"}}


def _pure(number: int) -> dict[str, Any]:
    """One of four kinds of step that only compute."""
    count = {"vars.count": expr(f"coalesce(vars.count, 0) + {number}")}
    assign = {"id": f"assign{number}", "type": "transform.assign", "config": {"assign": count}}
    match number % 4:
        case 0:
            return _state("state", number)
        case 1:
            return assign
        case 2:
            inner = _state("then", number)
            condition = {"condition": expr("payload.ticketId != ''"), "then": [inner]}
            return {"id": f"if{number}", "type": "control.if", **condition}
    template = {"template": "ticket {{id}}", "values": {"id": expr("payload.ticketId")}}
    return _action(number, "transform.template", template)


def _action(number: int, action: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    config = {"actionId": action, "version": 1, "inputMapping": value, "saveAs": "vars.answer"}
    return {"id": f"action{number}", "type": "action.call", "config": config, **more}


def _store_set(number: int) -> dict[str, Any]:
    value = {"ticket": expr("payload.ticketId"), "status": "open", "number": number, "by": "the benchmark"}
    return _action(
        number, "store.set", {"namespace": "bench", "key": expr(f"payload.ticketId & '-{number}'"), "value": value}
    )


def _big_set(number: int) -> dict[str, Any]:
    return _action(number, "store.set", {"key": expr("payload.ticketId"), "value": expr("payload.text")})


def _big_get(number: int) -> dict[str, Any]:
    return _action(number, "store.get", {"key": expr("payload.ticketId")})


def _wait(number: int) -> dict[str, Any]:
    config = {
        "eventName": REPLIED,
        "correlationKey": expr("payload.ticketId"),
        "filters": [{"path": "number", "op": "=", "value": number}],
        "timeoutMs": 3_600_000,
    }
    return {"id": f"wait{number}", "type": "event.wait", "config": config}


def _answer_waits(desk: Desk, run: Run, n: int) -> None:
    """Sends, through ingress and delivery, the event of every wait that opens."""
    for index in range(n):
        waits = RunWait.objects.filter(run=run).order_by("opened_at")[index : index + 1]
        wait = eventually(waits.all().first, what=f"wait {index + 1} of {run.definition_key}")
        number = wait.filters[0]["value"]
        desk.send({"ticketId": run.definition_key, "number": number, "text": "It works again, thank you."})


def _ten(number: int) -> list[dict[str, Any]]:
    """Four actions, a wait, four actions, a wait."""
    first = 10 * number
    return [(_wait if i in (4, 9) else _store_set)(first + i) for i in range(10)]


def _loop(n: int) -> list[dict[str, Any]]:
    value = {"namespace": "bench", "key": expr("payload.ticketId"), "value": expr("n")}
    items = expr(f"[1..{n}]")
    return [{"id": "each", "type": "control.forEach", "items": items, "itemVar": "n",
             "body": [_action(1, "store.set", value)]}]  # fmt: skip


def _nap(number: int) -> dict[str, Any]:
    return {"id": f"nap{number}", "type": "time.wait", "config": {"mode": "duration", "durationMs": 20}}


def _child(number: int) -> dict[str, Any]:
    mapping = {"inputMapping": {"ticketId": expr("payload.ticketId")}, "outputMapping": {"s": expr("childRun.meta.state")}}
    return {"id": f"child{number}", "type": "control.callWorkflow", "workflowId": "child", "workflowVersion": 1, **mapping}


def _task(number: int) -> dict[str, Any]:
    config = {
        "taskType": "approval",
        "title": expr("'Approve ' & payload.ticketId"),
        "formSchema": {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]},
        "assignees": {"roles": ["operator"]},
        "dueInMs": 3_600_000,
    }
    return {"id": f"task{number}", "type": "human.task", "config": config}


def _complete_tasks(desk: Desk, run: Run, n: int) -> None:
    for _ in range(n):
        task = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="an open task")
        task_complete(actor=desk.actor, task_id=task.id, response={"approved": True})


def _times(step: Callable[[int], dict[str, Any]]) -> Callable[[int], list[dict[str, Any]]]:
    return lambda n: [step(number) for number in range(1, n + 1)]


def shapes(flaky_url: str, *, scale: int = 1) -> list[Shape]:
    """`scale` divides the sizes of the shapes that have many steps."""
    retry = {"maxAttempts": 3, "backoffMs": 20, "jitter": False}
    body = {"method": "POST", "url": flaky_url, "body": {"ticket": expr("payload.ticketId")}}
    big = {"text": "lorem ipsum " * (BIG // 12)}
    two_kinds = _times(lambda number: (_big_set if number % 2 else _big_get)(number))
    return [
        Shape("pure steps", 20 // scale, _times(_pure), actions=0, events=0),
        Shape("action steps", 10 // scale, _times(_store_set), actions=1, events=6),
        Shape("8 KB in, 8 KB out", 10 // scale, two_kinds, payload=big, actions=1, events=6),
        Shape("waits, deadline", 2, _times(_wait), _answer_waits, actions=3),
        Shape("10 steps, 2 waits", 1, lambda n: [step for number in range(n) for step in _ten(number)],
              lambda desk, run, n: _answer_waits(desk, run, 2 * n), actions=14, run_actions=16, per="ten"),
        Shape("loop of actions", 20 // scale, _loop, actions=1, events=6, run_actions=20 // scale + RUN_ACTIONS, per="item"),
        Shape("2 failures each", 2, _times(lambda i: _action(i, "http.request", body, retry=retry)), actions=5),
        Shape("time waits", 2, _times(_nap), actions=2),
        Shape("tasks, due time", 2, _times(_task), _complete_tasks, actions=3),
        Shape("children", 2, _times(_child), per="child"),
    ]  # fmt: skip


# -- Tables ------------------------------------------------------------------------------------------------------------


def measure(*, quick: bool = False) -> bool:
    """Print what each shape costs. True: every goal holds."""
    desk = Desk()
    measured = []
    with fake_api(lambda number: (503, {"busy": True}) if number % 3 else (200, {"ok": True})) as api:
        for shape in shapes(api.url, scale=2 if quick else 1):
            measured.append((shape, cost_of(desk.run(shape, shape.n)), cost_of(desk.run(shape, 2 * shape.n))))
    held = [_print_actions(measured), _print_bytes(measured)]
    _print_events_of_an_action(measured)
    return all(held)


Measured = list[tuple[Shape, Cost, Cost]]


def _print_actions(measured: Measured) -> bool:
    print("\nTemporal actions and history events. A run of n of its kind against one of 2n: `each` is the difference by n")
    print(f"{'shape':19}{'n':>3}{'steps':>10}{'actions':>10}{'a step':>8}{'each':>7}{'events':>11}{'each':>7}  goal")
    held = True
    for shape, once, twice in measured:
        actions, events = (twice.actions - once.actions) / shape.n, (twice.events - once.events) / shape.n
        goals, verdict = _verdict(shape, once, actions, events)
        held &= verdict
        print(
            f"{shape.name:19}{shape.n:3}{_pair(once.steps, twice.steps):>10}{_pair(once.actions, twice.actions):>10}"
            f"{once.actions / once.steps:8.2f}{actions:7.2f}{_pair(once.events, twice.events):>11}{events:7.2f}"
            f"  {goals}{': held' if verdict and goals else '' if verdict else ': MISSED'}"
        )
    print("Billed: start 1, signal 1, update 1, timer 1, activity attempt 1, child 2 (heartbeats are not in a history).")
    return held


def _verdict(shape: Shape, once: Cost, actions: float, events: float) -> tuple[str, bool]:
    goals, verdict = [], True
    if shape.actions is not None:
        goals.append(f"{shape.actions:g} a {shape.per}")
        verdict &= actions <= shape.actions
    if shape.run_actions is not None:
        goals.append(f"{shape.run_actions} a run")
        verdict &= once.actions <= shape.run_actions
    if shape.events is not None:
        goals.append(f"{shape.events:g} events")
        verdict &= events <= shape.events
    return ", ".join(goals), verdict


def _print_bytes(measured: Measured) -> bool:
    print(f"\nHistory bytes, as the server counts them. Allowed: {STEP_BYTES} a step and {PAYLOAD_FACTOR} x payload in and out")
    print(
        f"{'shape':19}{'bytes n / 2n':>16}{'fixed':>7}{'a step':>8}{'payload':>9}{'allowed':>9}{'of it':>7}  {'goal':8}"
        f"{'whole run':>9}{'of it':>7}  goal"
    )
    held = True
    for shape, once, twice in measured:
        steps = twice.steps - once.steps
        each, payload = (twice.bytes - once.bytes) / steps, (twice.payload - once.payload) / steps
        allowed = STEP_BYTES + PAYLOAD_FACTOR * payload
        whole_allowed = STEP_BYTES * once.steps + PAYLOAD_FACTOR * once.payload
        held &= each <= allowed
        print(
            f"{shape.name:19}{_pair(once.bytes, twice.bytes):>16}{once.bytes - each * once.steps:7.0f}{each:8.0f}"
            f"{payload:9.0f}{allowed:9.0f}{each / allowed:7.0%}  {'held' if each <= allowed else 'MISSED':8}"
            f"{once.bytes / once.steps:9.0f}{once.bytes / whole_allowed:7.0%}"
            f"  {'held' if once.bytes <= whole_allowed else 'MISSED'}"
        )
    print("`a step` is what n more of them add, by their steps; `whole run` is the run with n: its own start and end too.")
    return held


def _print_events_of_an_action(measured: Measured) -> None:
    print("\nWhere an action step's bytes are, by event")
    _, once, twice = next(entry for entry in measured if entry[0].name == "action steps")
    steps = twice.steps - once.steps
    for name, size in (twice.bytes_of - once.bytes_of).most_common():
        print(f"{name.lower():32}{size / steps:8.0f}")


def _pair(once: int, twice: int) -> str:
    return f"{once} / {twice}"
