"""Small parts of the engine: filters, targets, keys, retry delays, times and canonical text."""

import json
from typing import Any

import pytest

from workflows.engine.clock import iso_time, parse_moment
from workflows.engine.definition import RetryPolicy, canonical_text, definition_hash
from workflows.engine.errors import RunError
from workflows.engine.filters import MAX_RECORDED_VALUE_BYTES, MISSING, first_mismatch, value_at
from workflows.engine.keys import correlation_key
from workflows.engine.mapping import expand_dotted
from workflows.engine.retry import retry_delay_ms
from workflows.engine.scope import Scope, parse_target

PAYLOAD = {"n": 5, "s": "mail", "list": ["a", 1, True], "nul": None, "o": {"k": [10, 20]}, "one": 1, "flag": True}


@pytest.mark.parametrize(
    ("path", "op", "value", "holds"),
    [
        ("n", "=", 5, True), ("n", "=", 5.0, True), ("n", "=", "5", False), ("flag", "=", 1, False),
        ("o", "=", {"k": [10, 20]}, True), ("o", "!=", {"k": [10]}, True), ("n", "!=", 5, False),
        ("s", "in", ["mail", "portal"], True), ("s", "in", [], False), ("s", "not_in", ["portal"], True),
        ("s", "not_in", ["mail"], False), ("flag", "in", [1], False),
        ("n", ">", 4, True), ("n", ">", 5, False), ("n", ">=", 5, True), ("n", "<", 5, False), ("n", "<=", 5, True),
        ("s", ">", "m", True), ("s", ">", 4, False), ("flag", ">", 0, False),
        ("s", "contains", "ai", True), ("list", "contains", 1, True), ("list", "contains", "b", False),
        ("n", "contains", 5, False),
        ("s", "starts_with", "ma", True), ("s", "ends_with", "il", True), ("n", "starts_with", "5", False),
        ("nul", "exists", None, True), ("nul", "not_exists", None, False), ("nul", "=", None, True),
        ("o.k.1", "=", 20, True), ("o.k.2", "exists", None, False),
        ("missing", "not_exists", None, True), ("missing", "!=", 1, False), ("missing", "not_in", [1], False),
        ("missing", "exists", None, False), ("s.deep", "not_exists", None, True),
    ],
)  # fmt: skip
def test_filters(path: str, op: str, value: Any, holds: bool) -> None:
    mismatch = first_mismatch([{"path": path, "op": op, "value": value}], PAYLOAD)
    assert (mismatch is None) is holds, mismatch


def test_first_mismatch_is_the_first_filter_that_fails() -> None:
    mismatch = first_mismatch([{"path": "n", "op": "=", "value": 5}, {"path": "s", "op": "=", "value": "x"}], PAYLOAD)
    assert mismatch == {"code": "FILTER_MISMATCH", "path": "s", "op": "=", "value": "x"}


def test_mismatch_has_no_value_of_the_payload_and_no_large_value() -> None:
    assert first_mismatch([{"path": "n", "op": "not_exists"}], PAYLOAD) == {
        "code": "FILTER_MISMATCH", "path": "n", "op": "not_exists",
    }  # fmt: skip
    large = [{"path": "n", "op": "=", "value": "x" * MAX_RECORDED_VALUE_BYTES}]
    assert first_mismatch(large, PAYLOAD) == {"code": "FILTER_MISMATCH", "path": "n", "op": "="}


def test_path_through_a_scalar_is_missing() -> None:
    assert value_at(PAYLOAD, "n.x") is MISSING


@pytest.mark.parametrize(
    ("text", "root", "segments"),
    [
        ("payload.a.b", "payload", ("a", "b")), ("vars.a", "vars", ("a",)), ("meta.x", "meta", ("x",)),
        ("name", "vars", ("name",)), ("a.b", "vars", ("a", "b")), ("/vars/a~1b/0", "vars", ("a/b", "0")),
        ("payload", "vars", ("payload",)), ("system.x", "vars", ("system", "x")),
    ],
)  # fmt: skip
def test_target_is_parsed(text: str, root: str, segments: tuple[str, ...]) -> None:
    target = parse_target(text)
    assert (target.root, target.segments) == (root, segments)


@pytest.mark.parametrize(
    "text", ["vars.__proto__", "a.constructor.b", "prototype", "", "vars.", "/system/a", "/vars", "a..b"]
)
def test_invalid_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="target|pointer"):
        parse_target(text)


def test_put_creates_missing_objects_and_refuses_scalars() -> None:
    scope = Scope(payload={"s": 1, "l": [1, 2]}, system={})
    scope.put(parse_target("vars.a.b.c"), 1)
    scope.put(parse_target("/payload/l/1"), "x")
    scope.put(parse_target("/payload/l/-"), "y")
    assert (scope.vars, scope.payload["l"]) == ({"a": {"b": {"c": 1}}}, [1, "x", "y"])
    for target in ("payload.s.x", "/payload/l/9", "local.x"):
        with pytest.raises(RunError) as raised:
            scope.put(parse_target(target), 1)
        assert raised.value.category == "ValidationError"


def test_vars_never_hide_the_scopes() -> None:
    scope = Scope(payload={"a": 1}, system={}, vars={"payload": "mine", "x": 2})
    assert (scope.view()["payload"], scope.view()["x"]) == ({"a": 1}, 2)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("T-1", "T-1"), (" T-1\n", "T-1"), (7, "7"), (7.0, "7"), (1e21, "1e+21"), (1e-7, "1e-7"), (True, "true"),
        (8202522731445525542, "8202522731445525542"),
        (-0.0, "0"), ("\ufeffT\u00a0", "T"), ("\x1cT", "\x1cT"),
        (None, None), ("", None), ("  ", None), ([], None), ({}, None), (["T-1"], None),
        (10**400, "1" + "0" * 400), (10**1000, None), (1e400, None), ("x" * 1000, "x" * 1000), ("x" * 1001, None),
        ("\u9999" * 333, "\u9999" * 333), ("\u9999" * 334, None),
    ],
)  # fmt: skip
def test_correlation_key_is_the_javascript_string_form(value: Any, key: str | None) -> None:
    assert correlation_key(value) == key


def test_retry_delay_doubles_up_to_its_limit() -> None:
    policy = RetryPolicy(max_attempts=5, backoff_ms=100, jitter=False, max_delay_ms=350)
    delays = [retry_delay_ms(policy, attempt=n, category="TransientError", seed="s") for n in range(1, 6)]
    assert delays == [100, 200, 350, 350, None]


@pytest.mark.parametrize(
    ("retry_on", "category", "code", "is_retried"),
    [
        (("CRM_BUSY",), "ActionError", "CRM_BUSY", True), (("CRM_BUSY",), "ActionError", "CRM_DOWN", False),
        (("CRM_BUSY",), "ActionError", None, False), (("TransientError", "CRM_BUSY"), "TransientError", None, True),
        (("CRM_BUSY",), "ValidationError", "CRM_BUSY", True),
        (("TransientError",), "ActionError", "TransientError", False),
        ((), "TransientError", "X", False), (None, "ActionError", "X", True), (None, "ValidationError", "X", False),
    ],
)  # fmt: skip
def test_retry_on_selects_by_category_or_code(retry_on: Any, category: str, code: Any, is_retried: bool) -> None:
    policy = RetryPolicy(max_attempts=2, backoff_ms=5, jitter=False, retry_on=retry_on)
    delay = retry_delay_ms(policy, attempt=1, category=category, code=code, seed="s")
    assert delay == (5 if is_retried else None)


def test_jitter_is_the_same_on_replay_and_differs_between_runs() -> None:
    policy = RetryPolicy(max_attempts=9, backoff_ms=10_000)
    delays = {retry_delay_ms(policy, attempt=1, category="ActionError", seed=f"run-{n}") for n in range(50)}
    assert len(delays) > 40
    assert all(delay is not None and 5000 <= delay <= 10_000 for delay in delays)
    assert retry_delay_ms(policy, attempt=1, category="ActionError", seed="run-1") == retry_delay_ms(
        policy, attempt=1, category="ActionError", seed="run-1"
    )


def test_large_backoff_stays_within_the_limit() -> None:
    policy = RetryPolicy(max_attempts=1000, backoff_ms=60_000, jitter=False)
    assert retry_delay_ms(policy, attempt=900, category="ActionError", seed="s") == 30 * 24 * 3600 * 1000
    wild = RetryPolicy(max_attempts=1000, backoff_ms=1, backoff_multiplier=1e300, jitter=False)
    assert retry_delay_ms(wild, attempt=900, category="ActionError", seed="s") == 30 * 24 * 3600 * 1000


@pytest.mark.parametrize(
    ("value", "at_ms"),
    [
        ("1970-01-01T00:00:01Z", 1000), ("1970-01-01T01:00:01+01:00", 1000), (1000, 1000), (1000.9, 1000),
        ("1970-01-01T00:00:01", None), ("soon", None), (True, None), (-1, None), (1e20, None), (None, None),
    ],
)  # fmt: skip
def test_time_is_parsed(value: Any, at_ms: int | None) -> None:
    assert parse_moment(value) == at_ms


def test_iso_time_has_milliseconds() -> None:
    assert iso_time(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


def test_canonical_text_sorts_keys_except_ordered_ones() -> None:
    text = canonical_text({"b": 1, "a": {"assign": {"z": {"y": 1, "x": 2}, "c": 2}, "outputMapping": {"q": 1, "p": 2}}})
    assert list(json.loads(text)) == ["a", "b"]
    assert list(json.loads(text)["a"]["assign"]) == ["z", "c"]
    assert list(json.loads(text)["a"]["assign"]["z"]) == ["x", "y"]
    assert list(json.loads(text)["a"]["outputMapping"]) == ["q", "p"]
    assert text.endswith("}\n")
    assert '\n  "b": 1' in text


def test_hash_depends_only_on_the_canonical_text() -> None:
    one, other = {"a": 1, "ü": "é"}, {"ü": "é", "a": 1}
    assert definition_hash(canonical_text(one)) == definition_hash(canonical_text(other))
    assert definition_hash(canonical_text(one)) != definition_hash(canonical_text({"a": 2, "ü": "é"}))


def test_dotted_keys_expand_and_conflicts_are_refused() -> None:
    assert expand_dotted({"a.b": 1, "a.c": 2, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}
    with pytest.raises(RunError):
        expand_dotted({"a": 1, "a.b": 2})
