"""Step ids and child references in the definitions of a bundle (docs/reference/language.md#bundles). Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from workflows.engine.definition import BLOCK_FIELDS, ROOT

# Maps a child of a bundle, as its parent names it, to the child's key and its version number after the import.
Numbers = Mapping[tuple[str, int], int]


def steps_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every step of an unchecked definition with its path, in the document's order."""
    yield from _block(document.get("steps"), ROOT)


def _block(steps: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict):
            place = f"{path}.steps[{index}]"
            yield place, step
            for name in BLOCK_FIELDS.get(str(step.get("type")), ()):
                yield from _block(step.get(name), f"{place}.{name}")


def duplicate_ids(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the steps whose id an earlier step already has, with their paths."""
    seen: set[str] = set()
    found = []
    for path, step in steps_of(document):
        if isinstance(step.get("id"), str):
            if step["id"] in seen:
                found.append((path, step))
            seen.add(step["id"])
    return found


def rename_duplicates(document: dict[str, Any]) -> list[dict[str, str]]:
    """Give each step an id of its own, in place. Return each renaming. The first step with an id keeps the id."""
    taken = {step["id"] for _, step in steps_of(document) if isinstance(step.get("id"), str)}
    renamed = []
    for path, step in duplicate_ids(document):
        number = 2
        while f"{step['id']}-{number}" in taken:
            number += 1
        new = f"{step['id']}-{number}"
        taken.add(new)
        renamed.append({"path": path, "from": step["id"], "to": new})
        step["id"] = new
    return renamed


def child_calls(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str, int]]:
    """Yield each call of a child: the path, the step, the name of the child and the version of the child."""
    for path, step in steps_of(document):
        name, version = step.get("workflowId"), step.get("workflowVersion")
        if step.get("type") == "control.callWorkflow" and isinstance(name, str) and isinstance(version, int):
            yield path, step, name, version
