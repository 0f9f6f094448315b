"""Where an event's correlation key stands in its payload, as an operator writes it down (docs/reference/events.md#correlation)."""

import json
from typing import Any

ANY_EVENT = "*"
Paths = dict[str, tuple[str, ...]]


def parse_correlation_paths(text: str) -> Paths:
    """`{"EVENT": "path" or ["path", ...], "*": [...]}`; the empty text means none.

    Errors: ValueError (json.JSONDecodeError among them) with a sentence for whoever set it.
    """
    if not text.strip():
        return {}
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError('must be a JSON object {"EVENT": "path" or ["path", ...]}')
    return {event: parse_paths(paths, of=event) for event, paths in document.items()}


def parse_paths(value: Any, *, of: str) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not paths:
        raise ValueError(f"the entry {of!r} must be a dotted path or a list of them that is not empty")
    for path in paths:
        if not isinstance(path, str) or not all(part.strip() for part in path.split(".")):
            raise ValueError(
                f"the entry {of!r} holds {path!r}, which is no dotted path such as 'ticketId' or 'ticket.id'"
            )
    return tuple(paths)
