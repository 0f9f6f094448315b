"""Cases of validation: a definition with one mistake, and the problem that validation must find.

Each case has exactly one problem, unless it says otherwise.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.support.factories import expr, make_definition
from workflows.engine.action_fields import InputFields
from workflows.engine.json_schema.links import link_schema
from workflows.engine.validate import Known, KnownEvent

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


def choice(condition: Any = None, step_id: str = "if", **blocks: Any) -> Json:
    return {"id": step_id, "type": "control.if", "condition": condition or expr("payload.x = 1"), "then": [], **blocks}


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


def deep_choice(levels: int) -> Json:
    return choice(step_id=f"if-{levels}", then=[deep_choice(levels - 1)] if levels else [])


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
    Case(
        "factor of the delay",
        flow({**call(), "retry": {"maxAttempts": 2, "backoffMultiplier": 0.5}}),
        "FIELD_INVALID",
        "/steps/0/retry/backoffMultiplier",
    ),
    Case(
        "jitter a text",
        flow({**call(), "retry": {"maxAttempts": 2, "jitter": "yes"}}),
        "FIELD_INVALID",
        "/steps/0/retry/jitter",
    ),
    Case(
        "description an object", flow(task(description={"text": "D"})), "FIELD_INVALID", "/steps/0/config/description"
    ),
    Case("steps too deep", flow(deep_choice(21)), "NESTED_TOO_DEEP", "/steps/0" + "/then/0" * 19 + "/then"),
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
        "too many secrets",
        flow(call(inputMapping={"x" * 9_000: {"a": {"$secret": "API_TOKEN"}, "b": {"$secret": "API_TOKEN"}}})),
        "SECRET_PLACES_TOO_LONG",
        "/steps/0/config/inputMapping",
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

TIMES = [
    Case("cron field", flow(STATE, trigger=recurring("61 * * * *")), "CRON_INVALID", "/trigger/cron"),
    Case("cron with four fields", flow(STATE, trigger=recurring("* * * *")), "CRON_INVALID", "/trigger/cron"),
    Case("cron of a date that never is", flow(STATE, trigger=recurring("0 0 31 2 *")), "CRON_NEVER", "/trigger/cron"),
    Case(
        "cron with day and weekday",
        flow(STATE, trigger=recurring("0 0 13 * 5")),
        "CRON_DAY_AND_WEEKDAY",
        "/trigger/cron",
        "warning",
    ),
    Case(
        "time zone",
        flow(STATE, trigger=recurring("0 0 * * *", "Europe/Berlni")),
        "TIMEZONE_UNKNOWN",
        "/trigger/timezone",
        suggestion="Europe/Berlin",
    ),
    Case(
        "time without a zone",
        flow(STATE, trigger={"type": "schedule", "runAt": "2026-01-26T09:00:00"}),
        "TRIGGER_TIME_INVALID",
        "/trigger/runAt",
    ),
    Case(
        "until in seconds",
        flow(step("time.wait", mode="until", until=expr("1769417000"))),
        "TIME_INVALID",
        "/steps/0/config/until",
    ),
    Case(
        "duration a text",
        flow(step("time.wait", mode="duration", durationMs=expr("'5'"))),
        "DURATION_INVALID",
        "/steps/0/config/durationMs",
    ),
    Case(
        "two ends of a wait",
        flow(wait(timeoutMs=5, deadline=expr("payload.end"))),
        "FIELD_INVALID",
        "/steps/0/config/deadline",
    ),
    Case(
        "two ends of a task",
        flow(task(dueInMs=5, deadline=expr("payload.end"))),
        "FIELD_INVALID",
        "/steps/0/config/deadline",
    ),
]

# -- Order of steps ----------------------------------------------------------------------------------------------------

RETURNS = choice(then=[end()], **{"else": [end("end-2")]})


def published(**children: list[Json]) -> Json:
    """Return facts about published definitions, each with the version 1 and these steps."""
    documents = {key: flow(*steps, key=key) for key, steps in children.items()}
    return {
        "workflows": {key: frozenset({1}) for key in children},
        "definition_of": lambda key, version: documents.get(key) if version == 1 else None,
    }


def endless(name: str, **children: list[Json]) -> Case:
    return Case(
        name, flow(child("second")), "CALL_ENDLESS", "/steps/0/workflowId", "warning", known=published(**children)
    )


ORDER = [
    Case("step after a return", flow(end(), STATE, assign("x", 1, "b")), "STEP_UNREACHABLE", "/steps/1", "warning"),
    Case("step after two returns", flow(RETURNS, STATE), "STEP_UNREACHABLE", "/steps/1", "warning"),
    Case("inner step after a return", flow(attempt(end(), STATE)), "STEP_UNREACHABLE", "/steps/0/try/1", "warning"),
    Case("endless self call", flow(STATE, child("flow")), "CALL_ENDLESS", "/steps/1/workflowId", "warning"),
    endless("endless calls of two", second=[child("flow")]),
    endless("endless calls of three", second=[child("third")], third=[STATE, child("flow")]),
    endless("call of others that call each other", second=[child("third")], third=[child("second")]),
]

# -- Values ------------------------------------------------------------------------------------------------------------

TICKET = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "priority": {"type": "integer"},
        "urgent": {"type": ["boolean", "null"]},
        "customer": {"$ref": "#/$defs/customer"},
        "lines": {"type": "array", "items": {"type": "object"}},
        "names": {"type": "array", "items": {"type": "string"}},
        "any": {},
    },
    "required": ["id", "customer"],
    "additionalProperties": False,
    "$defs": {
        "customer": {"type": "object", "properties": {"mail": {"type": "string"}}, "additionalProperties": False}
    },
}
OUTPUT = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"},
        "body": {},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "additionalProperties": False,
}
FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "additionalProperties": False}
INPUT = InputFields(
    frozenset({"url", "target", "pieces", "lines"}),
    {
        "lines": InputFields(
            frozenset({"sku"}), are_refused=False, required=(("sku",),), types={"sku": frozenset({"string"})}
        )
    },
    required=(("url", "target"),),
    types={"url": frozenset({"string"}), "pieces": frozenset({"number", "string"}), "lines": frozenset({"array"})},
)
TYPED: Json = {
    "schema_of": lambda ref: link_schema(TICKET) if ref == "payload.Ticket.v1" else None,
    "output_of": lambda action, version: OUTPUT if action == "http.request" else None,
}
FIELDS: Json = {**TYPED, "action_fields": {("http.request", 1): INPUT}}


def typed(*steps: Json, **envelope: Any) -> Json:
    """Return a definition whose payload is a ticket."""
    return flow(*steps, payloadSchemaRef="payload.Ticket.v1", **envelope)


def mismatch(name: str, pointer: str, *steps: Json) -> Case:
    return Case(name, typed(*steps), "TYPE_MISMATCH", f"/steps/{pointer}", known=TYPED)


def unassigned(name: str, *steps: Json, suggestion: str | None = None) -> Case:
    pointer = f"/steps/{len(steps) - 1}/config/assign/x"
    return Case(name, flow(*steps), "VARIABLE_UNASSIGNED", pointer, "warning", suggestion)


def no_such_path(name: str, suggestion: str, source: str, *steps: Json) -> Case:
    pointer = f"/steps/{len(steps)}/config/assign/x"
    document = typed(*steps, assign("x", expr(source), "last"))
    return Case(name, document, "PATH_UNKNOWN", pointer, "warning", f"'{suggestion}'", TYPED)


def input_case(
    name: str, code: str, pointer: str, mapping: Json, severity: str = "error", suggestion: str | None = None
) -> Case:
    document, place = typed(call(inputMapping=mapping)), f"/steps/0/config/inputMapping{pointer}"
    return Case(name, document, code, place, severity, suggestion, FIELDS)


def mapped(mapping: Json) -> Json:
    return typed(STATE, trigger={**EVENT, "payloadMapping": mapping})


CHILD = {**TYPED, **published(ticket=[]), "definition_of": lambda key, version: typed(STATE, key=key)}
GIVEN = {"id": "1", "customer": {}}

NAMES_READ = [
    unassigned("variable never written", assign("x", expr("vars.y"))),
    unassigned("variable misspelt", assign("total", 1), assign("x", expr("1 + totl"), "b"), suggestion="'total'"),
    unassigned("scope misspelt", assign("x", expr("paylod.a")), suggestion="'payload'"),
    Case(
        "variable written later",
        flow(assign("x", expr("vars.y")), assign("y", 1, "b")),
        "VARIABLE_UNASSIGNED",
        "/steps/0/config/assign/x",
        "warning",
    ),
    unassigned("item after its loop", loop(), assign("x", expr("line"), "b")),
    unassigned("child output elsewhere", assign("x", expr("childRun.vars.a"))),
    Case(
        "payload in a trigger mapping",
        flow(STATE, trigger={**EVENT, "payloadMapping": {"a": expr("payload.a")}}),
        "VARIABLE_UNASSIGNED",
        "/trigger/payloadMapping/a",
        "warning",
        "'event.payload'",
    ),
    Case(
        "event field",
        flow(STATE, trigger={**EVENT, "payloadMapping": {"a": expr("event.paylod.a")}}),
        "PATH_UNKNOWN",
        "/trigger/payloadMapping/a",
        "warning",
        "'payload'",
    ),
    no_such_path("payload field", "priority", "payload.priorty"),
    no_such_path("field behind a reference", "mail", "payload.customer.email"),
    no_such_path("field of an output", "status", "answer.statsu", call(saveAs="answer")),
    no_such_path("field of a response", "ok", "vars.humanTask.response.okay", task(formSchema=FORM)),
    no_such_path("system field", "runId", "system.runID"),
    Case(
        "source schema",
        flow(STATE, trigger={**EVENT, "sourcePayloadSchemaRef": "payload.Tickets.v1"}),
        "SOURCE_SCHEMA_UNKNOWN",
        "/trigger/sourcePayloadSchemaRef",
        "warning",
        "'payload.Ticket.v1'",
    ),
]

VALUES = [
    mismatch("condition a number", "0/condition", choice(expr("payload.priority"))),
    mismatch("condition a text", "0/condition", choice(expr("'a' & payload.id"))),
    mismatch("condition an output", "1/condition", call(saveAs="vars.answer"), choice(expr("vars.answer.status"))),
    mismatch("items a text", "0/items", loop("payload.id")),
    mismatch("items one of two texts", "0/items", loop("payload.urgent = true ? payload.id : toString(1)")),
    mismatch("key an object", "0/config/correlationKey", wait(correlationKey=expr("payload.customer"))),
    mismatch("timeout a text", "0/config/timeoutMs", wait(timeoutMs=expr("payload.id"))),
    mismatch("title a list", "0/config/title", task(title=expr("payload.lines"))),
    mismatch("sum with a text", "0/config/assign/x", assign("x", expr("1 + payload.id"))),
    mismatch(
        "sum with an output", "1/config/assign/x", call(saveAs="answer"), assign("x", expr("1 - answer.note"), "b")
    ),
    mismatch(
        "sum with an item", "0/body/0/config/assign/x", loop("payload.names", body=[assign("x", expr("line * 2"))])
    ),
    mismatch("negative text", "0/config/assign/x", assign("x", expr("-payload.id"))),
    input_case("input unknown", "ACTION_FIELD_UNKNOWN", "/piecs", {"url": "u", "piecs": 1}, "error", "'pieces'"),
    input_case(
        "nested input unknown",
        "ACTION_FIELD_IGNORED",
        "/lines/0/note",
        {"url": "u", "lines": [{"sku": "a", "note": 1}]},
        "warning",
    ),
    Case(
        "date that is none",
        flow(call("transform.date_parse", inputMapping={"text": "1", "as": "years"})),
        "INPUT_INVALID",
        "/steps/0/config/inputMapping/as",
        known={"actions": {"transform.date_parse": frozenset({1})}},
    ),
    input_case("input missing", "INPUT_MISSING", "/url", {}),
    input_case("nested input missing", "INPUT_MISSING", "/lines/1/sku", {"url": "u", "lines": [{"sku": "a"}, {}]}),
    input_case("input an object", "TYPE_MISMATCH", "/pieces", {"target": "u", "pieces": {}}),
    input_case("input null", "TYPE_MISMATCH", "/url", {"url": None}),
    input_case("input of the payload", "TYPE_MISMATCH", "/url", {"url": expr("payload.customer")}),
    input_case("nested input a number", "TYPE_MISMATCH", "/lines/0/sku", {"url": "u", "lines": [{"sku": 7}]}),
    Case(
        "child input missing",
        typed(child("ticket", inputMapping={"id": "1"})),
        "INPUT_MISSING",
        "/steps/0/inputMapping/customer",
        known=CHILD,
    ),
    Case(
        "child input a number",
        typed(child("ticket", inputMapping={**GIVEN, "id": expr("1 + 1")})),
        "TYPE_MISMATCH",
        "/steps/0/inputMapping/id",
        known=CHILD,
    ),
    Case(
        "mapped payload incomplete",
        mapped({"customer.mail": "m"}),
        "INPUT_MISSING",
        "/trigger/payloadMapping/id",
        known=TYPED,
    ),
    Case(
        "mapped payload of a wrong type",
        mapped({"id": "1", "customer.mail": 7}),
        "TYPE_MISMATCH",
        "/trigger/payloadMapping/customer.mail",
        known=TYPED,
    ),
]

WAITS = [
    Case(
        "event without a path",
        flow(wait()),
        "WAIT_UNKEYED",
        "/steps/0/config/eventName",
        "warning",
        known={"event_of": lambda name: KnownEvent(())},
    ),
    Case(
        "event whose schema excludes the paths",
        flow(wait()),
        "WAIT_UNKEYED",
        "/steps/0/config/eventName",
        "warning",
        known={**TYPED, "event_of": lambda name: KnownEvent(("ticketId", "payload.customer"), "payload.Ticket.v1")},
    ),
    Case(
        "event of a task",
        flow(task(completeOn={"eventName": "DONE", "correlationKey": expr("payload.id")})),
        "WAIT_UNKEYED",
        "/steps/0/config/completeOn/eventName",
        "warning",
        known={"event_of": lambda name: KnownEvent(())},
    ),
]

CASES = [*ENVELOPE, *TRIGGERS, *TIMES, *STEPS, *NAMES, *EXPRESSIONS, *ORDER, *NAMES_READ, *VALUES, *WAITS]

# -- Definitions without a problem -------------------------------------------------------------------------------------

ITEM = [assign("x", expr("line & index & vars.line & local.line & item"), "b")]
MORE = choice(expr("payload.urgent = true"), then=[child("flow")])
FROM_PAYLOAD = {"url": expr("payload.any"), "lines": expr("payload.lines")}

GOOD: list[tuple[str, Json, Json]] = [
    ("variables of a loop", flow(loop(body=ITEM)), {}),
    ("variable of the iteration before", flow(loop(body=[assign("x", expr("y")), assign("y", 1, "b")])), {}),
    ("list that begins with a default", flow(assign("x", expr("append(coalesce(vars.x, []), 1)"))), {}),
    ("variable of a branch", flow(choice(then=[assign("x", 1)]), assign("y", expr("vars.x"), "b")), {}),
    ("caught error", flow(attempt(captureErrorAs="problem", catch=[assign("x", expr("problem.code"))])), {}),
    ("names inside a predicate", flow(assign("x", expr("payload.lines[price > 3].name"))), {}),
    ("bound variable", flow(assign("x", expr("($a := payload.a; $a + 1)"))), {}),
    ("event of a wait", flow(wait(assign={"x": expr("vars.event.a & vars.eventName")})), {}),
    ("output of a child", flow(child(outputMapping={"x": expr("childRun.vars.y")})), {}),
    ("call under a condition", typed(MORE), TYPED),
    ("call after a possible end", flow(choice(then=[end()]), child("flow")), {}),
    ("call whose error is passed over", flow({**child("flow"), "onError": {"policy": "continue"}}), {}),
    ("call of an older version", flow(child("flow"), version=2), published(flow=[])),
    ("steps after a branch that may return", flow(choice(then=[end()]), STATE), {}),
    ("null in a condition", typed(choice(expr("payload.urgent"))), TYPED),
    ("unknown type", typed(choice(expr("payload.any"))), TYPED),
    ("payload that a step changes", typed(assign("payload.id", True), choice(expr("payload.id"), "c")), TYPED),
    (
        "item of several lists",
        typed(loop("payload.names"), loop("[1]", "l", body=[assign("x", expr("line * 2"))])),
        TYPED,
    ),
    ("variable of several types", typed(assign("x", 1), assign("x", True, "b"), choice(expr("x"), "c")), TYPED),
    ("part of a variable", typed(call(saveAs="x"), assign("x.more", 1, "b"), assign("y", expr("x.more"), "c")), TYPED),
    ("digits in a text", typed(call(inputMapping={"target": "u", "pieces": "7"})), FIELDS),
    ("secret in a text", typed(call(inputMapping={"url": {"$secret": "API_TOKEN"}})), FIELDS),
    ("input from the payload", typed(call(inputMapping=FROM_PAYLOAD)), FIELDS),
    ("complete child input", typed(child("ticket", inputMapping=GIVEN)), CHILD),
    ("mapped payload", mapped({"id": expr("event.payload.a"), "customer.mail": "m"}), TYPED),
    ("event with a path", flow(wait()), {**TYPED, "event_of": lambda name: KnownEvent(("id",), "payload.Ticket.v1")}),
    ("event outside the catalogue", flow(wait()), {}),
]
