"""Metadata of a workflow in a bundle, and the columns of the definition that store it. Pure functions.

Source: docs/reference/language.md#bundles
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.engine.run_keys import OnConflict, rule_problem
from workflows.statuses import SchemaMode

SEARCH_TYPES = ("text", "number", "money", "boolean", "date")
LONGEST_LABEL = 60
_CURRENCY = re.compile("[A-Z]{3}")


@dataclass(frozen=True)
class MetadataField:
    """Field of `metadata`.

    - `column`: the column of the definition. It is empty for `trigger`, which the definition itself contains.
    - `empty`: the value of the column if the bundle has null. A field without `empty` ignores a null.
    - `is_optional`: an export writes the field only if the definition has a value.
    """

    column: str
    kind: str
    empty: Any = ...
    is_optional: bool = False


FIELDS: dict[str, MetadataField] = {
    "name": MetadataField("name", "name", ""),
    "description": MetadataField("description", "text", ""),
    "payloadSchemaRef": MetadataField("payload_schema_ref", "name", ""),
    "payloadSchemaMode": MetadataField("payload_schema_mode", "schema mode"),
    "pinnedPayloadSchemaRef": MetadataField("pinned_payload_schema_ref", "name", ""),
    "trigger": MetadataField("", "object"),
    "isSystem": MetadataField("is_system", "flag"),
    "isVisible": MetadataField("is_visible", "flag"),
    "isPaused": MetadataField("is_paused", "flag"),
    "concurrencyLimit": MetadataField("concurrency_limit", "limit", None),
    "autoPauseOnFailure": MetadataField("auto_pause_on_failure", "flag"),
    "failureRateThreshold": MetadataField("failure_rate_threshold", "number", None),
    "failureRateMinRuns": MetadataField("failure_rate_min_runs", "limit", None),
    "retentionPolicyOverride": MetadataField("retention_policy_override", "object", None),
    "concurrency": MetadataField("concurrency", "concurrency", None, is_optional=True),
    "searchPaths": MetadataField("search_paths", "search paths", None, is_optional=True),
}


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_search_paths(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and _is_search_path(item) for item in value)


def _is_search_path(item: dict[str, Any]) -> bool:
    label, currency = item.get("label", "x"), item.get("currency")
    is_money = item.get("type") == "money"
    return (
        set(item) <= {"path", "type", "label", "currency"}
        and isinstance(item.get("path"), str)
        and bool(item["path"])
        and item.get("type") in SEARCH_TYPES
        and isinstance(label, str)
        and 0 < len(label.strip()) <= len(label) <= LONGEST_LABEL
        and (isinstance(currency, str) and bool(_CURRENCY.fullmatch(currency)) if is_money else "currency" not in item)
    )


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "flag": (lambda value: isinstance(value, bool), "must be true or false"),
    "limit": (lambda value: is_whole(value) and 0 < value < 2**31, "must be a whole number above 0, or null"),
    "number": (lambda value: is_whole(value) or isinstance(value, float), "must be a number, or null"),
    "object": (lambda value: isinstance(value, dict), "must be a JSON object, or null"),
    "schema mode": (lambda value: value in list(SchemaMode), f"must be one of {', '.join(SchemaMode)}"),
    "name": (lambda value: isinstance(value, str) and len(value) <= 200, "must be text of at most 200 characters"),
    "text": (lambda value: isinstance(value, str), "must be text"),
    "concurrency": (
        lambda value: rule_problem(value) is None,
        f"must be {{key, onConflict}}; the key is an expression, and onConflict is one of {', '.join(OnConflict)}",
    ),
    "search paths": (
        _are_search_paths,
        f"must be a list of {{path, type, label?, currency?}}; the type is one of {', '.join(SEARCH_TYPES)}; a label"
        f" has at most {LONGEST_LABEL} characters; only the type money has a currency, and needs one, such as EUR",
    ),
}


def metadata_columns(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns for valid metadata. A column whose field is absent is left out."""
    columns: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if field.column and name in metadata:
            if metadata[name] is not None:
                columns[field.column] = metadata[name]
            elif field.empty is not ...:
                columns[field.column] = field.empty
    return columns


def metadata_problems(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each invalid field with a description of the problem."""
    for name, field in FIELDS.items():
        is_valid, problem = KINDS[field.kind]
        if metadata.get(name) is not None and not is_valid(metadata[name]):
            yield name, problem
