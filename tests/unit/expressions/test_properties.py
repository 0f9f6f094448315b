"""Properties of every expression, checked with 1,000 generated expressions, or 20,000 with POINTSMAN_NIGHTLY=1."""

import copy
import json
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from jsonata.jexception import JException
from jsonata.jsonata import Jsonata
from jsonata.utils import Utils

from tests.unit.expressions.generated import ANYTHING, LIBRARY_SAFE, SCOPE, nonsense, sentences
from workflows.engine.expressions import errors
from workflows.engine.expressions.contract import ExpressionError, compile_expression

_EXAMPLES = 20_000 if os.environ.get("POINTSMAN_NIGHTLY") == "1" else 1_000
_CODES = {value for name, value in vars(errors).items() if name.isupper()}

generated = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=os.environ.get("POINTSMAN_NIGHTLY") != "1",
    suppress_health_check=[HealthCheck.too_slow],
)


def _outcome(source: str, scope: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "value", compile_expression(source).evaluate(scope, now_ms=0)
    except ExpressionError as error:
        return error.code, error.position


def _library_outcome(source: str) -> tuple[str, Any]:
    try:
        expression = Jsonata(source)
        expression.set_validate_input(False)
        expression.set_output_convert_nulls(False)
        value = expression.evaluate(copy.deepcopy(SCOPE), {})
    except JException as error:
        return "error", error.error
    return ("undefined", None) if value is None else ("value", Utils.convert_nulls(value))


def _numbers_alike(value: Any) -> Any:
    """Return the value with every number as a float, so that 2 and 2.0 are equal, but true and 1 are not."""
    if isinstance(value, dict):
        return [(key, _numbers_alike(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_numbers_alike(item) for item in value]
    return float(value) if type(value) in (int, float) else repr(value)


@given(sentences(LIBRARY_SAFE))
@generated
def test_contract_agrees_with_the_library_where_the_library_is_correct(source: str) -> None:
    kind, expected = _library_outcome(source)
    code, actual = _outcome(source, SCOPE)
    if kind == "value":
        assert (code, _numbers_alike(actual)) == ("value", _numbers_alike(expected))
    else:
        assert code == {"undefined": errors.NOT_JSON, "error": errors.RUNTIME}[kind], actual


@given(sentences(ANYTHING))
@generated
def test_evaluation_is_pure(source: str) -> None:
    scope = copy.deepcopy(SCOPE)
    first = _outcome(source, scope)
    assert json.dumps(scope) == json.dumps(SCOPE)
    if first[0] == "value":
        _spoil(first[1])
    assert json.dumps(scope) == json.dumps(SCOPE), "the result shares a value with the scope"
    again = _outcome(source, scope)
    assert again[0] == first[0]
    assert again[0] == "value" or again == first


def _spoil(value: Any) -> None:
    """Change every dict and list in a value."""
    if isinstance(value, dict):
        for item in value.values():
            _spoil(item)
        value["spoilt"] = True
    if isinstance(value, list):
        for item in value:
            _spoil(item)
        value.append("spoilt")


@given(sentences(ANYTHING))
@generated
def test_result_is_json_of_plain_types(source: str) -> None:
    code, value = _outcome(source, SCOPE)
    if code == "value":
        assert json.loads(json.dumps(value, allow_nan=False)) == value
        assert _plain(value)


def _plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_plain, value))
    return value is None or type(value) in (bool, int, float, str)


@given(nonsense())
@generated
def test_only_expression_errors_are_raised(source: str) -> None:
    code, outcome = _outcome(source, SCOPE)
    assert code == "value" or code in _CODES
    assert code == "value" or outcome is None or 0 <= outcome <= len(source)
