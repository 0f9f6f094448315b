"""Where a correlation key comes from, in which order, and what the trace says of it."""

from typing import Any

import pytest

from ingress.intake.correlation import Correlation, correlate_event
from ingress.intake.correlation_config import parse_correlation_paths


def correlate(
    payload: Any, *, key: Any = None, tenant: dict[str, Any] | None = None, env: dict[str, Any] | None = None
) -> Correlation:
    return correlate_event(
        event_type="E", payload=payload, envelope_key=key, tenant_paths=tenant or {}, environment_paths=env or {}
    )


def test_the_envelopes_key_comes_first() -> None:
    found = correlate({"workflowCorrelationKey": "p", "correlationKey": "q", "id": "r"}, key="e", env={"E": ["id"]})
    assert (found.status, found.keys) == ("explicit", ["e"])


def test_then_the_payloads_own_fields() -> None:
    assert correlate({"workflowCorrelationKey": "p", "correlationKey": "q"}).keys == ["p"]
    assert correlate({"correlationKey": 7}).keys == ["7"]


def test_an_explicit_field_that_is_no_key_is_passed_over() -> None:
    found = correlate({"workflowCorrelationKey": {"a": 1}, "id": "r"}, env={"E": ["id"]})
    assert (found.status, found.keys) == ("derived", ["r"])
    assert "an object" in next(
        entry["note"] for entry in found.trace if entry["path"] == "payload.workflowCorrelationKey"
    )


def test_every_configured_path_is_considered_then_those_of_any_event() -> None:
    found = correlate(
        {"a": 1, "b": {"c": "x"}, "l": [{"k": "z"}], "same": 1.0},
        env={"E": ["a", "payload.b.c", "nothing", "same"], "*": ["l.0.k"]},
    )
    assert (found.status, found.key, found.keys) == ("derived", "1", ["1", "x", "z"])


def test_a_tenants_entry_replaces_the_environments_for_that_event_only() -> None:
    env = {"E": ["a"], "*": ["star"]}
    assert correlate({"a": 1, "b": 2, "star": 3}, tenant={"E": ["b"]}, env=env).keys == ["2", "3"]
    assert correlate({"a": 1, "star": 3, "other": 4}, tenant={"*": ["other"]}, env=env).keys == ["1", "4"]


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": ""}, {"id": []}, {"id": {"x": 1}}])
def test_a_missing_key_says_which_paths_gave_none(payload: dict[str, Any]) -> None:
    found = correlate(payload, env={"E": ["id"]})
    assert (found.status, found.keys, found.key) == ("missing", [], "")
    assert "id" in found.reason
    assert found.trace[-1]["path"] == "payload.id"


def test_without_any_configuration_the_reason_says_so() -> None:
    assert "no correlation path is configured for E" in correlate({"id": 1}).reason


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", {}),
        ("  ", {}),
        ('{"E": "a.b"}', {"E": ("a.b",)}),
        ('{"E": ["a", "payload.b"], "*": ["c"]}', {"E": ("a", "payload.b"), "*": ("c",)}),
    ],
)
def test_configuration_is_read(text: str, paths: dict[str, tuple[str, ...]]) -> None:
    assert parse_correlation_paths(text) == paths


@pytest.mark.parametrize(
    "text", ["[]", '{"E": []}', '{"E": ""}', '{"E": ["a", 1]}', '{"E": "a..b"}', '{"E": {"a": 1}}', "nonsense", "1"]
)
def test_broken_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_correlation_paths(text)
