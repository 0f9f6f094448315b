"""Numbers of JSON texts keep their digits, and what the portal cannot keep is refused with its place."""

import copy
import json
import pickle
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from kombu import serialization

from ingress.intake.correlation_config import parse_correlation_paths
from portal.celery import read_message, write_message
from workflows.admin.forms import JsonObjectField
from workflows.engine.json_text import SentDecimal
from workflows.engine.storable import storable_problem
from workflows.json_numbers import as_doubles, canonical_json, read_stored_json, write_json
from workflows.strict_json import JsonRefused, read_json

EXACT = (
    '{"id": 8202522731445525542, "price": 1.10, "rate": 0.12345678901234567890, "tenth": 0.1, "e": 1e1, "zero": -0.0,'
    ' "list": [1.0, 12345678901234567890.5, 1E+5], "text": "1.10"}'
)


@pytest.mark.parametrize("read", [read_json, read_stored_json, read_message])
@pytest.mark.parametrize("write", [write_json, write_message])
def test_digits_survive_reading_and_writing(read: Any, write: Any) -> None:
    assert write(read(EXACT)) == EXACT
    assert json.loads(write(read(EXACT), indent=2)) == json.loads(EXACT)


def test_a_sent_decimal_is_the_double_that_python_reads() -> None:
    document = read_json(EXACT)
    assert document == json.loads(EXACT)
    assert [type(document[name]) for name in ("price", "tenth", "id")] == [SentDecimal, float, int]
    assert {type(item) for item in as_doubles(document)["list"]} == {float}
    for copied in (copy.deepcopy(document), pickle.loads(pickle.dumps(document))):
        assert write_json(copied) == EXACT


@pytest.mark.parametrize(
    ("text", "pointer", "words"),
    [
        ('{"payload": {"a": [1, 1e400]}}', "/payload/a/1", "is outside the range of a double"),
        ('{"a": -1e400}', "/a", "is outside the range of a double"),
        ('{"a": ' + "9" * 309 + ".0}", "/a", "is outside the range of a double"),
        ('{"a": ' + "9" * 1001 + "}", "/a", "has more than 1,000 digits"),
        ('{"a": -' + "9" * 5000 + "}", "/a", "has more than 1,000 digits"),
        ('{"a": {"b": 1, "b": 1}}', "/a", "has the key 'b' twice"),
        ('{"a": 1, "\\u0061": 2}', "", "has the key 'a' twice"),
        ('[{"a": 1}, {"a": {}, "c": 1, "a": {}}]', "/1", "has the key 'a' twice"),
    ],
)
def test_value_that_cannot_be_kept_is_refused_with_its_place(text: str, pointer: str, words: str) -> None:
    with pytest.raises(JsonRefused) as refused:
        read_json(text)
    assert refused.value.pointer == pointer
    assert words in refused.value.problem
    assert f"the value at {pointer or '/'} " in str(refused.value)
    # A message of the broker is read with marks, because Celery deletes a message that it cannot read.
    found = storable_problem(read_message(text))
    assert found is not None
    assert (found[0], words in found[1]) == (pointer, True)


def test_largest_values_are_kept() -> None:
    for text in ("9" * 1000, "-" + "9" * 1000, "1.7976931348623157e308", "1e-400", "1." + "0" * 5000):
        assert write_json(read_json(text)) == text


def test_form_shows_the_place_of_a_value_that_cannot_be_kept() -> None:
    with pytest.raises(ValidationError, match="/a/0 is outside the range of a double"):
        JsonObjectField().clean('{"a": [1e400]}')
    assert write_json(JsonObjectField().clean(EXACT)) == EXACT


def test_configuration_of_correlation_paths_refuses_a_repeated_event() -> None:
    with pytest.raises(ValueError, match="has the key 'E' twice"):
        parse_correlation_paths('{"E": "a", "E": "b"}')


def test_messages_of_celery_keep_the_digits() -> None:
    decoded = serialization.loads(EXACT.encode(), "application/json", "utf-8", accept={"application/json"})
    assert serialization.dumps(decoded, serializer="json")[2] == EXACT


def test_short_numbers_do_not_become_long_texts() -> None:
    assert len(canonical_json(read_json("[" + ",".join(["1e308"] * 1000) + "]"))) < 30_000


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "01", "1.", ".5", "+1", '{"a": 1,}'])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|delimiter|Extra data|Expecting"):
        read_json(text)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("[10, 10.0, 1e1, 100E-1]", "[1e1, 10, 10.0, 10]", True),
        ("[0, -0.0, 0e5]", "[0.0, 0, 0]", True),
        ('{"a": 1.10, "b": 2}', '{"b": 2.0, "a": 1.1}', True),
        ("0.1", "1e-1", True),
        ("0.12345678901234567890", "0.12345678901234567891", False),
        ("12345678901234567890", "12345678901234567891", False),
        ("12345678901234567890", "12345678901234567890.0", True),
        ("1e300", "1" + "0" * 300, True),
        ("[1e21, 999999999999999999999, 1e20]", "[1000000000000000000000, 9.99999999999999999999e20, 1E+20]", True),
        ("1e300", "1e301", False),
        ("1", '"1"', False), ("1", "true", False), ("0", "false", False), ("0", "null", False),
        ("-1.5", "1.5", False), ("1.5", '"15e-1"', False),
    ],
)  # fmt: skip
def test_numbers_are_compared_by_value(one: str, other: str, equal: bool) -> None:
    assert (canonical_json(read_json(one)) == canonical_json(read_json(other))) is equal
