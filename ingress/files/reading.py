"""Events from a file: JSON lines, a JSON array, or CSV with a header. Pure.

Each line becomes a value for the intake, or a problem. A problem of one line does not affect the other lines.

Source: docs/reference/events.md#events-from-a-file
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ingress.intake.envelope import FIELDS, Envelope, read_event_envelope
from workflows.errors import InputInvalid
from workflows.strict_json import read_json

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_EVENTS = 10_000
MAX_COLUMNS = 200
JSON_MARK = ":json"
IGNORED = "-"
_DELIMITERS = ",;\t|"
_TEXT_FIELDS = FIELDS - {"payload"}


@dataclass(frozen=True)
class FileLine:
    """One event of a file. `number` counts from 1: the line of the text, or the entry of a JSON array.

    Exactly one of `envelope` and `problem` is set.
    """

    number: int
    envelope: Envelope | None = None
    problem: str = ""


@dataclass(frozen=True)
class EventFile:
    """Content of a file. `kind` is "JSON lines", "JSON array", "JSON" or "CSV".

    `digest` identifies the file with its mapping. `columns` are the columns of a CSV file with their targets.
    """

    kind: str
    lines: list[FileLine]
    digest: str
    columns: list[tuple[str, str]]


def read_event_file(content: bytes, *, mapping: str = "", event_type: str = "") -> EventFile:
    """Read the events of a file.

    `mapping` has one line `column = target` for each column of a CSV file. A target is a field of the event, a path in
    the payload, or `-` to leave the column out. A target that ends in `:json` takes the cell as JSON. A column without
    an entry goes to the field or the payload path of its name. `event_type` applies to rows and objects without one.

    An event without an id gets an id from the content of the file and the number of its line. So a file that is sent
    twice is stored once.

    Errors: InputInvalid EVENT_FILE_INVALID for a file that cannot be read as a whole. The sender must act.
    """
    if not content.strip():
        raise _invalid("The file is empty. Choose a file with events.")
    if len(content) > MAX_FILE_BYTES:
        raise _invalid(f"The file has {len(content):,} bytes. At most {MAX_FILE_BYTES:,} are allowed. Split the file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(f"The file is not UTF-8 text (byte {error.start + 1}). Save the file as UTF-8.") from error
    targets = _read_mapping(mapping)
    digest = hashlib.sha256(b"\x00".join([content, mapping.encode(), event_type.encode()])).hexdigest()[:24]
    start = text.lstrip()[:1]
    columns: list[tuple[str, str]] = []
    if start == "[":
        kind, values = "JSON array", _array(text)
    elif start == "{":
        whole = _whole_object(text)
        kind, values = ("JSON lines", _json_lines(text)) if whole is None else ("JSON", _objects(whole))
    else:
        kind, (columns, values) = "CSV", _csv(text, targets)
    lines = [_line(number, value, digest, event_type) for number, value in _bounded(values)]
    if not lines:
        raise _invalid("The file has no event. A CSV file needs a header and at least one row.")
    return EventFile(kind, _with_repeats(lines), digest, columns)


def _invalid(message: str) -> InputInvalid:
    return InputInvalid(message, code="EVENT_FILE_INVALID")


def _bounded(values: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    for count, pair in enumerate(values, start=1):
        if count > MAX_EVENTS:
            raise _invalid(f"The file has more than {MAX_EVENTS:,} events. Split the file into several files.")
        yield pair


def _line(number: int, value: Any, digest: str, event_type: str) -> FileLine:
    if isinstance(value, str):  # a problem of the reader
        return FileLine(number, problem=value)
    if isinstance(value, dict) and event_type and "event_type" not in value:
        value = {"event_type": event_type, **value}
    try:
        envelope = read_event_envelope(value)
    except InputInvalid as error:
        problems = error.details["problems"]
        return FileLine(number, problem="; ".join(f"{p['path']} {p['message']}".strip() for p in problems)[:1000])
    event_id = envelope.event_id or f"file-{digest}-{number}"
    return FileLine(number, envelope=replace(envelope, event_id=event_id))


def _with_repeats(lines: list[FileLine]) -> list[FileLine]:
    """Return the lines. A line that has the event id of an earlier line and another body becomes a problem."""
    first: dict[str, FileLine] = {}
    checked = []
    for line in lines:
        if line.envelope is not None:
            earlier = first.setdefault(str(line.envelope.event_id), line)
            assert earlier.envelope is not None
            if earlier.envelope.body_hash() != line.envelope.body_hash():
                problem = f"event_id is that of line {earlier.number}, but the event is another one"
                line = FileLine(line.number, problem=problem)
        checked.append(line)
    return checked


# -- JSON ------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Any:
    """Parse a JSON text. Errors: ValueError with a sentence."""
    try:
        return read_json(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _array(text: str) -> Iterator[tuple[int, Any]]:
    try:
        values = _json(text)
    except ValueError as error:
        raise _invalid(f"The file begins like a JSON array, but it is not valid JSON: {error}.") from error
    return _objects(values)


def _objects(values: list[Any]) -> Iterator[tuple[int, Any]]:
    for number, value in enumerate(values, start=1):
        yield number, value if isinstance(value, dict) else "an event must be a JSON object"


def _whole_object(text: str) -> list[Any] | None:
    """Return the events of a file that is one JSON object: `{"events": [...]}`, or one event in several lines."""
    try:
        value = _json(text)
    except ValueError:
        return None
    events = value.get("events")
    return events if isinstance(events, list) and len(value) == 1 else [value]


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = _json(line)
        except ValueError as error:
            yield number, f"not valid JSON: {error}"
        else:
            yield number, value if isinstance(value, dict) else "an event must be a JSON object"


# -- CSV -------------------------------------------------------------------------------------------------------------


def _read_mapping(mapping: str) -> dict[str, str]:
    targets = {}
    for number, line in enumerate(mapping.splitlines(), start=1):
        if not line.strip():
            continue
        column, equals, target = (part.strip() for part in line.rpartition("="))
        if not equals or not column or not target:
            raise _invalid(
                f"Line {number} of the mapping must be `column = target`, for example `Ticket = payload.id`."
            )
        targets[column] = target
    return targets


def _csv(text: str, targets: dict[str, str]) -> tuple[list[tuple[str, str]], Iterator[tuple[int, Any]]]:
    head = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = [name.strip() for name in _row(reader) or []]
    if not any(header) or len(header) > MAX_COLUMNS:
        raise _invalid(f"The first line must be a header with 1 to {MAX_COLUMNS} names of columns.")
    if len(set(header)) != len(header):
        raise _invalid("The header has a name twice. Give each column its own name.")
    missing = [name for name in targets if name not in header]
    if missing:
        raise _invalid(f"The mapping names the column {missing[0]!r}, but the header has no such column.")
    columns = [(name, targets.get(name) or _default_target(name)) for name in header]
    return columns, _rows(reader, columns)


def _default_target(name: str) -> str:
    return name if name in _TEXT_FIELDS or name.startswith("payload.") else f"payload.{name}"


def _row(reader: Any) -> list[str] | None:
    try:
        row: list[str] | None = next(reader, None)
    except csv.Error as error:
        raise _invalid(f"Line {reader.line_num} is not valid CSV: {error}. Check the quotes.") from error
    return row


def _rows(reader: Any, columns: list[tuple[str, str]]) -> Iterator[tuple[int, Any]]:
    while True:
        number = reader.line_num + 1
        row = _row(reader)
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(columns):
            yield number, f"the row has {len(row)} cells, but the header has {len(columns)} columns"
            continue
        yield number, _object(row, columns)


def _object(row: list[str], columns: list[tuple[str, str]]) -> Any:
    """Return the event of a row, or a problem as text. An empty cell is left out."""
    value: dict[str, Any] = {"payload": {}}
    for cell, (name, target) in zip(row, columns, strict=True):
        if cell == "" or target == IGNORED:
            continue
        item: Any = cell
        if target.endswith(JSON_MARK):
            target = target.removesuffix(JSON_MARK)
            try:
                item = _json(cell)
            except ValueError:
                return f"the cell of the column {name!r} is not JSON"
        if target in _TEXT_FIELDS:
            value[target] = item
        elif not _put(value["payload"], target.removeprefix("payload."), item):
            return f"the column {name!r} leads through a value that is no object: {target}"
    return value


def _put(payload: dict[str, Any], path: str, item: Any) -> bool:
    node: Any = payload
    *way, last = path.split(".")
    for part in way:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return False
    node[last] = item
    return True
