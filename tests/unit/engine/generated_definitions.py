"""Hypothesis strategies for definitions with stubs for everything outside the run.

The definitions have every step type, nested up to four levels. Expressions, actions and child runs fail sometimes,
events match or do not match, and people respond or do not respond.

Outside of loops, only the first step writes item variables of loops (`ITEM_VARS`). After the run, each variable must
therefore have its value from before (`Case.before`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from workflows.engine.definition import Definition, canonical_text, parse_definition
from workflows.engine.errors import Category
from workflows.engine.simulate import Stubs

MAX_DEPTH = 4
MAX_STEPS = 24
ITEM_VARS = ("row", "cell")
EVENT_NAMES = ("PAID", "SENT")
PAYLOAD = {"key": "k-1", "n": 2, "flag": True, "rows": [{"k": 1}, {"k": 2}, {"k": 3}], "nested": {"list": [1]}}
EVENT_PAYLOADS = ({"amount": 9, "text": "hi"}, {"amount": 1}, {}, {"amount": 9, "response": {"ok": True}})
RESPONSES = ({"ok": True}, {"ok": True, "note": "n"}, {}, "text", {"ok": 7})


def _mostly(fine: tuple[Any, ...], failing: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return choices of which few fail: always, outside of a loop, or before a certain step."""
    return fine * (1 + 8 * len(failing) // len(fine)) + failing


VALUES = _mostly(
    (
        1, "text", None, [1, 2], {"a": {"$expr": "payload.n"}}, {"$expr": "payload.n + 1"},
        {"$expr": "coalesce(vars.n, 0) + 1"}, {"$expr": "append(coalesce(vars.list, []), payload.n)"},
        {"$expr": "payload.rows"}, {"$expr": "nowIso()"}, {"$expr": "coalesce(error.category, 'none')"},
        {"$expr": "coalesce(item, 0)"}, {"$expr": "coalesce(row, cell, 'none')"},
        {"$expr": "coalesce(local.mark, index, 0)"}, {"$expr": "coalesce(vars.event.text, '')"},
        {"$expr": "coalesce(vars.row, vars.cell, 'none')"},
    ),
    ({"deep": [{"$expr": "payload.missing"}]}, {"$expr": "1 + 'x'"}, {"$expr": "index"}, {"$expr": "error.message"}),
)  # fmt: skip
TARGETS = _mostly(
    (
        "vars.n", "list", "vars.deep.inner", "meta.note", "payload.seen", "error.note", "error.note", "error.category",
        "/vars/list/-", "payload.nested.list", "/payload/nested/list/0", "vars.event.seen",
        "vars.humanTask.response.seen", "vars.problem.note",
    ),
    ("vars.n.deep", "local.mark"),
)  # fmt: skip
CONDITIONS = _mostly(
    ("true", "false", "payload.flag", "coalesce(vars.n, 0) > 1", "coalesce(index, 0) = 0", "error = null"),
    ("isFirst", "1"),
)
ITEMS = _mostly(
    ("[1, 2]", "payload.rows", "payload.rows", "['a']", "[[1], [2]]", "coalesce(vars.list, [7, 8])", "[]"),
    ("7", "payload.missing"),
)
SAVED_AS = _mostly(
    ("out", "vars.deep.out", "payload.out", "/vars/list/-", "meta.out"), ("local.out", "payload.key.out")
)
CAPTURED_AS = ("problem", "vars.deep.problem", "problem", "local.problem", "payload.key.problem")
KEYS = _mostly(("payload.key", "'k-1'", "7", "coalesce(vars.n, 'k-2')"), ("null",))
UNTIL = _mostly(("'2001-01-01T00:00:00Z'", "'2023-11-14T23:00:00Z'", "1700000005000"), ("payload.key",))
FILTERS = _mostly(
    (
        [],
        [{"path": "amount", "op": ">", "value": 5}],
        [{"path": "amount", "op": "exists"}, {"path": "text", "op": "=", "value": "hi"}],
        [{"path": "amount", "op": "!=", "value": {"$expr": "payload.n"}}],
    ),
    ([{"path": "amount", "op": "=", "value": {"$expr": "payload.missing"}}],),
)
TITLES = _mostly(("Review", {"$expr": "payload.key"}), ({"$expr": "payload.n"},))
FORM = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
OUTPUTS: tuple[Any, ...] = ({}, {"status": 200, "list": [1]}, None, 7, [1, {"k": 2}])
CHILD_OUTPUTS = ({}, {"vars": {"count": 2}}, {"vars": {"count": [1]}, "payload": {"x": [1]}, "meta": {"state": "DONE"}})
CHILD_VALUES = ("coalesce(childRun.vars.count, 0)", "childRun.payload", "childRun.vars.count")
ACTIONS: tuple[tuple[str, Any], ...] = (
    *[("test.do", None)] * 10,
    ("transform.merge", {"values": [{"a": 1}, {"b": {"$expr": "payload.n"}}]}),
    ("transform.join", {"values": 1}),
    ("transform.date_add", {"value": {"$expr": "nowIso()"}, "months": {"$expr": "coalesce(payload.n, 'x')"}}),
)
DURATIONS = (1000, 1, 0, {"$expr": "coalesce(payload.n, 7) * 100"}, {"$expr": "payload.key"})
WAITS_AND_CALLS = ("action.call", "event.wait", "human.task", "control.callWorkflow")
LEAVES = (
    "state.set",
    "transform.assign",
    *WAITS_AND_CALLS * 4,
    "transform.assign",
    "time.wait",
    "time.wait",
    "control.return",
)
BRANCHES = ("control.if", "control.forEach", "control.tryCatch", "control.forEach", "control.tryCatch")


@dataclass(frozen=True)
class Case:
    """Definition with stubs for everything outside its run, and limits of the engine, which are sometimes small.

    The engine writes after `gathered` records, and the scopes may have `scope_bytes` bytes.
    """

    document: dict[str, Any]
    stubs: Stubs
    before: dict[str, Any]
    gathered: int
    scope_bytes: int
    payload: dict[str, Any] = field(default_factory=lambda: PAYLOAD)

    @property
    def definition(self) -> Definition:
        return parse_definition(canonical_text(self.document))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    author = _Author(draw)
    steps = author.block(1, least=1)
    author.draw_details()
    pick = author.pick
    before = pick({}, {"row": "before"}, {"row": {"was": [1]}, "cell": None})
    if before:
        steps.insert(0, {"id": "before", "type": "transform.assign", "config": {"assign": dict(before)}})
    document = {"id": "flow", "version": 1, "name": "Flow", "payloadSchemaRef": "payload.Any.v1", "steps": steps}
    events = [author.event() for _ in range(pick(0, 1, 2, 3, 4, 5, 6))]
    stubs = Stubs(outcomes=author.outcomes, responses=author.responses, events=events)
    return Case(
        document, stubs, before, gathered=pick(200, 1, 4), scope_bytes=pick(1 << 20, 1 << 20, 1 << 20, 500, 360, 260)
    )


class _Author:
    """Generator of steps.

    The details of a step come from one draw of bytes, one byte for each choice. This is fast, and shrinks towards the
    first choices. `_loops` holds the item variables of the loops around the step.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._details: Iterator[int] = iter(())
        self._count = 0
        self._loops: list[str] = []
        self.outcomes: dict[str, Any] = {}
        self.responses: dict[str, Any] = {}

    def draw_details(self) -> None:
        self._details = iter(self._draw(st.binary(min_size=32, max_size=32)))

    def pick(self, *choices: Any) -> Any:
        return choices[next(self._details, 0) % len(choices)]

    def block(self, depth: int, least: int = 0) -> list[dict[str, Any]]:
        size = self._draw(st.integers(least, 6 if depth == 1 else 4))
        return [self._step(depth) for _ in range(size) if self._count < MAX_STEPS]

    def _step(self, depth: int) -> dict[str, Any]:
        self._count += 1
        self.draw_details()
        step: dict[str, Any] = {"id": f"s{self._count}"}
        is_branch = self.pick(False, True, depth < MAX_DEPTH) and depth <= MAX_DEPTH
        step["type"] = self.pick(*(BRANCHES if is_branch else LEAVES))
        match step["type"]:
            case "control.if":
                condition, has_else = {"$expr": self.pick(*CONDITIONS)}, self.pick(False, True)
                step |= {"condition": condition, "then": self.block(depth + 1, 1)}
                step |= {"else": self.block(depth + 1)} if has_else else {}
            case "control.forEach":
                step |= self._loop(depth)
            case "control.tryCatch":
                step |= self._maybe("captureErrorAs", *CAPTURED_AS)
                step |= {"try": self.block(depth + 1, 1), "catch": self.block(depth + 1)}
            case "control.callWorkflow":
                step |= {"workflowId": "child", "workflowVersion": 1, **self._child(), **self._policies()}
                self._stub(self.outcomes, step, lambda: self._outcome(CHILD_OUTPUTS))
            case "control.return":
                pass
            case _:
                step |= {"config": self._config(step), **self._policies()}
        return step

    def _loop(self, depth: int) -> dict[str, Any]:
        fields = {"items": {"$expr": self.pick(*ITEMS)}, "itemVar": self.pick(*ITEM_VARS)}
        fields |= self._maybe("onItemError", "continue", "skipItem", "continue", "skipItem", "fail")
        self._loops.append(str(fields["itemVar"]))
        fields["body"] = self.block(depth + 1, 1)
        self._loops.pop()
        return fields

    def _config(self, step: dict[str, Any]) -> dict[str, Any]:
        match step["type"]:
            case "state.set":
                return {"state": self.pick("OPEN", "DONE")}
            case "transform.assign":
                return {"assign": self._assign()}
            case "action.call":
                return self._action(step)
            case "event.wait":
                return self._event_name() | {"filters": self.pick(*FILTERS)} | self._limit("timeoutMs") | self._then()
            case "time.wait":
                duration = {"mode": "duration", "durationMs": self.pick(0, 1, 5000)}
                until = {"mode": "until", "until": {"$expr": self.pick(*UNTIL)}}
                return self.pick(duration, until) | self._then()
        self._stub(self.responses, step, lambda: self.pick(*RESPONSES))
        task = {"taskType": "review", "title": self.pick(*TITLES)}
        more = self._limit("dueInMs") | self._maybe("formSchema", FORM)
        return task | more | self._maybe("completeOn", self._event_name()) | self._then()

    def _limit(self, field: str) -> dict[str, Any]:
        """Return no end of a wait, a duration in this field, or a deadline."""
        deadline = {"deadline": {"$expr": self.pick(*UNTIL)}}
        return self.pick({}, {field: self.pick(*DURATIONS)}, deadline)

    def _event_name(self) -> dict[str, Any]:
        return {"eventName": self.pick(*EVENT_NAMES), "correlationKey": {"$expr": self.pick(*KEYS)}}

    def _action(self, step: dict[str, Any]) -> dict[str, Any]:
        action_id, value = self.pick(*ACTIONS)
        if action_id == "test.do":
            self._stub(self.outcomes, step, lambda: self._outcome(OUTPUTS))
        key = self._maybe("idempotencyKey", {"$expr": "payload.key"})
        call = {"actionId": action_id, "version": 1, "inputMapping": value or {"value": self.pick(*VALUES)}}
        return call | key | self._maybe("saveAs", *SAVED_AS)

    def _child(self) -> dict[str, Any]:
        mapped = {self.pick(*SAVED_AS): {"$expr": self.pick(*CHILD_VALUES)}}
        value = {"value": self.pick(*VALUES)}
        return self._maybe("outputMapping", mapped) | self._maybe("inputMapping", value)

    def _policies(self) -> dict[str, Any]:
        retry = {"maxAttempts": self.pick(2, 3, 1), "backoffMs": self.pick(0, 100), "jitter": self.pick(False, True)}
        retry |= self._maybe("retryOn", ["TimeoutError", "ExpressionError"], list(map(str, Category)))
        return self._maybe("retry", retry) | self._maybe("onError", {"policy": "continue"}, {"policy": "fail"})

    def _assign(self) -> dict[str, Any]:
        targets = TARGETS
        for name in self._loops:
            targets += (f"vars.{name}", f"vars.{name}.k", f"local.{name}.k", "local.item.k", "local.mark") * 3
        return {self.pick(*targets): self.pick(*VALUES) for _ in range(self.pick(1, 2, 3))}

    def _then(self) -> dict[str, Any]:
        return {"assign": self._assign()} if self.pick(False, True) else {}

    def _maybe(self, name: str, *choices: Any) -> dict[str, Any]:
        found = self.pick(None, *choices)
        return {} if found is None else {name: found}

    def _stub(self, stubs: dict[str, Any], step: dict[str, Any], entry: Callable[[], Any]) -> None:
        count = self.pick(0, 1, 2, 3)
        if count:
            stubs[step["id"]] = [entry() for _ in range(count)]

    def _outcome(self, outputs: tuple[Any, ...]) -> dict[str, Any]:
        if self.pick(True, False):
            return {"output": self.pick(*outputs)}
        category = self.pick(Category.TRANSIENT, Category.ACTION, Category.TIMEOUT, *Category)
        error = {"category": str(category), "message": "no response"}
        return {"error": error | self._maybe("code", "STUBBED") | self._maybe("details", {"list": [1]})}

    def event(self) -> dict[str, Any]:
        event = {"eventName": self.pick(*EVENT_NAMES, "HUMAN_TASK_COMPLETED"), "payload": self.pick(*EVENT_PAYLOADS)}
        return event | self.pick({}, {}, {"correlationKey": "k-1"}, {"correlationKey": 7})
