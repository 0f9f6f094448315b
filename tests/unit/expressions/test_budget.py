"""Limits of evaluation: no source costs more than the counted limits, and the limits decide the same everywhere."""

import bisect
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.expressions import hostile
from workflows.engine.expressions import errors, limits
from workflows.engine.expressions.budget import Budget
from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.expressions.headroom import with_headroom
from workflows.engine.expressions.vectors import outcome

CORPUS = list(hostile.corpus())
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def scopes() -> dict[str, dict[str, Any]]:
    return hostile.scopes()


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> list[Budget]:
    """Return a list that collects every budget that the test's evaluations use."""
    used: list[Budget] = []

    class Recorded(Budget):
        __slots__ = ()

        def __init__(self, now_ms: int, exact: bool) -> None:
            super().__init__(now_ms, exact)
            used.append(self)

    monkeypatch.setattr("workflows.engine.expressions.contract.Budget", Recorded)
    return used


def _verdict(case: hostile.Hostile, scopes: dict[str, dict[str, Any]]) -> str:
    result = outcome(case.source, scopes[case.scope])
    return "value" if result["ok"] else result["error"].code


def test_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CORPUS) >= 60
    assert len({case.name for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_hostile_source_ends_within_its_budget(
    case: hostile.Hostile, scopes: dict[str, dict[str, Any]], budgets: list[Budget]
) -> None:
    verdict = _verdict(case, scopes)
    for budget in budgets:
        within = budget.steps >= 0 and budget.produced >= 0
        assert within or verdict == errors.BUDGET
    assert _verdict(case, scopes) == verdict


def test_hostile_source_stays_within_its_memory_limit(scopes: dict[str, dict[str, Any]]) -> None:
    too_much = {}
    tracemalloc.start()
    try:
        for case in CORPUS:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            _verdict(case, scopes)
            peak = (tracemalloc.get_traced_memory()[1] - before) / MEGABYTE
            if peak > 32:
                too_much[case.name] = peak
    finally:
        tracemalloc.stop()
    assert too_much == {}


@pytest.mark.parametrize("name", ["doubling", "nested ranges", "join of a list with itself", "filter by all"])
def test_outcome_does_not_depend_on_the_stack(
    name: str, scopes: dict[str, dict[str, Any]], with_room: Callable[..., Any]
) -> None:
    case = next(each for each in CORPUS if each.name == name)
    assert with_room(60, lambda: _verdict(case, scopes)) == _verdict(case, scopes) == errors.BUDGET


@pytest.mark.parametrize("opening", ["(", "[", "{'a':", "len(", "a[", "-", "a?:", "$a:=", "a^(", "a?b:", "a{'k':"])
def test_depth_is_refused_at_the_same_level_on_any_stack(opening: str, with_room: Callable[..., Any]) -> None:
    def is_too_deep(levels: int) -> bool:
        with pytest.raises(ExpressionError) as caught:
            compile_expression(opening * levels + "\x00(")
        return caught.value.code == errors.BUDGET

    def deepest() -> int:
        return bisect.bisect_left(range(2 * limits.MAX_NESTING), True, key=is_too_deep)

    assert 0 < deepest() <= limits.MAX_NESTING
    assert with_room(60, deepest) == deepest()


def test_steps_are_counted_while_the_expression_runs(budgets: list[Budget]) -> None:
    expression = compile_expression("payload.list.($ * 2)")
    expression.evaluate({"payload": {"list": [1] * 10}}, now_ms=0)
    expression.evaluate({"payload": {"list": [1] * 1010}}, now_ms=0)
    few, many = (limits.MAX_STEPS - budget.steps for budget in budgets)
    assert (many - few) % 1000 == 0
    assert many - few >= 4000


def test_evaluation_stops_before_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STEPS", 1000)
    with pytest.raises(ExpressionError) as caught:
        compile_expression("[1..9000000]").evaluate({}, now_ms=0)
    assert caught.value.code == errors.BUDGET


def test_step_limit_is_exact(monkeypatch: pytest.MonkeyPatch, budgets: list[Budget]) -> None:
    expression = compile_expression("payload.b[$ > 1].($ & 'x')")
    scope = {"payload": {"b": [1, 2, 3]}}
    expression.evaluate(scope, now_ms=0)
    needed = limits.MAX_STEPS - budgets[-1].steps
    monkeypatch.setattr(limits, "MAX_STEPS", needed)
    expression.evaluate(scope, now_ms=0)
    monkeypatch.setattr(limits, "MAX_STEPS", needed - 1)
    with pytest.raises(ExpressionError):
        expression.evaluate(scope, now_ms=0)


@pytest.mark.parametrize(
    ("source", "length"),
    [("'é'", 3), ("'\U0001f600'", 4), ("'\\\\\\n'", 6), ("'\\u0001'", 8), ("[1, 0.5, null]", 12), ("{'a': true}", 10)],
)
def test_result_is_measured_in_utf16_units_of_compact_json(
    source: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RESULT_LENGTH", length)
    compile_expression(source).evaluate({}, now_ms=0)
    monkeypatch.setattr(limits, "MAX_RESULT_LENGTH", length - 1)
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate({}, now_ms=0)
    assert caught.value.code == errors.TOO_LARGE


def test_result_has_at_most_256_kib() -> None:
    expression = compile_expression("payload")
    assert expression.evaluate({"payload": "x" * (256 * 1024 - 2)}, now_ms=0)
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate({"payload": "x" * (256 * 1024 - 1)}, now_ms=0)
    assert caught.value.code == errors.TOO_LARGE


def test_result_has_at_most_200_levels() -> None:
    deepest = compile_expression("payload").evaluate({"payload": _nested(200)}, now_ms=0)
    assert deepest == _nested(200)
    with pytest.raises(ExpressionError) as caught:
        compile_expression("[[payload]]").evaluate({"payload": _nested(200)}, now_ms=0)
    assert caught.value.code == errors.TOO_LARGE


def _nested(levels: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(levels - 1):
        value = [value]
    return value


def test_threads_can_share_a_compiled_expression() -> None:
    expression = compile_expression("($x := payload.n; payload.list.($x * $)^(>$)[0])")
    wrong: list[Any] = []

    def evaluate(number: int) -> None:
        for _ in range(300):
            value = expression.evaluate({"payload": {"n": number, "list": [1, 3, 2]}}, now_ms=0)
            if value != number * 3:
                wrong.append(value)

    threads = [threading.Thread(target=evaluate, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_full_stack_does_not_affect_other_threads(with_room: Callable[..., Any]) -> None:
    source = "[" * 180 + "1" + "]" * 180
    results: list[bool] = []

    def evaluate() -> None:
        results.extend(with_room(40 * turn, lambda: outcome(source, {})["ok"]) for turn in range(1, 11))

    threads = [threading.Thread(target=evaluate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


@pytest.mark.parametrize("source", ["payload = vars", "'' & payload", "toString(payload)"])
def test_values_are_followed_to_the_same_level_on_any_stack(source: str, with_room: Callable[..., Any]) -> None:
    def verdict(levels: int) -> str:
        result = outcome(source, {"payload": _nested(levels), "vars": _nested(levels)})
        return "value" if result["ok"] else result["error"].code

    limit = limits.MAX_VALUE_DEPTH
    assert [verdict(limit), verdict(limit + 2)] == ["value", errors.BUDGET]
    assert with_room(60, lambda: [verdict(limit), verdict(limit + 2)]) == ["value", errors.BUDGET]


def test_overflow_of_the_stack_has_an_error_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> int:
        return endless() + 1

    monkeypatch.setattr("workflows.engine.expressions.headroom._FRAMES", 0)
    with pytest.raises(ExpressionError) as caught:
        with_headroom(endless)
    assert caught.value.code == errors.BUDGET
