"""Comparison of the contract with the reference implementation, if the reference is installed.

Set POINTSMAN_JSONATA to a folder in which `npm install jsonata@2` ran; `.ci/run` does this. Without the variable these
tests are not collected. The vectors contain the results of the reference.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.unit.expressions.generated import ANYTHING, SCOPE, nonsense, sentences
from workflows.engine.expressions import errors
from workflows.engine.expressions.contract import EXPRESSION_CONTRACT_VERSION, ExpressionError, compile_expression
from workflows.engine.expressions.vectors import same_json

_PACKAGE = Path(os.environ.get("POINTSMAN_JSONATA", "/nonexistent")) / "node_modules" / "jsonata"
_EXAMPLES = 20_000 if os.environ.get("POINTSMAN_NIGHTLY") == "1" else 1_000
_NAMES = {errors.SYNTAX: "syntax", errors.RUNTIME: "runtime", errors.NOT_JSON: "not_json"}
# Codes of errors that the contract has and the reference does not.
_REFUSED = {
    errors.BUDGET,
    errors.TOO_LARGE,
    errors.FUNCTION_NOT_ALLOWED,
    errors.LAMBDA,
    errors.DYNAMIC_CALL,
    errors.APPLY,
}

# The reference has doubles only. A source with this number is compared under contract version 1, which has doubles too.
_BEYOND_DOUBLES = "9007199254740993"
_TO_BE_REWRITTEN = re.compile(r"\ud800|==|(?<!\$)(?:len|append|coalesce|toString|nowIso)\s*\(")

_SCOPES: list[dict[str, Any]] = [
    SCOPE,
    {
        "payload": {
            "a": "1",
            "b": 5,
            "s": "",
            "items": {"sku": "A", "qty": 3, "tags": ["q"]},
            "m": [[]],
            "one": [[7]],
            "o": [{"k": 1}, {"k": 2}, {"x": {"k": 3}}],
            "t": [True],
            "10": "ten",
            "9": "nine",
        },
        "vars": {"list": [{"a": 1}, {"a": "b"}, {"b": 3}, [{"a": 5}]], "n": "k", "deep": {"a": [[1, [2]], []]}},
        "error": {"message": "boom"},
    },
]


def _sources(strategy: Any) -> list[str]:
    found: list[str] = []

    @given(strategy)
    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=os.environ.get("POINTSMAN_NIGHTLY") != "1",
    )
    def collect(source: str) -> None:
        # The reference does not know the rewrites, so only a source without them has the same meaning in both.
        if not _TO_BE_REWRITTEN.search(source):
            found.append(source)

    collect()
    return found


def _reference(sources: list[str], scope: dict[str, Any]) -> list[dict[str, Any]]:
    lines = "\n".join(json.dumps({"source": source, "scope": json.dumps(scope)}) for source in sources)
    script = Path(__file__).with_name("reference.js")
    run = subprocess.run(["node", str(script), str(_PACKAGE)], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def _contract(source: str, scope: dict[str, Any]) -> tuple[str, Any]:
    version = 1 if _BEYOND_DOUBLES in source else EXPRESSION_CONTRACT_VERSION
    try:
        return "value", compile_expression(source, version).evaluate(scope, now_ms=0)
    except ExpressionError as error:
        return error.code, None


def _agrees(expected: dict[str, Any], code: str, value: Any) -> bool:
    if code == errors.RUNTIME and "async function" in json.dumps(expected):
        return True  # the reference returns its own source text as the string of a function
    if "value" in expected:
        return code == "value" and same_json(expected["value"], value)
    return _NAMES.get(code) == expected["error"]


@pytest.mark.parametrize("scope", _SCOPES, ids=["usual", "odd"])
@pytest.mark.parametrize("strategy", [sentences(ANYTHING), nonsense()], ids=["expressions", "nonsense"])
def test_contract_agrees_with_the_reference(strategy: Any, scope: dict[str, Any]) -> None:
    outcomes = [(source, *_contract(source, scope)) for source in _sources(strategy)]
    # The reference has no limits and would use all memory for these sources.
    comparable = [outcome for outcome in outcomes if outcome[1] not in _REFUSED]
    assert len(comparable) > _EXAMPLES / 2
    references = _reference([source for source, _, _ in comparable], scope)
    differing = [
        (outcome, expected)
        for outcome, expected in zip(comparable, references, strict=True)
        if not _agrees(expected, outcome[1], outcome[2])
    ]
    assert differing == []
