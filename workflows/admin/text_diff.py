"""Differences of two texts, for the pages that show them."""

import difflib


def changed_lines(before: str, after: str) -> list[dict[str, str]]:
    """Return the lines of a unified diff. `kind` is added, removed or same."""
    kinds = {"+": "added", "-": "removed", " ": "same"}
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=3, lineterm="")
    return [{"kind": kinds[line[0]], "text": line} for line in list(lines)[2:] if line[0] in kinds]
