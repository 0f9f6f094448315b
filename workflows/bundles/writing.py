"""Workflows of an exported bundle, and the parts of an imported one that the definition does not store. Pure.

Rule: the export of an imported native bundle has the text of the imported bundle, except `exportedAt`. Two bundles can
mean the same and differ in their text: an absent field and a null, or a declared dependency that no step uses. So an
import stores these differences. An export applies a difference if the definition still has the value that it had after
the import.

Source: docs/reference/language.md#bundles
"""

from collections.abc import Iterator, Mapping
from typing import Any

from workflows.bundles.dependencies import dependencies_of
from workflows.bundles.metadata import FIELDS
from workflows.bundles.reading import FORMAT, FORMAT_VERSION
from workflows.engine.definition import canonical_text, definition_hash

Path = tuple[str | int, ...]
_ABSENT: Any = object()
_VERSIONS = "publishedVersions"
# Objects of a workflow whose keys are compared one by one. Any other value is compared as a whole.
_COMPARED_BY_KEY: tuple[Path, ...] = ((), ("metadata",), ("draft",))


def bundle_text(workflows: list[dict[str, Any]], *, exported_at: str) -> str:
    """Return the canonical text of a bundle. `exported_at` is a time in ISO 8601."""
    return canonical_text(
        {"exportedAt": exported_at, "format": FORMAT, "formatVersion": FORMAT_VERSION, "workflows": workflows}
    )


def workflow_document(
    *,
    key: str,
    columns: Mapping[str, Any],
    draft: dict[str, Any] | None,
    draft_version: int,
    versions: Mapping[int, tuple[dict[str, Any], Any]],
    scenarios: list[Any],
) -> dict[str, Any]:
    """Return a workflow of a bundle. `versions` has the definition and the pinned schema of each version."""
    newest = draft or (versions[max(versions)][0] if versions else {})
    documents = [document for document, _ in versions.values()] + ([draft] if draft else [])
    metadata = {
        name: columns[field.column] if field.column else newest.get("trigger")
        for name, field in FIELDS.items()
        if not field.is_optional or columns[field.column] is not None
    }
    metadata["payloadSchemaRef"] = metadata["payloadSchemaRef"] or newest.get("payloadSchemaRef")
    for name in ("description", "pinnedPayloadSchemaRef"):
        metadata[name] = metadata[name] or None
    return {
        "key": key,
        "metadata": metadata,
        "dependencies": dependencies_of(documents).as_bundle(),
        "draft": {"draftVersion": draft_version, "definition": draft} if draft else None,
        "publishedVersions": [
            {"version": number, "definition": document, "payloadSchemaJson": schema}
            for number, (document, schema) in sorted(versions.items())
        ],
        "scenarios": scenarios,
    }


# -- Differences between an export and the imported text ---------------------------------------------------------------


def differences(exported: dict[str, Any], written: dict[str, Any]) -> list[dict[str, Any]]:
    """Return where the text of an imported workflow differs from its export.

    Shapes: `{path, exported, written?}`. `exported` is a hash of the value that the export would have. If the imported
    text does not have the key, `written` is absent.
    """
    return [
        {"path": list(path), "exported": _hash(own), **({} if given is _ABSENT else {"written": given})}
        for path, own, given in _different(exported, written, ())
    ]


def _different(own: Any, given: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if path[-1:] == ("definition",):
        return  # definitions are exported as they are stored
    if isinstance(own, dict) and isinstance(given, dict) and (path in _COMPARED_BY_KEY or path[:1] == (_VERSIONS,)):
        for key in sorted(own.keys() | given.keys()):
            yield from _different(own.get(key, _ABSENT), given.get(key, _ABSENT), (*path, key))
    elif path == (_VERSIONS,) and isinstance(own, list) and isinstance(given, list):
        for index, pair in enumerate(zip(own, given, strict=False)):
            yield from _different(*pair, (*path, index))
    elif _hash(own) != _hash(given):
        yield path, own, given


def restored(exported: dict[str, Any], stored: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the exported workflow with the texts of the imported one, where the definition has not changed since.

    `exported` is changed in place.
    """
    for item in stored:
        *way, last = item["path"]
        place: Any = exported
        for step in way:
            place = _entry(place, step)
        if not isinstance(place, dict) or _hash(_entry(place, last)) != item["exported"]:
            continue
        if "written" in item:
            place[last] = item["written"]
        else:
            place.pop(last, None)
    return exported


def _entry(place: Any, step: str | int) -> Any:
    if isinstance(place, dict):
        return place.get(step, _ABSENT)
    return place[step] if isinstance(place, list) and isinstance(step, int) and step < len(place) else _ABSENT


def _hash(value: Any) -> str:
    return "" if value is _ABSENT else definition_hash(canonical_text({"value": value}))
