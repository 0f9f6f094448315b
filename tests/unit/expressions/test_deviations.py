"""Documented deviations of the library. A test fails if an upgrade of the library changes one of them."""

import json
import re
from typing import Any

import pytest
from jsonata.jexception import JException
from jsonata.jsonata import Jsonata
from jsonata.utils import Utils

from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.expressions.deviations import ALL, SCOPE, Deviation


def _library_outcome(source: str) -> str:
    try:
        expression = Jsonata(source)
        expression.set_output_convert_nulls(False)
        value = expression.evaluate(json.loads(json.dumps(SCOPE)), {})
    except JException as error:
        return f"error {error.error} @{error.location}"
    except re.error:
        return "error re.error @None"
    except Exception as error:  # noqa: BLE001 - the test asserts the type of the exception
        return f"error {type(error).__name__} @None"
    return "undefined" if value is None else f"value {json.dumps(None if value is Utils.NULL_VALUE else value)}"


def _contract_outcome(source: str) -> str:
    try:
        value: Any = compile_expression(source).evaluate(SCOPE, now_ms=0)
    except ExpressionError as error:
        return f"error {error.code} @{error.position}"
    return f"value {json.dumps(value)}"


@pytest.mark.parametrize("deviation", ALL, ids=lambda each: each.name)
def test_library_still_deviates(deviation: Deviation) -> None:
    assert _library_outcome(deviation.source) == deviation.library


@pytest.mark.parametrize("deviation", ALL, ids=lambda each: each.name)
def test_contract_does_not_deviate(deviation: Deviation) -> None:
    assert _contract_outcome(deviation.source) == deviation.contract


def test_each_deviation_is_real_and_unique() -> None:
    assert [each.name for each in ALL if each.library == each.contract] == []
    assert len({each.name for each in ALL}) == len(ALL)
