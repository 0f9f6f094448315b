"""Readable form of the context of a task: short values as facts, lists as tables, nested data as definition lists.

The value is redacted before. Large data is cut, and the page offers the whole value as JSON.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.admin.task_words import words_of
from workflows.json_numbers import write_json

LONG_TEXT = 160
MOST_COLUMNS, MOST_ROWS, MAX_DEPTH = 8, 50, 5


@dataclass
class Shown:
    """Value for the template. `kind` is text, long, list, table, facts or json.

    `rows` are the rows of a table, `items` the entries of a list, `facts` the pairs of a definition list. `more` is the
    number of entries that are left out.
    """

    kind: str
    text: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list["Shown"]] = field(default_factory=list)
    items: list["Shown"] = field(default_factory=list)
    facts: list[tuple[str, "Shown"]] = field(default_factory=list)
    more: int = 0

    @property
    def is_short(self) -> bool:
        return self.kind == "text"


def shown_value(value: Any, depth: int = 0) -> Shown:
    """Return the readable form of a JSON value."""
    if isinstance(value, dict) and value:
        return _facts(value, depth) if depth < MAX_DEPTH else Shown("json", write_json(value, ensure_ascii=False))
    if isinstance(value, list) and value:
        if depth >= MAX_DEPTH:
            return Shown("json", write_json(value, ensure_ascii=False))
        return _table(value, depth) or Shown(
            "list", items=[shown_value(item, depth + 1) for item in value[:MOST_ROWS]], more=_more(value)
        )
    text = _text(value)
    return Shown("long" if len(text) > LONG_TEXT or "\n" in text else "text", text)


def _facts(value: dict[str, Any], depth: int) -> Shown:
    pairs = [(words_of(key), shown_value(item, depth + 1)) for key, item in list(value.items())[:MOST_ROWS]]
    return Shown("facts", facts=pairs, more=max(0, len(value) - MOST_ROWS))


def _table(value: list[Any], depth: int) -> Shown | None:
    """Return a table of a list of objects with few keys and single values. Return None for other lists."""
    if not all(isinstance(item, dict) for item in value):
        return None
    columns = list(dict.fromkeys(key for item in value for key in item))
    if not columns or len(columns) > MOST_COLUMNS:
        return None
    rows = [[shown_value(item.get(key, ""), depth + 1) for key in columns] for item in value[:MOST_ROWS]]
    return Shown("table", columns=[words_of(key) for key in columns], rows=rows, more=_more(value))


def _more(value: list[Any]) -> int:
    return max(0, len(value) - MOST_ROWS)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ({}, []):
        return "none"
    return write_json(value)
