"""Values behave as in JavaScript: numbers, strings, order of keys, undefined and null."""

import json
import math
from collections import ChainMap
from typing import Any

import pytest

from workflows.engine.expressions import errors, functions, js_text
from workflows.engine.expressions.contract import EXPRESSION_CONTRACT_VERSION, ExpressionError, compile_expression

SCOPE: dict[str, Any] = {
    "payload": {
        "a": 1,
        "b": [1, 2, 3],
        "s": "text",
        "nul": None,
        "o": {"k": "v"},
        "items": [{"sku": "A", "qty": 1}, {"sku": "B", "qty": 2}, {"sku": "C", "qty": 2}],
        "m": [[1, 2], [3, 4]],
        "keys": {"b": 1, "10": 2, "2": 3, "a": 4, "01": 5, "4294967295": 6},
        "big": 12345678901234567890,
        "huge": 10**400,
        "odd": {"toString": 1, "length": 2},
    },
    "vars": {"n": 2},
    "error": None,
}


def value(source: str, now_ms: int = 0) -> Any:
    return compile_expression(source).evaluate(SCOPE, now_ms=now_ms)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (1e-6, "0.000001"), (1e-7, "1e-7"), (1.25e-7, "1.25e-7"),
        (1.5e-5, "0.000015"), (123456789012345680000, "123456789012345680000"), (1e21, "1e+21"), (1.5e300, "1.5e+300"),
        (9007199254740993, "9007199254740993"), (0.1 + 0.2, "0.30000000000000004"), (5e-324, "5e-324"),
        (1e15, "1000000000000000"), (123456.789, "123456.789"), (math.nan, "NaN"), (-math.inf, "-Infinity"),
        (10**400, "1" + "0" * 400), (-12345678901234567890, "-12345678901234567890"),
    ],
)  # fmt: skip
def test_number_text(number: float, text: str) -> None:
    assert js_text.number_text(number) == text
    if type(number) is float and math.isfinite(number) and not number.is_integer():
        assert js_text.fraction_length(float(number)) == len(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333333333333"),
        (100000000000000.5, "100000000000001"),
        (2**60 * 1.0, "1152921504606847000"),
    ],
)
def test_concatenation_rounds_fractions_to_15_digits(number: float, text: str) -> None:
    assert js_text.fifteen_digit_text(number) == text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1.0", 1),
        ("1e21", 1e21),
        ("-5 % 3", -2),
        ("5 % -3", 2),
        ("5.5 % 2", 1.5),
        ("9007199254740992 + 1", 9007199254740992),
        ("payload.big + 0", 12345678901234567000),
        ("-payload.big", -12345678901234567000),
        ("payload.big + 1 = payload.big + 2", True),
        ("1/(-0) < 0", True),
        ("(0/0) = (0/0)", False),
        ("(1/0) = (1/0)", True),
        ("(0/0) < 1", False),
        ("'' & 1.0", "1"),
        ("'' & [1.50, null, true, 'x\"', {'a': 1e-7}]", '[1.5,null,true,"x\\"",{"a":1e-7}]'),
        ("'' & (0.1 + 0.2)", "0.3"),
        ("toString(0.1 + 0.2)", "0.30000000000000004"),
        ("'' & payload.missing & null", "null"),
    ],
)
def test_numbers_are_doubles(source: str, expected: Any) -> None:
    assert value(source) == expected
    assert type(value(source)) is type(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("payload.big", 12345678901234567890),
        ("payload.huge", 10**400),
        ("[payload.big, {'a': payload.big}]", [12345678901234567890, {"a": 12345678901234567890}]),
        ("123456789012345678901", 123456789012345678901),
        ("-9007199254740993", -9007199254740993),
        ("[9007199254740993..9007199254740995]", [9007199254740993, 9007199254740994, 9007199254740995]),
        ("9007199254740993 = 9007199254740992", False),
        ("9007199254740993 != 9007199254740992", True),
        ("9007199254740993 in [9007199254740992, 9007199254740994]", False),
        ("[9007199254740993] = [9007199254740992]", False),
        ("payload.big = 12345678901234567890", True),
        ("payload.big = payload.big + 0", False),
        ("9007199254740993 > 9007199254740992", True),
        ("9007199254740993 <= 9007199254740992", False),
        ("[9007199254740993, 9007199254740992]^($)[0]", 9007199254740992),
        ("payload.huge > payload.big", True),
        ("payload.huge ? 1 : 2", 1),
        ("toString(payload.big)", "12345678901234567890"),
        ("toString([payload.big, 1])", "12345678901234567890,1"),
        ("payload.big & ''", "12345678901234567890"),
        ("'' & [payload.big, {'a': payload.big}]", '[12345678901234567890,{"a":12345678901234567890}]'),
        ("'' & payload.huge", "1" + "0" * 400),
        ("9" * 1000, int("9" * 1000)),
    ],
)
def test_whole_numbers_keep_their_digits_where_they_are_only_carried(source: str, expected: Any) -> None:
    assert value(source) == expected
    assert type(value(source)) is type(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("payload.big", 12345678901234567000),
        ("9007199254740993 = 9007199254740992", True),
        ("9007199254740993 in [9007199254740992]", True),
        ("9007199254740993 > 9007199254740992", False),
        ("[9007199254740993, 9007199254740992]^($)[0]", 9007199254740992),
        ("toString(payload.big)", "12345678901234567000"),
        ("'' & [payload.big]", "[12345678901234567000]"),
        ("-9007199254740993", -9007199254740992),
    ],
)
def test_first_contract_still_rounds_whole_numbers_to_doubles(source: str, expected: Any) -> None:
    assert compile_expression(source, 1).evaluate(SCOPE, now_ms=0) == expected


@pytest.mark.parametrize(
    ("source", "version", "code"),
    [
        ("9" * 1001, 2, errors.SYNTAX), ("9" * 400, 1, errors.SYNTAX), ("1e400", 2, errors.SYNTAX),
        ("payload.huge", 1, errors.NOT_JSON), ("'' & payload.huge", 1, errors.RUNTIME),
        ("payload.huge ? 1 : 2", 1, errors.RUNTIME), ("payload.huge + 1", 2, errors.RUNTIME),
        ("-payload.huge", 2, errors.RUNTIME),
    ],
)  # fmt: skip
def test_numbers_beyond_the_range_are_refused(source: str, version: int, code: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source, version).evaluate(SCOPE, now_ms=0)
    assert caught.value.code == code


@pytest.mark.parametrize("source", ["1e308 * 10", "[0/0]", "1/0"])
def test_number_that_is_not_finite_is_not_a_result(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.code == errors.NOT_JSON


@pytest.mark.parametrize(
    "source", ["1/0 ? 1 : 2", "[1, 1/0] ? 1 : 2", "1/0 + 1", "-(1/0)", "'' & [1/0]", "payload.b[1/0]"]
)
def test_infinite_number_is_not_an_operand(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.code == errors.RUNTIME


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("len('Zoë')", 3),
        ("len('\U0001f600')", 2),
        ("len(payload.b)", 3),
        ("len([])", 0),
        ("len(payload.o)", 0),
        ("len(null)", 0),
        ("len()", 0),
        ("len('a', 'ignored')", 1),
        ("toString(payload.o)", "[object Object]"),
        ("toString([1, [2, null, payload.missing], payload.o])", "1,2,,[object Object]"),
        ("toString(true)", "true"),
        ("toString(null)", ""),
        ("toString()", ""),
        ("coalesce(payload.missing, null, 0, 1)", 0),
        ("coalesce(payload.missing)", None),
        ("coalesce()", None),
        ("coalesce(false, 1)", False),
        ("append(payload.b, 4)", [1, 2, 3, 4]),
        ("append(payload.missing, 4)", [4]),
        ("append(null, null)", [None]),
        ("append('a', payload.m)", ["a", [1, 2], [3, 4]]),
        ("append([], [])", []),
        ("payload.s ~> $len ~> $toString", "4"),
        ("payload.b ~> append(4)", [1, 2, 3, 4]),
        ("payload.b ~> append(?, 4)", [1, 2, 3, 4]),
        ("($append := append(?, 1); $append(payload.b))", [1, 2, 3, 1]),
    ],
)
def test_functions(source: str, expected: Any) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    "source", ["toString({})", "toString([{}])", "toString($len)", "toString(payload.odd)", "($len := 1; len('a'))"]
)
def test_function_refuses_invalid_arguments(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.code == errors.RUNTIME


@pytest.mark.parametrize(
    ("now_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_775_692_800_001, "2026-04-09T00:00:00.001Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_now_iso_returns_the_time_of_the_caller(now_ms: int, text: str) -> None:
    assert value("nowIso()", now_ms) == text
    assert value("[nowIso(), nowIso()]", now_ms) == [text, text]


def test_time_outside_the_calendar_is_an_error() -> None:
    with pytest.raises(ExpressionError) as caught:
        value("nowIso()", 10**18)
    assert caught.value.code == errors.RUNTIME


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("payload.keys", ["2", "10", "b", "a", "01", "4294967295"]),
        ("{'b': 1, '1': 2, '0': 3}", ["0", "1", "b"]),
        ("payload.items{sku: 1, '7': 2}", ["7", "A", "B", "C"]),
    ],
)
def test_keys_are_in_the_order_of_javascript(source: str, keys: list[str]) -> None:
    assert list(value(source)) == keys


def test_key_order_applies_to_wildcards_and_text() -> None:
    assert value("payload.keys.*") == [3, 2, 1, 4, 5, 6]
    assert value("'' & payload.keys") == '{"2":3,"10":2,"b":1,"a":4,"01":5,"4294967295":6}'
    assert value("payload.keys.**[1]") == 3


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("payload.nul", None),
        ("[payload.missing, null]", [None]),
        ("{'a': payload.missing, 'b': null}", {"b": None}),
        ("payload.missing = payload.missing", False),
        ("payload.missing != 1", False),
        ("null = null", True),
        ("payload.nul = payload.missing", False),
        ("payload.missing ? 1 : 2", 2),
        ("[1, 2] = [1, 2]", True),
        ("{'a': 1, 'b': 2} = {'b': 2, 'a': 1}", True),
        ("{} in [{}]", False),
        ("payload.o in [payload.o]", True),
        ("1 in 1", True),
        ("true in [1]", False),
        ("1 = true", False),
        ("[] = {'length': 0}", True),
        ("payload.items[0] = {'qty': 1, 'sku': 'A'}", True),
        ("'b' > 'a'", True),
        ("'\uffff' < '\U0001f600'", False),
        ("[0, [[]]] ? 1 : 2", 2),
        ("[0, [[7]]] ? 1 : 2", 1),
        ("payload.missing ?? 'none'", "none"),
        ("null ?? 'none'", None),
        ("0 ?: 'none'", "none"),
    ],
)
def test_undefined_null_and_equality(source: str, expected: Any) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("payload.items.sku", ["A", "B", "C"]),
        ("payload.items[0].sku", "A"),
        ("payload.items[0].sku[]", ["A"]),
        ("payload.items[-1].sku", "C"),
        ("payload.items[qty > 1].sku", ["B", "C"]),
        ("payload.items[[0, 2]].sku", ["A", "C"]),
        ("payload.items^(>qty, >sku).sku", ["C", "B", "A"]),
        ("payload.items{$toString(qty): sku}", {"1": "A", "2": ["B", "C"]}),
        ("payload.items.{'s': sku}", [{"s": "A"}, {"s": "B"}, {"s": "C"}]),
        ("payload.items.[sku]", [["A"], ["B"], ["C"]]),
        ("payload.items#$i[qty = 2].{'i': $i, 's': sku}", [{"i": 1, "s": "B"}, {"i": 2, "s": "C"}]),
        ("payload.items@$x.b[$ = $x.qty].($x.sku & $)", ["A1", "B2", "C2"]),
        ("payload.items.{'s': sku, 'b': %.b[0]}[0]", {"s": "A", "b": 1}),
        ("payload.m.$", [1, 2, 3, 4]),
        ("payload.m[0]", [1, 2]),
        ("payload.m[0][1]", 2),
        ("payload.o.*", "v"),
        ("{'a': [1]}.*", [1]),
        ("payload.b[[-1]]", 3),
        ("payload.b[[-1, 0]]", [1, 3]),
        ("payload.b[-0.5]", 3),
        ("($x := 2; ($x := 3; $x) + $x)", 5),
        ("[payload.b[$ > 9], 1]", [1]),
        ("[[1..2], [1..2][0]]", [[1, 2], 1]),
        ("[1..3].($ * 2)", [2, 4, 6]),
    ],
)
def test_paths(source: str, expected: Any) -> None:
    assert value(source) == expected


def test_scope_may_be_any_mapping() -> None:
    layered = ChainMap({"item": 1}, {"payload": {"a": 2}, "item": 3})
    assert compile_expression("item + payload.a").evaluate(layered, now_ms=0) == 3
    assert list(layered) == ["payload", "item"]


def test_scope_is_not_changed_where_the_reference_changes_it() -> None:
    scope = {"payload": {"e": [], "m": [[]]}}
    compile_expression("[payload.e{'a': 1}, payload.m.{'a': 1}]").evaluate(scope, now_ms=0)
    assert scope == {"payload": {"e": [], "m": [[]]}}


def test_only_the_scope_is_visible() -> None:
    for source in ("__class__", "payload.__class__", "payload.constructor", "payload.s.length", "$globals", "len.x"):
        with pytest.raises(ExpressionError) as caught:
            value(source)
        assert caught.value.code == errors.NOT_JSON


def test_result_belongs_to_the_caller() -> None:
    result = value("[[payload.items], [payload.items]]")
    result[0][0]["sku"] = "changed"
    assert result[1][0]["sku"] == "A"
    assert SCOPE["payload"]["items"][0]["sku"] == "A"


def test_repeated_source_compiles_once() -> None:
    assert compile_expression("payload.a + 41") is compile_expression("payload.a + 41")


def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from workflows.engine.expressions import contract

    cache = contract._Cache(room=1000)
    monkeypatch.setattr(contract, "_cache", cache)
    first = compile_expression("1 + 1")
    for number in range(50):
        compile_expression(f"payload.a + {number}")
    assert compile_expression("1 + 1") is not first
    assert sum(len(entry.source) for entry in cache._entries.values()) <= 1000
    assert compile_expression("payload.a + 49") is compile_expression("payload.a + 49")


def test_only_five_functions_are_allowed() -> None:
    assert sorted(functions.ALLOWED_NAMES) == ["append", "coalesce", "len", "nowIso", "toString"]


def test_contract_has_a_version() -> None:
    assert EXPRESSION_CONTRACT_VERSION == 2


def test_results_survive_json() -> None:
    everything = value("$.payload.(items; b)")
    assert json.loads(json.dumps(everything)) == everything
