"""Deviations of the library from the reference implementation, and the modules that correct them.

Rule: this module has data only. Each entry is one deviation with the shortest source that shows the deviation over
`SCOPE`. A test evaluates every source with the unchanged library. The test fails if the outcome differs from the
entry's `library`. After an upgrade of the library, the test thus shows which corrections are no longer needed or must
change.

The evaluator is our own code (`compiler` and its modules). For entries of the kind `EVALUATION`, `corrected_in`
therefore names the module with the correct behaviour instead of a patch of the library.

Shapes: an outcome is `value <JSON>`, `undefined`, or `error <name> @<position>`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

SCOPE: dict[str, Any] = {
    "payload": {"b": [1, 2, 3], "s": "text", "o": {"k": "v"}, "nul": None, "keys": {"b": 1, "1": 2}},
}


class Deviation(NamedTuple):
    name: str
    source: str
    library: str
    contract: str
    corrected_in: str


TOKENS = (
    Deviation(
        "a position is where a token ends",
        "1 = 'unclosed",
        "error S0101 @13",
        "error EXPRESSION_SYNTAX @4",
        "tokens",
    ),
    Deviation(
        "a slash at the end is an IndexError",
        "a /",
        "error IndexError @None",
        "error EXPRESSION_SYNTAX @3",
        "tokens",
    ),
    Deviation(
        "a backslash at the end of a string is an IndexError",
        "'\\",
        "error IndexError @None",
        "error EXPRESSION_SYNTAX @1",
        "tokens",
    ),
    Deviation(
        "an unsupported escape has the code of an empty regex",
        "'\\q'",
        "error S0301 @2",
        "error EXPRESSION_SYNTAX @1",
        "tokens",
    ),
    Deviation(
        "a vertical tab is part of a name",
        "payload.s\v",
        "undefined",
        'value "text"',
        "tokens",
    ),
    Deviation(
        "an escaped surrogate pair stays two characters",
        "'\\ud83d\\ude00' = '\U0001f600'",
        "value false",
        "value true",
        "tokens",
    ),
    Deviation(
        "a regex must be one for Python",
        "/(?<name>a)/ ? 1 : 2",
        "error re.error @None",
        "value 2",
        "tokens, regex_syntax",
    ),
    Deviation(
        "an unknown operator is a KeyError",
        "!true",
        "error KeyError @None",
        "error EXPRESSION_SYNTAX @0",
        "parser.advance",
    ),
    Deviation(
        "minus zero is zero",
        "1/(-0) < 0",
        "error ZeroDivisionError @None",
        "value true",
        "parser._process_minus",
    ),
    Deviation(
        "?: processes its left side twice",
        "-1 ?: 2",
        "value 1",
        "value -1",
        "grammar.Default",
    ),
    Deviation(
        "?? processes its left side twice",
        "-1 ?? 2",
        "value 1",
        "value -1",
        "grammar.Default",
    ),
    Deviation(
        "a minus sign loses its position",
        "1 + -'a'",
        "error D1002 @0",
        "error EXPRESSION_RUNTIME @4",
        "grammar.Minus",
    ),
    Deviation(
        "an object constructor loses its position",
        "1 & {1: 2}",
        "error T1003 @0",
        "error EXPRESSION_RUNTIME @4",
        "grammar.ObjectConstructor",
    ),
    Deviation(
        "an operator loses its position while it is evaluated",
        "1 + 'a'",
        "error T2002 @-1",
        "error EXPRESSION_RUNTIME @2",
        "operators",
    ),
)

EVALUATION = (
    Deviation(
        "null at the surface is undefined", "payload.missing", "undefined", "error EXPRESSION_NOT_JSON @None", "result"
    ),
    Deviation("% of fractions is whole", "5.5 % 2", "value 1", "value 1.5", "operators"),
    Deviation("division by zero raises", "1/0 > 1", "error ZeroDivisionError @None", "value true", "operators"),
    Deviation("remainder of zero raises", "3 % 0 = 1", "error ValueError @None", "value false", "operators"),
    Deviation("an infinite number raises at once", "1e308 * 10 > 1", "error D1001 @0", "value true", "operators"),
    Deviation(
        "a whole number past 15 digits has an exponent in text",
        "100000000000000000000 & ''",
        'value "1e+20"',
        'value "100000000000000000000"',
        "js_text",
    ),
    Deviation(
        "text outside ASCII is escaped inside arrays and objects",
        "'' & ['\u00e9']",
        "value " + json.dumps('["\\u00e9"]'),
        "value " + json.dumps('["\u00e9"]'),
        "js_text.json_string",
    ),
    Deviation(
        "an exact half is rounded to even in text",
        "100000000000000.5 & ''",
        'value "1e+14"',
        'value "100000000000001"',
        "js_text",
    ),
    Deviation(
        "strings order by code points",
        "'\uffff' < '\U0001f600'",
        "value true",
        "value false",
        "js_text.text_less",
    ),
    Deviation("index keys keep their place", "payload.keys.*", "value [1, 2]", "value [2, 1]", "values.ordered_keys"),
    Deviation(
        "index keys of a constructor keep their place",
        "{'b': 1, '1': 2}.*",
        "value [1, 2]",
        "value [2, 1]",
        "values.ordered_keys",
    ),
    Deviation("`in` compares objects deeply", "{} in [{}]", "value true", "value false", "equality.strict_equal"),
    Deviation("`in` takes true for 1", "true in [1]", "value true", "value false", "equality.strict_equal"),
    Deviation("an array equals no object", "[] = {'length': 0}", "value false", "value true", "equality"),
    Deviation("a negative fraction selects by truncation", "payload.b[-0.5]", "value 1", "value 3", "filters"),
    Deviation(
        "a path over a number raises",
        "[1, 2][0].x",
        "error TypeError @None",
        "error EXPRESSION_NOT_JSON @None",
        "steps",
    ),
)

ALL = (*TOKENS, *EVALUATION)
