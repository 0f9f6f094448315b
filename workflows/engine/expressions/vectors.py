"""Command that runs a file of expression vectors: `python -m workflows.engine.expressions.vectors FILE`.

The command compares numbers by their exact value. It also compares the order of keys.
Shapes: the file is JSON with `contexts`, a list of scopes, and `cases`. A case is `{expr, ctx, ok, value}` or
`{expr, ctx, ok: false, stage, reason}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflows.engine.expressions import errors
from workflows.engine.expressions.contract import EXPRESSION_CONTRACT_VERSION, ExpressionError, compile_expression

# Any time would do, because no case has a value that depends on the time.
NOW_MS = 1_775_692_800_000

_REASONS = {
    errors.SYNTAX: {"syntax"},
    errors.FUNCTION_NOT_ALLOWED: {"disallowed_function"},
    errors.LAMBDA: {"lambda"},
    errors.DYNAMIC_CALL: {"dynamic_call"},
    errors.APPLY: {"apply"},
    errors.NOT_JSON: {"not_serializable", "not_finite"},
    errors.TOO_LARGE: {"too_large"},
    errors.BUDGET: {"too_large"},
    errors.RUNTIME: {"runtime"},
}


def outcome(source: str, scope: dict[str, Any], version: int = EXPRESSION_CONTRACT_VERSION) -> dict[str, Any]:
    """Compile and evaluate a source. Return the value. If this fails, return the stage that failed and the error.

    Shapes: `{ok: true, value}` or `{ok: false, stage, error}`.
    """
    try:
        expression = compile_expression(source, version)
    except ExpressionError as error:
        return {"ok": False, "stage": "compile", "error": error}
    try:
        return {"ok": True, "value": expression.evaluate(scope, now_ms=NOW_MS)}
    except ExpressionError as error:
        return {"ok": False, "stage": "evaluate", "error": error}


def failures(document: dict[str, Any], version: int = EXPRESSION_CONTRACT_VERSION) -> Iterator[str]:
    """Yield a description of each case that fails under a contract version."""
    for number, case in enumerate(document["cases"]):
        actual = outcome(case["expr"], document["contexts"][case["ctx"]], version)
        if not _passes(case, actual):
            yield (
                f"case {number} (context {case['ctx']}): {case['expr']}\n"
                f"  expected {_shown(case)}\n"
                f"  got      {_shown(actual)}"
            )


def _passes(case: dict[str, Any], actual: dict[str, Any]) -> bool:
    if case["ok"] or actual["ok"]:
        return bool(case["ok"] and actual["ok"]) and same_json(case["value"], actual["value"])
    return bool(case["stage"] == actual["stage"]) and case["reason"] in _REASONS[actual["error"].code]


def same_json(expected: Any, actual: Any) -> bool:
    """Return True if two JSON values are the same in JavaScript. 1 and 1.0 are the same; true and 1 differ.

    The keys of objects must also have the same order.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        return list(expected) == list(actual) and all(same_json(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(same_json, expected, actual))
    if _is_number(expected) and _is_number(actual):
        return bool(expected == actual)
    return type(expected) is type(actual) and bool(expected == actual)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _shown(result: dict[str, Any]) -> str:
    if result["ok"]:
        return json.dumps(result["value"], ensure_ascii=False)[:400]
    return f"{result['stage']}: {result.get('reason') or result['error']}"


def main(arguments: list[str]) -> int:
    """Run the file and return the exit code.

    The code is 0 if every case passes, 1 if a case fails, and 2 if no file is given.
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m workflows.engine.expressions.vectors FILE\n")
        return 2
    document = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    failed = 0
    for failure in failures(document):
        failed += 1
        sys.stdout.write(failure + "\n")
    sys.stdout.write(f"{len(document['cases']) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
