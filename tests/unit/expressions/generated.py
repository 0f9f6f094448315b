"""Grammars and Hypothesis strategies for expressions.

`ANYTHING` covers the whole language. `LIBRARY_SAFE` covers the part that the library evaluates like the reference, so
that the library and the contract must agree. It excludes the entries of `deviations`: remainders, divisions, large
numbers, index keys, `in` with objects, defaults over literals, `true in [1]`, and text outside ASCII inside arrays.
"""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

SCOPE: dict[str, Any] = {
    "payload": {
        "a": 1,
        "b": [1, 2, 3],
        "s": "text",
        "nul": None,
        "o": {"k": "v", "b": 2, "a": 1},
        "items": [
            {"sku": "A", "qty": 1, "tags": ["x", "y"]},
            {"sku": "B", "qty": 2, "tags": ["y"]},
            {"sku": "C", "qty": 2, "tags": []},
        ],
        "m": [[1, 2], [3, [4, 5]], [6]],
        "one": [7],
        "t": True,
        "f": False,
        "zero": 0,
        "empty": "",
        "fraction": -2.5,
    },
    "vars": {"n": 2, "name": "Zoe", "list": [3, 1, 2], "deep": {"a": {"a": {"a": [{"a": 1}, {"a": 2}]}}}},
    "meta": {"state": "OPEN"},
    "error": None,
}

# A grammar is a table of templates. <name> is replaced by any template with that name. At the deepest level, `expr` is
# replaced by `leaf`.
Grammar = dict[str, tuple[str, ...]]

_SHARED: Grammar = {
    "name": (
        "a",
        "b",
        "s",
        "o",
        "k",
        "items",
        "sku",
        "qty",
        "tags",
        "m",
        "one",
        "n",
        "list",
        "deep",
        "missing",
        "`qty`",
    ),
    "root": (
        "payload",
        "payload.items",
        "payload.b",
        "payload.m",
        "payload.o",
        "vars",
        "vars.list",
        "vars.deep",
        "$",
        "$$",
    ),
    "number": ("payload.a", "payload.zero", "payload.fraction", "vars.n", "payload.b[-1]", "1", "payload.missing"),
    "scalar": ("<number>", "payload.s", "payload.t", "payload.f", "payload.empty", "vars.name", "payload.items[0].sku"),
    "literal": ("0", "1", "2", "-1", "1.5", "''", "'a'", "'text'", "true", "false", "null"),
}

LIBRARY_SAFE: Grammar = {
    **_SHARED,
    "leaf": ("<literal>", "<scalar>"),
    "expr": (
        "<root>.<step>",
        "<root>.<step>.<step>",
        "<root>.<step><suffix>.<step>",
        "<root><suffix>.<step>",
        "(<expr> <operator> <expr>)",
        "(<expr> ? <expr> : <expr>)",
        "(<expr> ? <expr>)",
        "(<scalar> <comparison> <scalar>)",
        "(<number> <arithmetic> <number>)",
        "(<number> in [<number>, 'a', null])",
        "[<scalar>..<scalar>]",
        "[<expr>]",
        "{'k': <expr>, 'j': <expr>}",
        "($x := <expr>; [$x, <expr>])",
        "<fixed>",
    ),
    "step": ("<name>", "<name>", "<name>", "(<expr>)", "{'k': <expr>}"),
    "suffix": ("[0]", "[-1]", "[1]", "[]", "[qty > 1]", "[sku = 'B']", "[$ = 2]", "^(qty)", "^(>sku)"),
    "operator": ("=", "!=", "and", "or", "&"),
    "comparison": ("<", "<=", ">", ">="),
    "arithmetic": ("+", "-", "*"),
    "fixed": (
        "payload.items{sku: qty}",
        "payload.items{sku: $.tags}",
        "payload.items^(>qty, sku).sku",
        "[1..3]",
        "payload.**.k",
        "payload.o.*",
        "payload.b#$i.{'i': $i, 'v': $}",
        "payload.items.{'s': sku, 'p': %.a}",
        "payload.items@$i.payload.b[$ = $i.qty].{'sku': $i.sku}",
    ),
}

ANYTHING: Grammar = {
    **_SHARED,
    "leaf": (
        "<literal>",
        "<scalar>",
        "1e21",
        "1e-7",
        "-0",
        "9007199254740993",
        "'é'",
        "'\U0001f600'",
        "$",
        "*",
        "$i",
        "[]",
        "{}",
    ),
    "expr": (
        "<start><links>",
        "<start><links>",
        "<start><links>",
        "(<expr> <operator> <expr>)",
        "(<expr> <operator> <expr>)",
        "<expr> <operator> <expr>",
        "(<expr> ? <expr>)",
        "(<expr> ? <expr> : <expr>)",
        "[<expr>]",
        "[<scalar>..<scalar>]",
        "[<number>..<number>]",
        "[<scalar>..<scalar>]",
        "{<key>: <expr>}",
        "{<key>: <expr>, <key>: <expr>}",
        "($x := <expr>; <expr>)",
        "-<expr>",
        "$<function>(<expr>)",
        "$<function>(<expr>, <expr>)",
        "(<expr> ~> $<function>)",
        "(<expr> ~> $append(<expr>))",
    ),
    "start": ("<root>", "<root>", "*", "**", "$x", "<root><suffix>"),
    "links": (
        ".<step>",
        ".<step>.<step>",
        ".<step><suffix>",
        ".<step><suffix>.<step>",
        ".<step>.<step><suffix><suffix>",
    ),
    "step": (
        "<name>",
        "<name>",
        "<name>",
        "*",
        "**",
        "%",
        "$",
        "$x",
        "'sku'",
        "(<expr>)",
        "{<key>: <expr>}",
        "[<expr>]",
    ),
    "suffix": ("[0]", "[-1]", "[]", "@$x", "#$i", "[<expr>]", "^(<expr>)", "^(>sku, <expr>)", "{<key>: <expr>}"),
    "operator": ("+", "-", "*", "/", "%", "=", "!=", "<", "<=", ">", ">=", "&", "and", "or", "in", "?:", "??"),
    "key": ("'k'", "'2'", "'1'", "payload.s", "$toString(payload.a)", "$toString($)", "sku"),
    "function": ("len", "toString", "append", "coalesce"),
}

_NONTERMINAL = re.compile(r"<([a-z]+)>")


@st.composite
def sentences(draw: st.DrawFn, grammar: Grammar, depth: int = 3) -> str:
    """Draw an expression of a grammar.

    Units: `depth` counts levels of nested expressions.
    """

    def expanded(name: str, room: int) -> str:
        templates = grammar["leaf" if name == "expr" and room == 0 else name]
        left = room - 1 if name == "expr" else room
        return _NONTERMINAL.sub(lambda found: expanded(found[1], max(left, 0)), draw(st.sampled_from(templates)))

    return expanded("expr", depth)


_FRAGMENTS = (
    *(
        "payload",
        "a",
        "$x",
        "$",
        ".",
        "..",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ",",
        "@",
        "#",
        ";",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
    ),
    *(
        "%",
        "|",
        "=",
        "==",
        "<",
        ">",
        "^",
        "**",
        ":=",
        "!=",
        "<=",
        "~>",
        "?:",
        "??",
        "and",
        "or",
        "in",
        "&",
        "!",
        "~",
        "1",
    ),
    *(
        "1.5",
        "'s'",
        '"t"',
        "`q`",
        "true",
        "null",
        " ",
        "/*c*/",
        "/a/",
        "len(",
        "append(?,",
        "function",
        "\u03bb",
        "\\",
        "'",
    ),
    *("`", "/*", "01", "1e400", "\u00a0", "\u00e9", "\U0001f600", "/[", "/(?<n>a)/", "\ud800", "abs(", "lenght("),
)


@st.composite
def nonsense(draw: st.DrawFn) -> str:
    """Draw a text that is probably not an expression: fragments, any text, or an expression with a random change."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return "".join(draw(st.lists(st.sampled_from(_FRAGMENTS), max_size=12)))
    if kind == 1:
        return draw(st.text(max_size=40))
    source = draw(sentences(ANYTHING, 2))
    at = draw(st.integers(0, len(source)))
    return source[:at] + draw(st.sampled_from(_FRAGMENTS)) + source[at + draw(st.integers(0, 2)) :]
