"""Cases of validation: a definition with one mistake, and the problem that validation must find.

Each case has exactly one problem, unless it says otherwise.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.support.factories import expr, make_definition
from workflows.engine.validate import Known

Json = dict[str, Any]
STATE: Json = {"id": "a", "type": "state.set", "config": {"state": "X"}}


@dataclass(frozen=True)
class Case:
    """One mistake. `suggestion` is text that the suggestion must contain; None means that there is no suggestion."""

    name: str
    document: Any
    code: str
    pointer: str
    severity: str = "error"
    suggestion: str | None = None
    known: Json = field(default_factory=dict)


def known_of(case: Case) -> Known:
    """Return the names of a small tenant, changed by the case."""
    names: Json = {
        "actions": {"http.request": frozenset({1, 2}), "store.set": frozenset({1}), "transform.pick": frozenset({1})},
        "schema_refs": frozenset({"payload.Any.v1", "payload.Ticket.v1"}),
        "workflows": {"child": frozenset({1, 2})},
        "secrets": frozenset({"API_TOKEN"}),
        "without_secrets": frozenset({("store.set", 1)}),
        **case.known,
    }
    return Known(**names)


# -- Documents ---------------------------------------------------------------------------------------------------------


def flow(*steps: Any, **envelope: Any) -> Json:
    return make_definition(*steps, **envelope)


def without(document: Json, name: str) -> Json:
    return {key: value for key, value in document.items() if key != name}


def step(step_type: str, step_id: str = "a", **config: Any) -> Json:
    return {"id": step_id, "type": step_type, "config": config}


def assign(target: str, value: Any, step_id: str = "a") -> Json:
    return step("transform.assign", step_id, assign={target: value})


def call(action: str = "http.request", version: Any = 1, step_id: str = "a", **config: Any) -> Json:
    return step("action.call", step_id, actionId=action, version=version, **config)


def wait(**config: Any) -> Json:
    return step("event.wait", **{"eventName": "PAID", "correlationKey": expr("payload.id"), **config})


def task(**config: Any) -> Json:
    return step("human.task", **{"taskType": "t", "title": "T", **config})


def choice(condition: Any = None, **blocks: Any) -> Json:
    return {"id": "if", "type": "control.if", "condition": condition or expr("payload.x = 1"), "then": [], **blocks}


def loop(items: str = "payload.lines", step_id: str = "loop", **fields: Any) -> Json:
    return {"id": step_id, "type": "control.forEach", "items": expr(items), "itemVar": "line", "body": [], **fields}


def attempt(*steps: Json, catch: list[Json] | None = None, **fields: Any) -> Json:
    return {"id": "try", "type": "control.tryCatch", "try": list(steps), "catch": catch or [], **fields}


def child(key: str = "child", version: int = 1, step_id: str = "c", **fields: Any) -> Json:
    return {"id": step_id, "type": "control.callWorkflow", "workflowId": key, "workflowVersion": version, **fields}


def end(step_id: str = "end") -> Json:
    return {"id": step_id, "type": "control.return"}


def recurring(cron: str, zone: str = "Europe/Berlin") -> Json:
    return {"type": "recurring", "cron": cron, "timezone": zone}


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


EVENT = {"type": "event", "eventName": "E"}

# -- Cases -------------------------------------------------------------------------------------------------------------

ENVELOPE = [
    Case("not an object", [], "FIELD_INVALID", ""),
    Case("name missing", without(flow(STATE), "name"), "FIELD_MISSING", "/name"),
    Case("steps missing", without(flow(), "steps"), "FIELD_MISSING", "/steps"),
    Case("steps not a list", {**flow(), "steps": {}}, "FIELD_INVALID", "/steps"),
    Case("version a text", flow(STATE, version="1"), "FIELD_INVALID", "/version"),
    Case("version true", flow(STATE, version=True), "FIELD_INVALID", "/version"),
    Case("version 0", flow(STATE, version=0), "FIELD_INVALID", "/version"),
    Case("version with a fraction", flow(STATE, version=1.0), "NUMBER_FORM", "/version"),
    Case("id with capitals", flow(STATE, key="Flow"), "KEY_INVALID", "/id"),
    Case("name blank", flow(STATE, name=" \u00a0"), "FIELD_INVALID", "/name"),
    Case("name too long", flow(STATE, name="x" * 201), "FIELD_INVALID", "/name"),
    Case("description a number", flow(STATE, description=7), "FIELD_INVALID", "/description"),
    Case("unknown key", flow(STATE, stepps=[]), "KEY_UNKNOWN", "/stepps", suggestion="'steps'"),
    Case("key with a slash", flow(STATE, **{"a/b~": 1}), "KEY_UNKNOWN", "/a~1b~0"),
    Case("text with U+0000", flow(STATE, description="a\x00"), "VALUE_NOT_STORABLE", "/description"),
    Case("too large", flow(STATE, description="x" * 300_000), "DEFINITION_TOO_LARGE", ""),
    Case(
        "unknown schema",
        flow(STATE, payloadSchemaRef="payload.Tickt.v1"),
        "SCHEMA_UNKNOWN",
        "/payloadSchemaRef",
        suggestion="'payload.Ticket.v1'",
    ),
]

TRIGGERS = [
    Case("trigger a text", flow(STATE, trigger="event"), "TRIGGER_INVALID", "/trigger"),
    Case("trigger type", flow(STATE, trigger={"type": "evnt"}), "TRIGGER_INVALID", "/trigger", suggestion="'event'"),
    Case("event name missing", flow(STATE, trigger={"type": "event"}), "FIELD_MISSING", "/trigger/eventName"),
    Case(
        "trigger key",
        flow(STATE, trigger={**EVENT, "payloadMaping": {}}),
        "KEY_UNKNOWN",
        "/trigger/payloadMaping",
        suggestion="'payloadMapping'",
    ),
    Case(
        "mapping an expression",
        flow(STATE, trigger={**EVENT, "payloadMapping": expr("event.payload")}),
        "FIELD_INVALID",
        "/trigger/payloadMapping",
    ),
    Case(
        "secret in a mapping",
        flow(STATE, trigger={**EVENT, "payloadMapping": {"a": {"$secret": "API_TOKEN"}}}),
        "SECRET_MISPLACED",
        "/trigger/payloadMapping/a",
    ),
]

STEPS = [
    Case("step a text", flow("end"), "FIELD_INVALID", "/steps/0"),
    Case(
        "step type",
        flow({**STATE, "type": "state.sett"}),
        "STEP_TYPE_UNKNOWN",
        "/steps/0/type",
        suggestion="'state.set'",
    ),
    Case("step type missing", flow(without(STATE, "type")), "STEP_TYPE_UNKNOWN", "/steps/0/type"),
    Case("step id missing", flow(without(STATE, "id")), "FIELD_MISSING", "/steps/0/id"),
    Case("step id twice", flow(STATE, choice(then=[STATE])), "STEP_ID_TWICE", "/steps/1/then/0/id"),
    Case("config missing", flow(without(STATE, "config")), "FIELD_MISSING", "/steps/0/config"),
    Case(
        "config key",
        flow(step("state.set", state="X", stat=1)),
        "KEY_UNKNOWN",
        "/steps/0/config/stat",
        suggestion="'state'",
    ),
    Case("retry of a choice", flow(choice(retry={"maxAttempts": 2})), "KEY_UNKNOWN", "/steps/0/retry"),
    Case("then not a list", flow(choice(then={})), "FIELD_INVALID", "/steps/0/then"),
    Case("then missing", flow(without(choice(), "then")), "FIELD_MISSING", "/steps/0/then"),
    Case("condition a literal", flow(choice(condition=True)), "FIELD_INVALID", "/steps/0/condition"),
    Case("loop parallel", flow(loop(concurrency=4)), "LOOP_CONCURRENCY", "/steps/0/concurrency"),
    Case("loop concurrency 1.0", flow(loop(concurrency=1.0)), "NUMBER_FORM", "/steps/0/concurrency"),
    Case("loop variable taken", flow(loop(itemVar="index")), "FIELD_INVALID", "/steps/0/itemVar"),
    Case("loop variable a scope", flow(loop(itemVar="meta")), "NAME_HIDDEN", "/steps/0/itemVar", "warning"),
    Case(
        "item policy", flow(loop(onItemError="skip")), "FIELD_INVALID", "/steps/0/onItemError", suggestion="'skipItem'"
    ),
    Case("catch missing", flow(without(attempt(), "catch")), "FIELD_MISSING", "/steps/0/catch"),
    Case(
        "time mode",
        flow(step("time.wait", mode="untill")),
        "FIELD_INVALID",
        "/steps/0/config/mode",
        suggestion="'until'",
    ),
    Case("time until missing", flow(step("time.wait", mode="until")), "FIELD_MISSING", "/steps/0/config/until"),
    Case(
        "filter operator",
        flow(wait(filters=[{"path": "a", "op": "startswith", "value": 1}])),
        "FIELD_INVALID",
        "/steps/0/config/filters/0/op",
        suggestion="'starts_with'",
    ),
    Case(
        "filter value missing",
        flow(wait(filters=[{"path": "a", "op": "="}])),
        "FIELD_MISSING",
        "/steps/0/config/filters/0/value",
    ),
    Case(
        "filter list",
        flow(wait(filters=[{"path": "a", "op": "in", "value": "x"}])),
        "FIELD_INVALID",
        "/steps/0/config/filters/0/value",
    ),
    Case(
        "filter key",
        flow(wait(filters=[{"path": "a", "op": "exists", "val": 1}])),
        "KEY_UNKNOWN",
        "/steps/0/config/filters/0/val",
        suggestion="'value'",
    ),
    Case("form", flow(task(formSchema={"type": "objekt"})), "FORM_INVALID", "/steps/0/config/formSchema"),
    Case("attempts 0", flow({**call(), "retry": {"maxAttempts": 0}}), "FIELD_INVALID", "/steps/0/retry/maxAttempts"),
    Case("attempts 3.0", flow({**call(), "retry": {"maxAttempts": 3.0}}), "NUMBER_FORM", "/steps/0/retry/maxAttempts"),
    Case("error policy", flow({**call(), "onError": {"policy": "ignore"}}), "FIELD_INVALID", "/steps/0/onError/policy"),
    Case(
        "two error policies",
        flow({**call(onError={"policy": "fail"}), "onError": {"policy": "fail"}}),
        "FIELD_INVALID",
        "/steps/0/config/onError",
    ),
    Case(
        "almost a category",
        flow({**call(), "retry": {"maxAttempts": 2, "retryOn": ["TimeoutEror"]}}),
        "RETRY_ON_CODE",
        "/steps/0/retry/retryOn/0",
        "warning",
        suggestion="'TimeoutError'",
    ),
    Case(
        "target reserved", flow(assign("vars.__proto__", 1)), "TARGET_INVALID", "/steps/0/config/assign/vars.__proto__"
    ),
    Case("target pointer", flow(assign("/nothing/a", 1)), "TARGET_INVALID", "/steps/0/config/assign/~1nothing~1a"),
    Case("target with an empty part", flow(call(saveAs="vars..x")), "TARGET_INVALID", "/steps/0/config/saveAs"),
    Case(
        "literal too deep", flow(assign("x", nested(80))), "VALUE_NOT_STORABLE", "/steps/0/config/assign/x" + "/0" * 63
    ),
    Case("key with a dollar", flow(assign("x", {"$ref": 1})), "KEY_DOLLAR", "/steps/0/config/assign/x/$ref", "warning"),
]

NAMES = [
    Case(
        "unknown action",
        flow(call("http.requst")),
        "ACTION_UNKNOWN",
        "/steps/0/config/actionId",
        suggestion="'http.request'",
    ),
    Case("action version", flow(call(version=9)), "ACTION_VERSION_UNKNOWN", "/steps/0/config/version", suggestion="2"),
    Case(
        "unknown child", flow(child("chil")), "WORKFLOW_UNKNOWN", "/steps/0/workflowId", "warning", suggestion="'child'"
    ),
    Case(
        "child version",
        flow(child(version=3)),
        "WORKFLOW_VERSION_UNKNOWN",
        "/steps/0/workflowVersion",
        "warning",
        suggestion="2",
    ),
    Case(
        "unknown secret",
        flow(call(inputMapping={"h": {"$secret": "API_TOKN"}})),
        "SECRET_UNKNOWN",
        "/steps/0/config/inputMapping/h",
        "warning",
        suggestion="'API_TOKEN'",
    ),
    Case(
        "secret name",
        flow(call(inputMapping={"h": [{"$secret": "token"}]})),
        "SECRET_NAME_INVALID",
        "/steps/0/config/inputMapping/h/0",
    ),
    Case(
        "secret refused",
        flow(call("store.set", inputMapping={"v": {"$secret": "API_TOKEN"}})),
        "SECRET_NOT_ALLOWED",
        "/steps/0/config/inputMapping/v",
    ),
    Case(
        "secret in a variable",
        flow(assign("x", {"$secret": "API_TOKEN"})),
        "SECRET_MISPLACED",
        "/steps/0/config/assign/x",
    ),
    Case(
        "secret in a form",
        flow(task(formSchema={"default": [{"$secret": "API_TOKEN"}]})),
        "SECRET_MISPLACED",
        "/steps/0/config/formSchema/default/0",
    ),
]

EXPRESSIONS = [
    Case("syntax", flow(assign("x", expr("1 +"))), "EXPRESSION_SYNTAX", "/steps/0/config/assign/x"),
    Case(
        "operator of another language",
        flow(assign("x", expr("1 && 2"))),
        "EXPRESSION_SYNTAX",
        "/steps/0/config/assign/x",
        suggestion="and",
    ),
    Case(
        "function",
        flow(assign("x", expr("lenght(payload.a)"))),
        "EXPRESSION_FUNCTION_NOT_ALLOWED",
        "/steps/0/config/assign/x",
        suggestion="len",
    ),
    Case("lambda", flow(assign("x", expr("function($a){$a}"))), "EXPRESSION_LAMBDA", "/steps/0/config/assign/x"),
    Case("call of a value", flow(assign("x", expr("(1)(2)"))), "EXPRESSION_DYNAMIC_CALL", "/steps/0/config/assign/x"),
    Case("apply", flow(assign("x", expr("1 ~> 2"))), "EXPRESSION_APPLY", "/steps/0/config/assign/x"),
    Case(
        "too long",
        flow(assign("x", expr("'" + "x" * 40_000 + "'"))),
        "EXPRESSION_TOO_LARGE",
        "/steps/0/config/assign/x",
    ),
    Case(
        "too deep",
        flow(assign("x", expr("(" * 300 + "1" + ")" * 300))),
        "EXPRESSION_BUDGET",
        "/steps/0/config/assign/x",
    ),
    Case(
        "inside a list",
        flow(call(inputMapping={"b": [1, {"c": expr("1 +")}]})),
        "EXPRESSION_SYNTAX",
        "/steps/0/config/inputMapping/b/1/c",
    ),
]

CASES = [*ENVELOPE, *TRIGGERS, *STEPS, *NAMES, *EXPRESSIONS]
