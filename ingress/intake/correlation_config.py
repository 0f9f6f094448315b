"""Configuration of correlation paths: the places of correlation keys in payloads.

Source: docs/reference/events.md#correlation
"""

from typing import Any

from workflows.strict_json import read_json

ANY_EVENT = "*"
Paths = dict[str, tuple[str, ...]]


def parse_correlation_paths(text: str) -> Paths:
    """Parse `{"EVENT": "path" or ["path", ...], "*": [...]}`. Empty text means no paths.

    Errors: ValueError or its subclass json.JSONDecodeError. The message is for the operator who wrote the
    configuration.
    """
    if not text.strip():
        return {}
    document = read_json(text)
    if not isinstance(document, dict):
        raise ValueError('must be a JSON object {"EVENT": "path" or ["path", ...]}')
    return {event: parse_paths(paths, of=event) for event, paths in document.items()}


def parse_paths(value: Any, *, of: str) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not paths:
        raise ValueError(f"the entry {of!r} must be a dotted path, or a list of dotted paths that is not empty")
    for path in paths:
        if not isinstance(path, str) or not all(part.strip() for part in path.split(".")):
            raise ValueError(f"the entry {of!r} contains {path!r}, but a path must look like 'ticketId' or 'ticket.id'")
    return tuple(paths)
