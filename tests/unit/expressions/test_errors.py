"""Errors of expressions: a stable code, the position in the author's source, and a suggestion for misspelt names."""

from typing import Any

import pytest

from workflows.engine.expressions import errors
from workflows.engine.expressions.contract import ExpressionError, compile_expression

SCOPE: dict[str, Any] = {"payload": {"a": 1, "b": [1, 2, 3], "s": "text", "o": {"k": "v"}}, "vars": {"n": 2}}


def failure(source: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate(SCOPE, now_ms=0)
    return caught.value


@pytest.mark.parametrize(
    ("source", "code", "position"),
    [
        ("", errors.SYNTAX, 0),
        ("payload.a +", errors.SYNTAX, 11),
        ("payload..a", errors.SYNTAX, 7),
        ("payload.b[0", errors.SYNTAX, 11),
        ("payload.a === 1", errors.SYNTAX, 12),
        ("1 + 'unclosed", errors.SYNTAX, 4),
        ("1 + `unclosed", errors.SYNTAX, 4),
        ("1 /* unclosed", errors.SYNTAX, 2),
        ("'a\\qb'", errors.SYNTAX, 2),
        ("'a\\u12'", errors.SYNTAX, 2),
        ("1 + 1e999", errors.SYNTAX, 4),
        ("a[/(/]", errors.SYNTAX, 2),
        ("a[/a**/]", errors.SYNTAX, 2),
        ("!payload.a", errors.SYNTAX, 0),
        ("a.1", errors.SYNTAX, 2),
        ("payload.a := 1", errors.SYNTAX, 7),
        ("%", errors.SYNTAX, 0),
        ("1 + lenght(payload.s)", errors.FUNCTION_NOT_ALLOWED, 4),
        ("payload.a == 1 and $sum(payload.b) == 6", errors.FUNCTION_NOT_ALLOWED, 19),
        ("payload.fn(1)", errors.FUNCTION_NOT_ALLOWED, 8),
        ("(payload.fn)(1)", errors.FUNCTION_NOT_ALLOWED, 9),
        ("payload.b ~> $sum", errors.FUNCTION_NOT_ALLOWED, 13),
        ("payload.b ~> sum", errors.FUNCTION_NOT_ALLOWED, 13),
        ("$sum(?)", errors.FUNCTION_NOT_ALLOWED, 0),
        ("{'k': [1, $now()]}", errors.FUNCTION_NOT_ALLOWED, 10),
        ("payload.b[$exists($)]", errors.FUNCTION_NOT_ALLOWED, 10),
        ("payload.b^($abs($))", errors.FUNCTION_NOT_ALLOWED, 11),
        ("payload{$string($): 1}", errors.FUNCTION_NOT_ALLOWED, 8),
        ("|payload|{'k': $eval('1')}|", errors.FUNCTION_NOT_ALLOWED, 15),
        ("payload.a ? $keys(payload) : 1", errors.FUNCTION_NOT_ALLOWED, 12),
        ("1 + function($x){$x}", errors.LAMBDA, 4),
        ("\u03bb($x){$x}", errors.LAMBDA, 0),
        ("payload.b ~> function($x){$x}", errors.LAMBDA, 13),
        ("function($x)<n:n>{$x}", errors.LAMBDA, 0),
        ("[1][0]()", errors.DYNAMIC_CALL, 6),
        ("append(?, 1)(2)", errors.DYNAMIC_CALL, 12),
        ("'len'(1)", errors.DYNAMIC_CALL, 5),
        ("payload.s ~> /t/", errors.APPLY, 10),
        ("payload ~> |o|{'k': 1}|", errors.APPLY, 8),
        ("payload ~> [1]", errors.APPLY, 8),
        ("1 + payload.s", errors.RUNTIME, 2),
        ("payload.a == 1 and -payload.s == 2", errors.RUNTIME, 19),
        ("1 < 'a'", errors.RUNTIME, 2),
        ("payload.b[1 > null]", errors.RUNTIME, 12),
        ("toString({})", errors.RUNTIME, 0),
        ("payload.len()", errors.RUNTIME, 8),
        ("payload.b ~> len", errors.RUNTIME, 10),
        ("[1..1.5]", errors.RUNTIME, 2),
        ("[1..10000001]", errors.RUNTIME, 2),
        ("payload.b^($ = 1)", errors.RUNTIME, 9),
        ("{'a': 1, 'a': 2}", errors.RUNTIME, 0),
        ("1 & {payload.a: 2}", errors.RUNTIME, 4),
        ("payload.missing", errors.NOT_JSON, None),
        ("[append(1, payload.missing)]", errors.NOT_JSON, None),
        ("$len", errors.NOT_JSON, None),
        ("1 / 0", errors.NOT_JSON, None),
        ("{'k': [0 / 0]}", errors.NOT_JSON, None),
        ("[1..60000]", errors.TOO_LARGE, None),
        ("[1..9000000]", errors.BUDGET, None),
        (" " * 40_000, errors.TOO_LARGE, 0),
        ("1" + "+1" * 4_000, errors.TOO_LARGE, 3_072),
        ("a" + ".a" * 300, errors.TOO_LARGE, 511),
    ],
)
def test_code_and_position(source: str, code: str, position: int | None) -> None:
    error = failure(source)
    assert (error.code, error.position) == (code, position)
    assert error.message


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [
        ("lenght(payload.s)", "len("),
        ("$lenght(payload.s)", "$len("),
        ("Len(payload.s)", "len("),
        ("length(payload.s)", "len("),
        ("$count(payload.b)", "$len("),
        ("tostring(1)", "toString("),
        ("toStrin(1)", "toString("),
        ("$string(1)", "$toString("),
        ("colaesce(1)", "coalesce("),
        ("appendd(1, 2)", "append("),
        ("$now()", "$nowIso("),
        ("nowISO()", "nowIso("),
        ("payload.b ~> $lenght", "$len"),
        ("payload.b ~> $appendd(1)", "$append("),
        ("frobnicate(1)", None),
        ("payload.a === 1", "="),
        ("payload.a && true", "and"),
        ("payload.a || true", "or"),
        ("!payload.a", "= false"),
        ("payload.nowIso()", "$nowIso("),
        ("payload.missing", "coalesce("),
        ("1 +", None),
    ],
)
def test_suggestion(source: str, suggestion: str | None) -> None:
    assert failure(source).suggestion == suggestion


def test_text_of_an_error_has_code_position_message_and_suggestion() -> None:
    error = failure("1 + lenght('a')")
    assert str(error).startswith("EXPRESSION_FUNCTION_NOT_ALLOWED at 4: The function lenght is not allowed")
    assert str(error).endswith("(did you mean 'len('?)")


def test_codes_never_change() -> None:
    published = {name: value for name, value in vars(errors).items() if name.isupper()}
    assert published == {
        "SYNTAX": "EXPRESSION_SYNTAX",
        "FUNCTION_NOT_ALLOWED": "EXPRESSION_FUNCTION_NOT_ALLOWED",
        "LAMBDA": "EXPRESSION_LAMBDA",
        "DYNAMIC_CALL": "EXPRESSION_DYNAMIC_CALL",
        "APPLY": "EXPRESSION_APPLY",
        "NOT_JSON": "EXPRESSION_NOT_JSON",
        "TOO_LARGE": "EXPRESSION_TOO_LARGE",
        "BUDGET": "EXPRESSION_BUDGET",
        "RUNTIME": "EXPRESSION_RUNTIME",
    }


def test_message_contains_no_value_of_the_scope() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("1 + payload").evaluate({"payload": "a secret"}, now_ms=0)
    assert "secret" not in str(caught.value)
