"""Hostile sources that try to exceed the limits, with the largest scopes that a run can have.

A case has a name, a source and the name of a scope. A case may end with a value or an error, but it must end within the
counted limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Hostile(NamedTuple):
    name: str
    source: str
    scope: str = "small"


def _nested_arrays(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _nested_objects(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"leaf": 1}
    for _ in range(depth):
        value = {"a": value, "b": 1}
    return value


def scopes() -> dict[str, dict[str, Any]]:
    """Return scopes of about a megabyte of JSON each, and a small scope."""
    return {
        "small": {"payload": {"a": 1, "b": [1, 2, 3], "s": "text", "o": {"k": "v"}}, "vars": {"n": 2}, "meta": {}},
        "numbers": {"payload": {"list": [index % 10 for index in range(450_000)]}},
        "distinct": {"payload": {"list": list(range(140_000))}},
        "fractions": {"payload": {"list": [index + 0.123456789012345 for index in range(50_000)]}},
        "objects": {
            "payload": {"list": [{"id": index, "group": f"g{index % 7}", "text": "x" * 20} for index in range(16_000)]}
        },
        "empties": {"payload": {"list": [{} for _ in range(300_000)], "lists": [[] for _ in range(50_000)]}},
        "text": {"payload": {"s": "x" * 480_000, "t": "x" * 480_000}},
        "wide text": {"payload": {"s": "\U0001f600" * 120_000, "t": "\U0001f600" * 120_000}},
        "quotes": {"payload": {"s": "\x01" * 150_000}},
        "keys": {"payload": {"o": {f"key{index}": index for index in range(50_000)}}},
        "index keys": {"payload": {"o": {str(index): index for index in range(70_000, 0, -1)}}},
        "deep arrays": {"payload": {"d": _nested_arrays(900)}},
        "deep objects": {"payload": {"d": _nested_objects(450)}},
        "matrix": {"payload": {"m": [[column % 10 for column in range(500)] for _ in range(800)]}},
    }


def corpus() -> Iterator[Hostile]:
    yield from _of_ranges()
    yield from _of_text()
    yield from _of_walks()
    yield from _of_depth()
    yield from _of_length()
    yield from _of_regexes()
    yield from _of_bindings()
    yield from _of_data()


def _of_ranges() -> Iterator[Hostile]:
    yield Hostile("range of ten million", "[0..9999999]")
    yield Hostile("range past the reference's limit", "[0..10000000]")
    yield Hostile("range of huge bounds", "[-1e300..1e300]")
    yield Hostile("length of a large range", "len([1..9999999])")
    yield Hostile("range just inside", "len([1..190000])")
    yield Hostile("many ranges", "len([" + ",".join(["1..150000"] * 40) + "])")
    yield Hostile("nested ranges", "[1..1000].[1..1000].[1..1000]")
    yield Hostile("nested ranges of ranges", "[1..300].([1..300].([1..300].($)))")
    yield Hostile("range in a predicate", "[1..2000][[1..2000]]")
    yield Hostile("range in a predicate of a range", "[1..400][[1..400][[1..400]]]")
    yield Hostile("sum over a product", "[1..500].($x := $; [1..500].($x * $)).($ + 1)")
    yield Hostile("objects from a range", "[1..150000].{'k': $}")
    yield Hostile("arrays from a range", "[1..150000].[$]")
    yield Hostile("sorted range", "[1..60000]^(>$)")
    yield Hostile("grouped range", "[1..60000]{toString($): $}")
    yield Hostile("grouped into one", "[1..100000]{'k': $}")
    yield Hostile("append of ranges", "append([1..99999], append([1..99999], [1..99999]))")


def _of_text() -> Iterator[Hostile]:
    yield Hostile("doubling", "(" + "$s := 'xxxxxxxxxxxxxxxx'; " + "$s := $s & $s; " * 60 + "len($s))")
    yield Hostile("wide doubling", "(" + "$s := '\U0001f600\U0001f600'; " + "$s := $s & $s; " * 60 + "len($s))")
    yield Hostile("doubling of arrays", "(" + "$s := [1,2,3]; " + "$s := append($s, $s); " * 60 + "len($s))")
    yield Hostile("doubling by an array constructor", "(" + "$s := [1,2,3]; " + "$s := [$s, $s]; " * 60 + "len($s))")
    yield Hostile("doubling of nested arrays", "(" + "$s := [1]; " + "$s := [[$s], [$s]]; " * 60 + "len($s & ''))")
    yield Hostile("doubling of objects", "(" + "$s := {'a': 1}; " + "$s := {'a': $s, 'b': $s}; " * 60 + "$s)")
    yield Hostile(
        "comparison of doubled objects",
        "("
        + "$s := {'a': 1}; $t := {'a': 1}; "
        + "$s := {'a': $s, 'b': $s}; $t := {'a': $t, 'b': $t}; " * 60
        + "$s = $t)",
    )
    yield Hostile("text of doubled objects", "(" + "$s := {'a': 1}; " + "$s := {'a': $s, 'b': $s}; " * 40 + "'' & $s)")
    yield Hostile(
        "descendants of doubled objects", "(" + "$s := {'a': 1}; " + "$s := {'a': $s, 'b': $s}; " * 40 + "len($s.**))"
    )
    yield Hostile("truth of doubled arrays", "(" + "$s := [0]; " + "$s := [[$s], [$s]]; " * 40 + "$s ? 1 : 2)")
    yield Hostile("toString of doubled arrays", "(" + "$s := [0]; " + "$s := [[$s], [$s]]; " * 40 + "toString($s))")
    yield Hostile("long text for each number", "[1..100000].($$.payload.s & $)", "text")
    yield Hostile("long text compared for each number", "[1..60000].($$.payload.s = $$.payload.t)", "text")
    yield Hostile("wide text ordered for each number", "[1..60000].($$.payload.s < $$.payload.t)", "wide text")
    yield Hostile("wide text measured for each number", "[1..60000].(len($$.payload.s))", "wide text")
    yield Hostile("long text as keys", "[1..20000]{$$.payload.s & $: 1}", "text")
    yield Hostile("long text in an array", "[1..60000].[$$.payload.s]", "text")
    yield Hostile("escaped text", "payload.s", "quotes")
    yield Hostile("text of a text", "(" + "$s := [payload.s]; " + "$s := [$s & '']; " * 12 + "$s)", "quotes")
    yield Hostile("text of numbers", "'' & payload.list", "fractions")
    yield Hostile("toString of numbers", "toString(payload.list)", "fractions")
    yield Hostile("text of objects", "'' & payload.list", "objects")


def _of_walks() -> Iterator[Hostile]:
    yield Hostile("descendants", "**", "numbers")
    yield Hostile("descendants of descendants", "**.**", "objects")
    yield Hostile("descendants cubed", "**.**.**.**.**")
    yield Hostile("descendants cubed over a deep object", "**.**.**", "deep objects")
    yield Hostile("wildcards", "*.*.*", "matrix")
    yield Hostile("wildcards over objects", "payload.list.*.*", "objects")
    yield Hostile("wildcards in each", "payload.list.($$.**)", "objects")
    yield Hostile("descendants in a predicate", "**[$$.** = 1]", "objects")
    yield Hostile("descendants everywhere", "[**, [**], {'a': **}].**.**", "small")
    yield Hostile("parents", "payload.list.(%.list.(%.list))", "objects")
    yield Hostile("fields of many", "payload.list.id.id", "objects")
    yield Hostile("every field of every item", "payload.list.{'a': id, 'b': group, 'c': text}", "objects")
    yield Hostile("join of a list with itself", "payload.list@$a.list@$b[$a.id = $b.id]", "objects")
    yield Hostile(
        "join of a list with itself, without a predicate",
        "payload.list@$a.list@$b.list@$c",
        "objects",
    )
    yield Hostile("numbered join", "payload.list#$i.$$.payload.list#$j.$$.payload.list#$k", "objects")
    yield Hostile("sort by a predicate over all", "payload.list^($$.payload.list[id = 5].id)", "objects")
    yield Hostile("filter by all", "payload.list[$$.payload.list[id = 5]]", "objects")
    yield Hostile("membership of each in all", "payload.list[$ in $$.payload.list]", "distinct")
    yield Hostile("equality with all", "payload.list[$$.payload.list = $$.payload.list]", "distinct")
    yield Hostile("group by itself", "payload.list{toString($): $$.payload.list}", "distinct")


def _of_depth() -> Iterator[Hostile]:
    yield Hostile("parentheses", "(" * 10_000)
    yield Hostile("closed parentheses", "(" * 5_000 + "1" + ")" * 5_000)
    yield Hostile("parentheses within the limit", "(" * 190 + "1" + ")" * 190)
    yield Hostile("brackets", "[" * 2_000 + "]" * 2_000)
    yield Hostile("brackets within the limit", "[" * 190 + "]" * 190)
    yield Hostile("braces", "{'a':" * 1_500 + "1" + "}" * 1_500)
    yield Hostile("predicates", "a[" * 1_500 + "1" + "]" * 1_500)
    yield Hostile("predicates within the limit", "payload.b[" * 90 + "1" + "]" * 90)
    yield Hostile("calls", "len(" * 1_300 + "1" + ")" * 1_300)
    yield Hostile("calls of calls", "len" + "(1)" * 1_300)
    yield Hostile("minus signs", "-" * 4_000 + "1")
    yield Hostile("conditions", "a?" * 2_000 + "1")
    yield Hostile("else branches", "a?1:" * 900 + "1")
    yield Hostile("defaults", "a?:" * 1_450 + "1")
    yield Hostile("defaults of defaults", "(" * 60 + "a" + "?:1)" * 60)
    yield Hostile("coalescing of coalescing", "(" * 60 + "a" + "??1)" * 60)
    yield Hostile("assignments", "$a:=" * 1_450 + "1")
    yield Hostile("lambdas", "function($x){" * 600 + "1" + "}" * 600)
    yield Hostile("sorts", "a^(" * 900 + "1" + ")" * 900)
    yield Hostile("groups", "a{'k':" * 900 + "1" + "}" * 900)
    yield Hostile("transforms", "|a|" * 1_000)


def _of_length() -> Iterator[Hostile]:
    yield Hostile("long source", "1+" * 20_000 + "1")
    yield Hostile("sum of many", "1+" * 1_530 + "1")
    yield Hostile("concatenation of many", "'abcdefgh'&" * 1_530 + "''")
    yield Hostile("path of many", "a" + ".a" * 2_000)
    yield Hostile("paths of the longest", ",".join(["a" + ".a" * 120] * 16).join("[]"))
    yield Hostile("parents of many", "a" + ".%" * 2_000)
    yield Hostile("parents of the longest", "a" * 3 + ".a" * 60 + ".%" * 60)
    yield Hostile("parents side by side", "payload.o.[" + ",".join(["%.%.%"] * 300) + "]")
    yield Hostile("one long name", "a" * 32_000)
    yield Hostile("one long string", "'" + "a" * 32_000 + "'")
    yield Hostile("escapes", "'" + "\\u0041" * 5_400 + "'")
    yield Hostile("one long number", "1" * 32_000)
    yield Hostile("a number of many digits", "0." + "1" * 32_000)
    yield Hostile("comments", "/* x */" * 4_600 + "1")
    yield Hostile("an open comment", "len" + "/*" * 16_000)
    yield Hostile("white space", " " * 32_000 + "1")
    yield Hostile("an open string", "'" + "\\n" * 16_000)
    yield Hostile("many semicolons", "(" + "1;" * 2_000 + "1)")
    yield Hostile("object of many keys", "{" + ",".join(f"'k{index}':{index}" for index in range(1_000)) + "}")
    yield Hostile("array of many", "[" + "0," * 1_530 + "0]")
    yield Hostile("keep-array marks", "a" + "[]" * 2_000)
    yield Hostile("many predicates", "payload.b" + "[0]" * 1_000)
    yield Hostile("misspelt calls", "+".join(["lenght(1)"] * 800))


def _of_regexes() -> Iterator[Hostile]:
    yield Hostile("regex catastrophe", "payload.s ~> /(a+)+$/", "text")
    yield Hostile("regex catastrophe as a value", "/(x+x+)+y/", "text")
    yield Hostile("regex catastrophe in a predicate", "payload.list[/(x+x+)+y/]", "objects")
    yield Hostile("regex of deep groups", "/" + "(" * 15_000 + ")" * 15_000 + "/")
    yield Hostile("regex of huge counts", "/((a{1,1000}){1,1000}){1,1000}/")
    yield Hostile("regex of many classes", "/" + "[a-z]" * 6_000 + "/")
    yield Hostile("regex that never closes", "/" + "(" * 30_000)
    yield Hostile("regex of backslashes", "/" + "\\" * 30_000)


def _of_bindings() -> Iterator[Hostile]:
    yield Hostile("many variables", "(" + "".join(f"$v{index} := {index};" for index in range(800)) + "1)")
    yield Hostile("blocks in blocks reading one variable", "($a := 1;" * 150 + "$a" + ")" * 150)
    yield Hostile("outer variable from each item", "($a := 1;" + "(" * 100 + "[1..60000].($a)" + ")" * 101)
    yield Hostile("wide tuples", "payload.list" + "".join(f"#$v{index}" for index in range(100)), "objects")
    yield Hostile(
        "tuples bound many times", "payload.list" + "".join(f".$#$v{index}" for index in range(100)), "objects"
    )
    yield Hostile("grouped tuples", "payload.list#$i{group: $i}", "objects")
    yield Hostile("partial applications", "(" + "$f := append(?, 1);" * 500 + "1)")


def _of_data() -> Iterator[Hostile]:
    yield Hostile("everything", "$", "numbers")
    yield Hostile("everything of a deep array", "$", "deep arrays")
    yield Hostile("descendants of a deep array", "len(payload.d.**)", "deep arrays")
    yield Hostile("descendants of a deep object", "payload.d.**", "deep objects")
    yield Hostile("field of a deep array", "payload.d.x", "deep arrays")
    yield Hostile("wildcard of a deep array", "payload.d.*", "deep arrays")
    yield Hostile("truth of a deep array", "payload.d ? 1 : 2", "deep arrays")
    yield Hostile("text of a deep array", "'' & payload.d", "deep arrays")
    yield Hostile("toString of a deep array", "toString(payload.d)", "deep arrays")
    yield Hostile("equality of deep arrays", "[payload.d] = [payload.d]", "deep arrays")
    yield Hostile("equality of a deep array with a copy", "payload.d = payload.d[]", "deep arrays")
    yield Hostile("equality of large arrays", "[payload.list] = [payload.list]", "numbers")
    yield Hostile("truth of a large array", "payload.list ? 1 : 2", "numbers")
    yield Hostile("copy of a large array", "append(payload.list, payload.list)", "numbers")
    yield Hostile("array of a large array", "[payload.list, payload.list, payload.list]", "numbers")
    yield Hostile("sort of a large array", "payload.list^($)", "distinct")
    yield Hostile("sort of fractions", "payload.list^(>$)", "fractions")
    yield Hostile("filter of a large array", "payload.list[$ > 5]", "numbers")
    yield Hostile("many keys", "payload.o.*", "keys")
    yield Hostile("many keys as text", "'' & payload.o", "keys")
    yield Hostile("many index keys", "payload.o.*", "index keys")
    yield Hostile("many index keys, often", "[1..1000].($$.payload.o.*)", "index keys")
    yield Hostile("many index keys as a result", "payload.o", "index keys")
    yield Hostile("equality of many keys, often", "[1..1000].($$.payload.o = $$.payload)", "keys")
    yield Hostile("empty objects", "payload.list", "empties")
    yield Hostile("wildcards of empty objects", "payload.list.*", "empties")
    yield Hostile("groups of empty lists", "payload.lists.{}", "empties")
    yield Hostile("array as an object", "payload.list = {}", "numbers")
    yield Hostile("arrays as objects, often", "[1..1000].($$.payload.list = $$.payload)", "numbers")
