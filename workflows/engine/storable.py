"""What PostgreSQL's JSON cannot hold is refused at the door, with a pointer (docs/reference/language.md#storage-of-definitions)."""

from typing import Any

MAX_DEPTH = 64
# Steps within steps: a definition may nest deeper than a payload.
MAX_DEFINITION_DEPTH = 250


def storable_problem(value: Any, *, max_depth: int = MAX_DEPTH) -> tuple[str, str] | None:
    """The pointer and a sentence about the first thing that cannot be stored: U+0000, a lone surrogate, too deep nesting."""
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
                    return pointer, f"a key {problem}"
                waiting.append((f"{pointer}/{key}", inner, depth + 1))
    return None


def _text_problem(text: str) -> str | None:
    if "\x00" in text:
        return "holds the character U+0000, which cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which cannot be stored"
    return None
