"""Temporal cost of runs. Billed actions, events and bytes are counted in real histories.

Each shape runs once with n steps and once with 2n steps. The difference is the cost of n steps. The remaining cost is
the fixed cost of a run.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from tests.support.factories import eventually, expr, make_actor, make_tenant, publish
from tests.support.fakes import fake_api
from workflows.engine.sizes import json_size
from workflows.models import Event, HumanTask, Run, RunStep, RunWait
from workflows.services.human_tasks import task_complete
from workflows.services.runs.start import run_start
from workflows.statuses import EventSource
from workflows.temporal.connection import connect_client

STEP_BYTES = 1_500
PAYLOAD_FACTOR = 1.25
RUN_ACTIONS = 2  # the start, and the activity that writes the last projection records
BIG = 8_000
REPLIED = "TICKET_CUSTOMER_REPLIED"

# -- Billed events (docs/architecture.md#facts-found-by-trial) ---------------------------------------------------------

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
    "WORKFLOW_EXECUTION_COMPLETED", "WORKFLOW_EXECUTION_FAILED", "WORKFLOW_EXECUTION_CANCELED",
    "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED", "WORKFLOW_TASK_FAILED",
    "WORKFLOW_TASK_TIMED_OUT",
    "ACTIVITY_TASK_COMPLETED", "ACTIVITY_TASK_FAILED", "ACTIVITY_TASK_TIMED_OUT", "TIMER_FIRED", "TIMER_CANCELED",
    "CHILD_WORKFLOW_EXECUTION_STARTED", "CHILD_WORKFLOW_EXECUTION_COMPLETED", "CHILD_WORKFLOW_EXECUTION_FAILED",
    "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
}  # fmt: skip


def event_name(event: HistoryEvent) -> str:
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")


def billed_actions(event: HistoryEvent) -> int:
    """Return the billed actions of an event.

    A start is not billed if Temporal has already billed it to the parent or to the previous execution. Every activity
    attempt is billed.
    Errors: ValueError for an event type that is in neither of the two tables above.
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
        raise ValueError(f"{name} is neither in _BILLED nor in _FREE; add it to one of them")
    return _BILLED[name]


# -- Cost of a run -----------------------------------------------------------------------------------------------------


@dataclass
class Cost:
    """Cost of a run with its children.

    Units: `attempts` is the number of step rows. `payload` is the size in bytes of the inputs and outputs that the
    author wrote.
    """

    steps: int = 0
    attempts: int = 0
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
    family = [run, *Run.objects.filter(parent_run=run)]
    cost, results = cost_of_workflows([each.temporal_workflow_id for each in family])
    cost.steps = sum(each.step_count for each in family)
    cost.attempts = RunStep.objects.filter(run__in=family).count()
    cost.payload = sum(_payloads(family))
    for each, result in zip(family, results, strict=True):
        cost.payload += json_size(each.input) + json_size({k: result[k] for k in ("payload", "vars", "meta")})
    return cost


def cost_of_workflows(workflow_ids: list[str]) -> tuple[Cost, list[Any]]:
    """Return the part of the cost that the histories show, and the results of the workflows."""
    cost, results = Cost(), []
    for events, size, result in asyncio.run(_histories(workflow_ids)):
        cost.add_history(events, size)
        results.append(result)
    return cost, results


def _payloads(family: list[Run]) -> Iterator[int]:
    for step in RunStep.objects.filter(run__in=family, step_type="action.call"):
        yield json_size(step.input) + (json_size(step.output) if step.output is not None else 0)
    for event in Event.objects.filter(deliveries__run__in=family):
        yield json_size(event.payload)
    for task in HumanTask.objects.filter(run__in=family):
        yield json_size(task.context_data) + json_size(task.form_schema) + json_size(task.response)


async def _histories(workflow_ids: list[str]) -> list[tuple[list[HistoryEvent], int, Any]]:
    """Return the events, the size in bytes and the result of each workflow. The server reports the size."""
    client = await connect_client()
    found = []
    for workflow_id in workflow_ids:
        handle = client.get_workflow_handle(workflow_id)
        result = await handle.result()
        described = (await handle.describe()).raw_description.workflow_execution_info
        events = list((await handle.fetch_history()).events)
        if len(events) != described.history_length:
            raise RuntimeError(f"{len(events)} events were fetched, but the server counts {described.history_length}")
        found.append((events, described.history_size_bytes, result))
    return found


# -- Shapes ------------------------------------------------------------------------------------------------------------


@dataclass
class Shape:
    """Kind of run that is measured.

    `steps(n)` returns the steps of its definition. `drive` sends events and completes tasks while the run is open.
    """

    name: str
    n: int
    steps: Callable[[int], list[dict[str, Any]]]
    drive: Callable[[RunDriver, Run, int], None] = lambda driver, run, n: None
    payload: dict[str, Any] = field(default_factory=dict)
    # Goals. Each is a maximum, either for one more step or for the whole run with n steps.
    actions: float | None = None
    events: float | None = None
    run_actions: int | None = None


class RunDriver:
    """Test driver for the tenant of the measured runs."""

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
            what=f"the success of {key}; it is {Run.objects.values('status', 'error').get(id=run_id)}",
        )

    def send(self, payload: dict[str, Any]) -> None:
        from ingress.intake.receive import event_receive

        value = {"event_type": REPLIED, "payload": payload}
        event_receive(tenant_id=self.tenant.id, value=value, source=EventSource.REST)


def _state(name: str, number: int) -> dict[str, Any]:
    return {"id": f"{name}{number}", "type": "state.set", "config": {"state": f"STATE_{number}"}}


def _pure(number: int) -> dict[str, Any]:
    """Return a step that needs no activity. Four kinds of step alternate."""
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


def _answer_waits(driver: RunDriver, run: Run, n: int) -> None:
    """Send an event for every wait that opens. The events go through the normal intake and delivery."""
    for index in range(n):
        waits = RunWait.objects.filter(run=run).order_by("opened_at")[index : index + 1]
        wait = eventually(waits.all().first, what=f"wait {index + 1} of {run.definition_key}")
        number = wait.filters[0]["value"]
        driver.send({"ticketId": run.definition_key, "number": number, "text": "It works again, thank you."})


def _ten(number: int) -> list[dict[str, Any]]:
    """Return ten steps: four actions, a wait, four more actions, and another wait."""
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
    mapping = {
        "inputMapping": {"ticketId": expr("payload.ticketId")},
        "outputMapping": {"s": expr("childRun.meta.state")},
    }
    return {
        "id": f"child{number}",
        "type": "control.callWorkflow",
        "workflowId": "child",
        "workflowVersion": 1,
        **mapping,
    }


def _task(number: int) -> dict[str, Any]:
    config = {
        "taskType": "approval",
        "title": expr("'Approve ' & payload.ticketId"),
        "formSchema": {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]},
        "assignees": {"roles": ["operator"]},
        "dueInMs": 3_600_000,
    }
    return {"id": f"task{number}", "type": "human.task", "config": config}


def _complete_tasks(driver: RunDriver, run: Run, n: int) -> None:
    for _ in range(n):
        task = eventually(lambda: HumanTask.objects.filter(run=run, status="pending").first(), what="an open task")
        task_complete(actor=driver.actor, task_id=task.id, response={"approved": True})


def _repeat(step: Callable[[int], dict[str, Any]]) -> Callable[[int], list[dict[str, Any]]]:
    return lambda n: [step(number) for number in range(1, n + 1)]


def shapes(flaky_url: str, *, scale: int = 1) -> list[Shape]:
    """Return the shapes. The number of steps of large shapes is divided by `scale`."""
    retry = {"maxAttempts": 3, "backoffMs": 20, "jitter": False}
    body = {"method": "POST", "url": flaky_url, "body": {"ticket": expr("payload.ticketId")}}
    big = {"text": random.Random(1).randbytes(BIG // 2).hex()}
    two_kinds = _repeat(lambda number: (_big_set if number % 2 else _big_get)(number))
    return [
        Shape("pure steps", 20 // scale, _repeat(_pure), actions=0, events=0),
        Shape("action steps", 10 // scale, _repeat(_store_set), actions=1, events=6),
        Shape("8 KB in, 8 KB out", 10 // scale, two_kinds, payload=big, actions=1, events=6),
        Shape("waits, deadline", 2, _repeat(_wait), _answer_waits, actions=3),
        Shape("10 steps, 2 waits", 1, lambda n: [step for number in range(n) for step in _ten(number)],
              lambda driver, run, n: _answer_waits(driver, run, 2 * n), actions=14, run_actions=16),
        Shape("loop of actions", 20 // scale, _loop, actions=1, events=6, run_actions=20 // scale + RUN_ACTIONS),
        Shape("2 failures each", 2, _repeat(lambda i: _action(i, "http.request", body, retry=retry)), actions=5),
        Shape("time waits", 2, _repeat(_nap), actions=2),
        Shape("tasks, due time", 2, _repeat(_task), _complete_tasks, actions=3),
        Shape("children", 2, _repeat(_child)),
    ]  # fmt: skip


# -- Tables ------------------------------------------------------------------------------------------------------------

Measured = list[tuple[Shape, Cost, Cost]]
_GROUPS = {
    "definition": ("WORKFLOW_EXECUTION_STARTED",),
    "activity in": ("ACTIVITY_TASK_SCHEDULED",),
    "and out": ("ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED"),
    "tasks": ("WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"),
    "timers": ("TIMER_STARTED", "TIMER_FIRED", "TIMER_CANCELED"),
    "messages": ("WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
                 "WORKFLOW_EXECUTION_UPDATE_COMPLETED"),
    "children": ("START_CHILD_WORKFLOW_EXECUTION_INITIATED", "CHILD_WORKFLOW_EXECUTION_STARTED",
                 "CHILD_WORKFLOW_EXECUTION_COMPLETED"),
    "result": ("WORKFLOW_EXECUTION_COMPLETED",),
}  # fmt: skip


def measure(*, quick: bool = False) -> bool:
    """Print the cost of each shape. Return True if every goal is met."""
    driver = RunDriver()
    measured: Measured = []
    with fake_api(lambda number: (503, {"busy": True}) if number % 3 else (200, {"ok": True})) as api:
        for shape in shapes(api.url, scale=2 if quick else 1):
            measured.append((shape, cost_of(driver.run(shape, shape.n)), cost_of(driver.run(shape, 2 * shape.n))))
    met = [_print_actions(measured), _print_bytes(measured)]
    _print_groups(measured)
    return all(met)


def _print_actions(measured: Measured) -> bool:
    print("Temporal actions and history events of a run with n steps and of a run with 2n steps; `each`: one more step")
    print(f"{'shape':19}{'n':>3}{'steps':>10}{'actions':>10}{'a step':>8}{'each':>7}{'events':>11}{'each':>7}  goals")
    all_met = True
    for shape, once, twice in measured:
        actions, events = (twice.actions - once.actions) / shape.n, (twice.events - once.events) / shape.n
        goals = []
        if shape.actions is not None:
            goals.append((actions <= shape.actions, f"{shape.actions:g} each"))
        if shape.run_actions is not None:
            goals.append((once.actions <= shape.run_actions, f"{shape.run_actions} a run"))
        if shape.events is not None:
            goals.append((events <= shape.events, f"{shape.events:g} events each"))
        is_met = all(met for met, _ in goals)
        all_met &= is_met
        print(
            f"{shape.name:19}{shape.n:3}{_pair(once.steps, twice.steps):>10}{_pair(once.actions, twice.actions):>10}"
            f"{once.actions / once.steps:8.2f}{actions:7.2f}{_pair(once.events, twice.events):>11}{events:7.2f}"
            f"  {', '.join(goal for _, goal in goals) + (': met' if is_met else ': MISSED') if goals else ''}"
        )
    print("Billed: start 1, signal 1, update 1, timer 1, activity attempt 1, child 2. A history shows no heartbeats.")
    return all_met


def _print_bytes(measured: Measured) -> bool:
    print(
        f"\nHistory bytes by the server's count. Allowed: {STEP_BYTES} per step + {PAYLOAD_FACTOR} x payload in and out"
    )
    print(f"{'':19}{'':>17}{'one more step':>36}{'':11}{'whole run with n, per step':>30}")
    print(
        f"{'shape':19}{'bytes n / 2n':>17}{'bytes':>9}{'payload':>9}{'allowed':>9}{'used':>7}  {'goal':9}"
        f"{'bytes':>9}{'allowed':>9}{'used':>7}  goal"
    )
    all_met = True
    for shape, once, twice in measured:
        steps = twice.attempts - once.attempts
        size, payload = (twice.bytes - once.bytes) / steps, (twice.payload - once.payload) / steps
        allowed = STEP_BYTES + PAYLOAD_FACTOR * payload
        whole, whole_allowed = once.bytes / once.attempts, STEP_BYTES + PAYLOAD_FACTOR * once.payload / once.attempts
        all_met &= size <= allowed
        print(
            f"{shape.name:19}{_pair(once.bytes, twice.bytes):>17}{size:9.0f}{payload:9.0f}{allowed:9.0f}"
            f"{size / allowed:7.0%}  {_verdict(size <= allowed):9}"
            f"{whole:9.0f}{whole_allowed:9.0f}{whole / whole_allowed:7.0%}  {_verdict(whole <= whole_allowed)}"
        )
    print("A step is one attempt, that is one row of the run's steps. The goal applies to one more step.")
    return all_met


def _print_groups(measured: Measured) -> None:
    print("\nBytes of one more step, by event type")
    print(f"{'shape':19}" + "".join(f"{group:>12}" for group in _GROUPS))
    for shape, once, twice in measured:
        steps = twice.attempts - once.attempts
        sizes = [
            sum(twice.bytes_of[name] - once.bytes_of[name] for name in names) / steps for names in _GROUPS.values()
        ]
        print(f"{shape.name:19}" + "".join(f"{size:12.0f}" for size in sizes))
    print("`definition`: the start event contains the definition. `activity in`: includes records of other steps.")


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def _pair(once: int, twice: int) -> str:
    return f"{once} / {twice}"
