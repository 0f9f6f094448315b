"""Rewrites of `==` and of bare function names, which never change a literal, a quoted name or a comment."""

from typing import Any

import pytest

from workflows.engine.expressions import errors
from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.expressions.regex_syntax import RegexLiteral, check_regex
from workflows.engine.expressions.tokens import SourceTokens

SCOPE: dict[str, Any] = {
    "payload": {"a": 1, "s": "text", "len": "field", "==": "equals", "len(x)": "quoted"},
    "x": "xyz",
}


def value(source: str) -> Any:
    return compile_expression(source).evaluate(SCOPE, now_ms=0)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("payload.a == 1", True),
        ("payload.a==1", True),
        ("payload.a !== 1", False),
        ("1 <== 2", True),
        ("2 >== 3", False),
        ("payload.s == 'a == b'", False),
        ("'a == b'", "a == b"),
        ("'len(x) == 1'", "len(x) == 1"),
        ('"len(x)"', "len(x)"),
        ("'it\\'s' ~> $len", None),
        ("payload.`==`", "equals"),
        ("payload.`len(x)`", "quoted"),
        ("payload.len", "field"),
        ("payload. len", "field"),
        ("/* == len( */ payload.a", 1),
        ("payload.a /* len( */ == /* == */ 1", True),
        ("len(x)", 3),
        ("len (x)", 3),
        ("len\n/* why */ (x)", 3),
        ("$len(x)", 3),
        ("[1..len(x)]", [1, 2, 3]),
        ("{len(x) & '': len(x)}", {"3": 3}),
        ("payload.(len(s))", 4),
        ("x[/==len(/ = 1]", None),
        ("x[/[(]len(x)==/ = 1] ~> $len", None),
        ("coalesce(payload.missing, toString(append(1, 2)))", "1,2"),
        ("$len := 1", 1),
    ],
)
def test_rewrite(source: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ExpressionError):
            value(source)
    else:
        assert value(source) == expected


@pytest.mark.parametrize(
    "source", ["payload.len(1)", "payload . len (1)", "payload./* c */len(1)", "`len`(x)", "$.len(x)"]
)
def test_call_of_a_field_is_an_error(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.code == errors.RUNTIME


def _tokens(source: str) -> list[tuple[Any, Any, int]]:
    tokens, found, infix = SourceTokens(source), [], False
    while (token := tokens.next(infix)) is not None:
        found.append((token.type, token.value, token.position))
        infix = token.type != "operator"
    return found


def test_token_has_its_position_in_the_source() -> None:
    assert _tokens(" len ( x )  == 'a' /* c */ .. $y") == [
        ("variable", "len", 1),
        ("operator", "(", 5),
        ("name", "x", 7),
        ("operator", ")", 9),
        ("operator", "=", 12),
        ("string", "a", 15),
        ("operator", "..", 27),
        ("variable", "y", 30),
    ]


def test_slash_divides_after_an_operand_and_opens_a_regex_elsewhere() -> None:
    assert [kind for kind, _, _ in _tokens("a / b / c")] == ["name", "operator", "name", "operator", "name"]
    assert [kind for kind, _, _ in _tokens("a = /b/i")] == ["name", "operator", "regex"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("'\\n\\t\\\\\\/\\\"\\b\\f\\r'", '\n\t\\/"\b\f\r'),
        ("'\\u00e9\\u00E9'", "éé"),
        ("'\\ud83d\\ude00'", "\U0001f600"),
        ("'\\ud83d' & '\\ude00'", "\U0001f600"),
        ('"it\'s"', "it's"),
        ("'\U0001f600'", "\U0001f600"),
    ],
)
def test_string_literals(source: str, text: str) -> None:
    assert value(source) == text


@pytest.mark.parametrize(
    "pattern",
    [
        "a", "[^]", "[]", "(?<name>a)\\k<name>", "(?:a)(?=b)(?!c)(?<=d)(?<!e)", "a{2}", "a{2,}?", "a{,3}", "{", "}",
        "]", "a|", "|", "\\d+\\.\\w*", "[a-z\\d-]", "[\\d-z]", "\\u{1}", "\\cA", "\\k", "(?=a)*", "x{1}?", "[\\b]",
        "[\\cA-\\cZ]",
    ],
)  # fmt: skip
def test_valid_javascript_regex_is_accepted(pattern: str) -> None:
    assert check_regex(RegexLiteral(pattern, "")) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "a**", "a{2}{3}", "{2}", "+a", "?", "a{3,2}", "[z-a]", "[\\x62-\\x61]", "(?<=a)*", "\\b+", "^*",
        "(?a)", "(?<1>a)", "(?<n>a)(?<n>b)", "(?<n>a)\\k<m>", "a)", "(?",
    ],
)  # fmt: skip
def test_invalid_javascript_regex_is_refused(pattern: str) -> None:
    assert check_regex(RegexLiteral(pattern, "")) is not None


def test_repeated_regex_flag_is_refused() -> None:
    assert compile_expression("/a/im ? 1 : 2").evaluate({}, now_ms=0) == 2
    with pytest.raises(ExpressionError):
        compile_expression("/a/ii ? 1 : 2")
