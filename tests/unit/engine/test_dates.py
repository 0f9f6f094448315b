"""The actions `transform.date_*`, and durations and deadlines of waits."""

from typing import Any

import pytest

from tests.support.factories import expr, make_definition, wait_for_reply
from tests.unit.engine.driver import START_MS, Drive
from workflows.engine import commands as cmd
from workflows.engine.errors import RunError
from workflows.engine.transforms import TRANSFORMS
from workflows.engine.validate import Known, validate

HUGE = 10**400


def date(name: str, **value: Any) -> Any:
    return TRANSFORMS[f"transform.date_{name}", 1](value, 2)["result"]


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"value": "2026-01-31T12:00:00Z", "months": 1}, "2026-02-28T12:00:00.000Z"),
        ({"value": "2024-01-31T12:00:00Z", "months": 1}, "2024-02-29T12:00:00.000Z"),
        ({"value": "2024-02-29T00:00:00Z", "years": 1}, "2025-02-28T00:00:00.000Z"),
        ({"value": "2026-03-31T12:00:00Z", "months": -1}, "2026-02-28T12:00:00.000Z"),
        ({"value": "2026-01-31T12:00:00Z", "months": 1, "days": 1}, "2026-03-01T12:00:00.000Z"),
        ({"value": "2026-12-31T23:59:59.999Z", "milliseconds": 1}, "2027-01-01T00:00:00.000Z"),
        ({"value": 0, "weeks": 1, "days": 1.0}, "1970-01-09T00:00:00.000Z"),
        ({"value": -1, "hours": 0}, "1969-12-31T23:59:59.999Z"),
        # The calendar is that of the offset: in +02:00 it is already February.
        ({"value": "2026-01-31T23:00:00Z", "months": 1, "offset": "+02:00"}, "2026-03-01T01:00:00.000+02:00"),
        ({"value": "2026-01-31T23:00:00-05:30", "minutes": 1}, "2026-01-31T23:01:00.000-05:30"),
        ({"value": "2026-01-31T23:00:00+02:00", "days": 1, "as": "ms"}, 1_769_979_600_000),
        # RFC 3339: lower case, leap second, digits below the millisecond.
        ({"value": "2016-12-31t23:59:60z", "seconds": 0}, "2017-01-01T00:00:00.000Z"),
        ({"value": "2026-01-01T00:00:00.0009999Z", "seconds": 0}, "2026-01-01T00:00:00.000Z"),
        ({"value": "2026-01-01T00:00:00Z", "seconds": 1, "days": None, "offset": None}, "2026-01-01T00:00:01.000Z"),
    ],
)
def test_add(value: dict[str, Any], result: Any) -> None:
    assert date("add", **value) == result


@pytest.mark.parametrize(
    ("start", "end", "unit", "result"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-02T23:59:59Z", "days", 1),
        ("2026-01-02T23:59:59Z", "2026-01-01T00:00:00Z", "days", -1),
        (0, 1_500, "seconds", 1),
        (0, 1_500, "milliseconds", 1_500),
        ("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "months", 1),
        ("2026-01-31T00:00:00Z", "2026-02-27T23:00:00Z", "months", 0),
        ("2026-03-31T00:00:00Z", "2026-02-28T00:00:00Z", "months", -1),
        ("1990-06-15T00:00:00Z", "2026-06-14T00:00:00Z", "years", 35),
        ("2026-01-01T00:30:00+02:00", "2026-01-31T23:00:00Z", "months", 1),
        ("2026-01-01T00:00:00Z", "2026-01-15T00:00:00Z", "weeks", 2),
    ],
)
def test_difference(start: Any, end: Any, unit: str, result: int) -> None:
    assert date("difference", **{"from": start, "to": end, "unit": unit}) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"text": "2026-01-31T12:00:00+01:00"}, "2026-01-31T12:00:00.000+01:00"),
        ({"text": "2026-01-31T12:00:00+01:00", "offset": "Z"}, "2026-01-31T11:00:00.000Z"),
        ({"text": "31.01.2026", "format": "DD.MM.YYYY"}, "2026-01-31T00:00:00.000Z"),
        (
            {"text": "31.01.2026 07:05", "format": "DD.MM.YYYY HH:mm", "offset": "+02:00"},
            "2026-01-31T07:05:00.000+02:00",
        ),
        ({"text": "20260131T070503250+0200", "format": "YYYYMMDDTHHmmssSSSZ", "as": "ms"}, 1_769_835_903_250),
        ({"text": "day 31 of 01/2026", "format": "'day 'DD' of 'MM/YYYY"}, "2026-01-31T00:00:00.000Z"),
        ({"text": "1900-02-28", "format": "YYYY-MM-DD", "as": "ms"}, -2_203_977_600_000),
    ],
)
def test_parse(value: dict[str, Any], result: Any) -> None:
    assert date("parse", **value) == result


@pytest.mark.parametrize(
    ("name", "value", "code", "place"),
    [
        ("add", {"value": "2026-01-31", "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": "2026-01-31T12:00:00", "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": "2026-02-30T12:00:00Z", "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": "2026-06-15T12:00:60Z", "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": "2026-W01-1T00:00:00Z", "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": "0001-01-01T00:00:00+02:00", "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": None, "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": True, "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": HUGE, "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": 1e308, "days": 1}, "TIME_INVALID", "`value`"),
        ("add", {"value": 0, "days": HUGE}, "TIME_INVALID", "the result"),
        ("add", {"value": 0, "years": 9_000}, "TIME_INVALID", "the result"),
        ("add", {"value": 0, "months": -HUGE}, "TIME_INVALID", "the result"),
        ("add", {"value": 0, "days": 1.5}, "ACTION_INPUT_INVALID", "`days`"),
        ("add", {"value": 0, "days": "1"}, "ACTION_INPUT_INVALID", "`days`"),
        ("add", {"value": 0, "days": True}, "ACTION_INPUT_INVALID", "`days`"),
        ("add", {"value": 0}, "ACTION_INPUT_INVALID", "no amount"),
        ("add", {"value": 0, "days": 1, "as": "text"}, "ACTION_INPUT_INVALID", "`as`"),
        ("add", {"value": 0, "days": 1, "offset": "Europe/Berlin"}, "TIME_INVALID", "`offset`"),
        ("add", {"value": 0, "days": 1, "offset": "+24:00"}, "TIME_INVALID", "`offset`"),
        ("difference", {"from": 0, "to": 1}, "ACTION_INPUT_INVALID", "`unit`"),
        ("difference", {"from": 0, "to": 1, "unit": "fortnights"}, "ACTION_INPUT_INVALID", "`unit`"),
        ("difference", {"from": 0, "to": "soon", "unit": "days"}, "TIME_INVALID", "`to`"),
        ("difference", {"from": 0, "unit": "days"}, "TIME_INVALID", "`to`"),
        ("parse", {"text": "31.13.2026", "format": "DD.MM.YYYY"}, "TIME_INVALID", "`text`"),
        ("parse", {"text": "1.1.2026", "format": "DD.MM.YYYY"}, "TIME_INVALID", "`text`"),
        ("parse", {"text": "٣١.٠١.٢٠٢٦", "format": "DD.MM.YYYY"}, "TIME_INVALID", "`text`"),
        ("parse", {"text": "x", "format": "MMM"}, "TIME_INVALID", "`format`"),
        ("parse", {"text": "x", "format": "YYYY YYYY"}, "TIME_INVALID", "`format`"),
        ("parse", {"text": "x", "format": "y" * 200}, "TIME_INVALID", "`format`"),
        ("parse", {"text": 5}, "ACTION_INPUT_INVALID", "`text`"),
        ("parse", {"text": "x", "format": 5}, "ACTION_INPUT_INVALID", "`format`"),
    ],
)
def test_value_that_is_no_time_names_its_field(name: str, value: dict[str, Any], code: str, place: str) -> None:
    with pytest.raises(RunError) as raised:
        date(name, **value)
    assert (raised.value.category, raised.value.code) == ("ValidationError", code)
    assert place in raised.value.message


# -- Waits -------------------------------------------------------------------------------------------------------------


def task(**config: Any) -> dict[str, Any]:
    return {"id": "review", "type": "human.task", "config": {"taskType": "review", "title": "Review", **config}}


def sleep(**config: Any) -> dict[str, Any]:
    return {"id": "sleep", "type": "time.wait", "config": config}


PAYLOAD = {"ticketId": "T-1", "days": 2, "at": "2023-11-14T22:13:21.500Z", "ms": START_MS + 1_500, "s": 1_700_000_001}


@pytest.mark.parametrize(
    ("step", "due_ms"),
    [
        (wait_for_reply(timeoutMs=expr("payload.days * 86400000")), START_MS + 172_800_000),
        (wait_for_reply(timeoutMs=0), START_MS),
        (wait_for_reply(timeoutMs=expr("-5")), START_MS),
        (wait_for_reply(timeoutMs=-5), START_MS),
        (wait_for_reply(deadline=expr("payload.at")), START_MS + 1_500),
        (wait_for_reply(deadline=expr("payload.ms")), START_MS + 1_500),
        (wait_for_reply(deadline=expr("'2023-11-14T22:13:19Z'")), START_MS - 1_000),
        (task(dueInMs=expr("payload.days")), START_MS + 2),
        (task(deadline=expr("payload.at")), START_MS + 1_500),
        (sleep(mode="duration", durationMs=expr("1.5 * 1000")), START_MS + 1_500),
    ],
)
def test_wait_has_the_deadline_of_its_expression(step: dict[str, Any], due_ms: int) -> None:
    run = Drive(step, payload=PAYLOAD).start()
    assert run.last(cmd.StartTimer).due_ms == due_ms
    assert run.state.wait is not None
    assert run.state.wait.deadline_ms == due_ms
    assert _problems(step) == []


@pytest.mark.parametrize("duration", [0, -1, expr("0"), expr("-1000")])
def test_a_duration_of_zero_or_less_does_not_suspend_the_run(duration: Any) -> None:
    run = Drive(sleep(mode="duration", durationMs=duration)).start()
    assert (run.end.status, run.has(cmd.StartTimer)) == ("SUCCEEDED", False)
    assert run.vars["timeWait"]["dueAt"] == "2023-11-14T22:13:20.000Z"


def _problems(step: dict[str, Any]) -> list[tuple[str, str]]:
    known = Known(
        actions={name: frozenset({version}) for name, version in TRANSFORMS}, schema_refs=frozenset({"payload.Any.v1"})
    )
    return [(problem.code, problem.path) for problem in validate(make_definition(step), known)]


def _date_step(**value: Any) -> dict[str, Any]:
    mapping = {"from": expr("payload.at"), "to": expr("nowIso()"), **value}
    config = {"actionId": "transform.date_difference", "version": 1, "inputMapping": mapping}
    return {"id": "d", "type": "action.call", "config": config}


def _config(name: str, value: Any) -> dict[str, Any]:
    if name == "durationMs":
        return sleep(mode="duration", durationMs=value)
    return task(dueInMs=value) if name == "dueInMs" else wait_for_reply(**{name: value})


@pytest.mark.parametrize("name", ["timeoutMs", "dueInMs", "durationMs"])
@pytest.mark.parametrize("source", ["1.5", "'1000'", "null", "true", "[1]", "1000000000000000000", "{'a': 1}"])
def test_value_that_is_no_duration_is_refused_by_the_run_and_at_publishing(name: str, source: str) -> None:
    step = _config(name, expr(source))
    run = Drive(step, payload=PAYLOAD).start()
    assert run.end.error is not None
    error = run.end.error
    assert (error["category"], error["code"]) == ("ValidationError", "DURATION_INVALID")
    assert f"`{name}`" in error["message"]
    assert run.waits() == []
    assert _problems(step) == [("DURATION_INVALID", f"root.steps[0].config.{name}")]


@pytest.mark.parametrize("step", [wait_for_reply, task], ids=["event.wait", "human.task"])
@pytest.mark.parametrize("source", ["'soon'", "'2030-01-01T00:00:00'", "-5", "1900000000", "null", "false"])
def test_value_that_is_no_time_is_refused_by_the_run_and_at_publishing(step: Any, source: str) -> None:
    run = Drive(step(deadline=expr(source)), payload=PAYLOAD).start()
    assert run.end.error is not None
    assert (run.end.error["category"], run.end.error["code"]) == ("ExpressionError", "TIME_INVALID")
    assert "`deadline`" in run.end.error["message"]
    assert _problems(step(deadline=expr(source))) == [("TIME_INVALID", "root.steps[0].config.deadline")]


@pytest.mark.parametrize(
    ("step", "code", "field"),
    [
        (wait_for_reply(timeoutMs=1, deadline=expr("payload.at")), "FIELD_INVALID", "deadline"),
        (task(dueInMs=expr("1"), deadline=expr("payload.at")), "FIELD_INVALID", "deadline"),
        (wait_for_reply(deadline="2030-01-01T00:00:00Z"), "FIELD_INVALID", "deadline"),
        (wait_for_reply(deadline=expr("payload.")), "EXPRESSION_SYNTAX", "deadline"),
        (wait_for_reply(timeoutMs=expr("soon(")), "EXPRESSION_SYNTAX", "timeoutMs"),
        (wait_for_reply(timeoutMs="1000"), "FIELD_INVALID", "timeoutMs"),
        (wait_for_reply(timeoutMs=10**18), "FIELD_INVALID", "timeoutMs"),
        (sleep(mode="until", until=expr("'soon'")), "TIME_INVALID", "until"),
        (sleep(mode="duration", durationMs=None), "FIELD_MISSING", "durationMs"),
        (_date_step(unit="fortnights"), "INPUT_INVALID", "inputMapping.unit"),
        (_date_step(unit="days", offset="Europe/Berlin"), "INPUT_INVALID", "inputMapping.offset"),
    ],
)
def test_problems_of_durations_and_deadlines(step: dict[str, Any], code: str, field: str) -> None:
    assert _problems(step) == [(code, f"root.steps[0].config.{field}")]
