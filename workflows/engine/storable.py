"""Check for values that PostgreSQL's JSON cannot store (docs/reference/language.md#storage-of-definitions)."""

from typing import Any

MAX_DEPTH = 64
# A definition may nest deeper than a payload, because steps contain steps.
MAX_DEFINITION_DEPTH = 250


def storable_problem(value: Any, *, max_depth: int = MAX_DEPTH) -> tuple[str, str] | None:
    """Return the pointer and a description of the first value that cannot be stored, or None if all can be stored.

    Not storable are U+0000, half of a surrogate pair, and nesting deeper than `max_depth`. The description is the
    second part of a sentence that begins with the name of the value.
    """
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        pointer, item, depth = waiting.pop()
        if isinstance(item, str):
            problem = _text_problem(item)
            if problem:
                return pointer, problem
        elif isinstance(item, dict | list):
            if depth >= max_depth:
                return pointer[:200], f"nests deeper than {max_depth} levels"
            entries = item.items() if isinstance(item, dict) else enumerate(item)
            for key, inner in entries:
                problem = _text_problem(key) if isinstance(key, str) else None
                if problem:
                    return pointer, f"has a key that {problem}"
                waiting.append((f"{pointer}/{key}", inner, depth + 1))
    return None


def _text_problem(text: str) -> str | None:
    if "\x00" in text:
        return "contains the character U+0000, which cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains half of a surrogate pair, which cannot be stored"
    return None
