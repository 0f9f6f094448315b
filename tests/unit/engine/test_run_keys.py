"""The concurrency key of a start, and the check of the rule."""

from typing import Any

import pytest

from tests.support.factories import expr
from workflows.engine.run_keys import KeyInvalid, rule_problem, run_key

KEY = expr("payload.customer")


def rule(source: str, on_conflict: str = "skip") -> dict[str, Any]:
    return {"key": expr(source), "onConflict": on_conflict}


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("payload.customer", "C-1"),
        ("payload.number", "8202522731445525542"),
        ("payload.customer & '/' & toString(payload.number)", "C-1/8202522731445525542"),
        ("coalesce(payload.missing, null)", None),
        ("null", None),
        ("false", "false"),
    ],
)
def test_key_of_a_payload(source: str, key: str | None) -> None:
    assert run_key(rule(source), {"customer": " C-1 ".strip(), "number": 8202522731445525542}, now_ms=0) == key


@pytest.mark.parametrize("source", ["payload.missing", "payload", "[]", "''", "vars.x", "1 / 0"])
def test_value_that_gives_no_key_is_an_error(source: str) -> None:
    with pytest.raises(KeyInvalid):
        run_key(rule(source), {"customer": "C-1"}, now_ms=0)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"key": KEY},
        {"key": "payload.customer", "onConflict": "skip"},
        {"key": expr("1 +"), "onConflict": "skip"},
        {"key": expr("soon(1)"), "onConflict": "skip"},
        {"key": KEY, "onConflict": "wait"},
        {"key": KEY, "onConflict": []},
        {"key": KEY, "onConflict": "skip", "limit": 1},
    ],
)
def test_wrong_rule_has_a_reason(wrong: Any) -> None:
    assert rule_problem(wrong)


@pytest.mark.parametrize("on_conflict", ["skip", "queue", "cancelOldest"])
def test_right_rule_has_no_problem(on_conflict: str) -> None:
    assert rule_problem(rule("payload.customer", on_conflict)) is None
