"""Order of the search for correlation keys, and its trace."""

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


def test_envelope_key_is_used_first() -> None:
    found = correlate({"workflowCorrelationKey": "p", "correlationKey": "q", "id": "r"}, key="e", env={"E": ["id"]})
    assert (found.status, found.keys) == ("explicit", ["e"])


def test_key_fields_of_the_payload_are_used_next() -> None:
    assert correlate({"workflowCorrelationKey": "p", "correlationKey": "q"}).keys == ["p"]
    assert correlate({"correlationKey": 7}).keys == ["7"]


def test_explicit_field_without_a_usable_key_is_skipped() -> None:
    found = correlate({"workflowCorrelationKey": {"a": 1}, "id": "r"}, env={"E": ["id"]})
    assert (found.status, found.keys) == ("derived", ["r"])
    assert "an object" in next(
        entry["note"] for entry in found.trace if entry["path"] == "payload.workflowCorrelationKey"
    )


def test_all_configured_paths_are_used_then_those_of_any_event() -> None:
    found = correlate(
        {"a": 1, "b": {"c": "x"}, "l": [{"k": "z"}], "same": 1.0},
        env={"E": ["a", "payload.b.c", "nothing", "same"], "*": ["l.0.k"]},
    )
    assert (found.status, found.key, found.keys) == ("derived", "1", ["1", "x", "z"])


def test_tenant_entry_replaces_the_environment_entry_of_the_same_name_only() -> None:
    env = {"E": ["a"], "*": ["star"]}
    assert correlate({"a": 1, "b": 2, "star": 3}, tenant={"E": ["b"]}, env=env).keys == ["2", "3"]
    assert correlate({"a": 1, "star": 3, "other": 4}, tenant={"*": ["other"]}, env=env).keys == ["1", "4"]


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": ""}, {"id": []}, {"id": {"x": 1}}])
def test_reason_of_a_missing_key_names_the_paths(payload: dict[str, Any]) -> None:
    found = correlate(payload, env={"E": ["id"]})
    assert (found.status, found.keys, found.key) == ("missing", [], "")
    assert "id" in found.reason
    assert found.trace[-1]["path"] == "payload.id"


def test_reason_without_configured_paths() -> None:
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
def test_valid_configuration_is_parsed(text: str, paths: dict[str, tuple[str, ...]]) -> None:
    assert parse_correlation_paths(text) == paths


@pytest.mark.parametrize(
    "text", ["[]", '{"E": []}', '{"E": ""}', '{"E": ["a", 1]}', '{"E": "a..b"}', '{"E": {"a": 1}}', "nonsense", "1"]
)
def test_invalid_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_correlation_paths(text)
