"""Events from a file: formats, mapping of columns, problems of single lines, and limits."""

import json
from typing import Any

import pytest

from ingress.files.reading import MAX_EVENTS, MAX_FILE_BYTES, EventFile, read_event_file
from workflows.errors import InputInvalid

GOOD = '{"event_type": "E", "event_id": "%s", "payload": {"n": %d}}'


def read(text: str | bytes, **options: str) -> EventFile:
    return read_event_file(text if isinstance(text, bytes) else text.encode(), **options)


def payloads(file: EventFile) -> list[Any]:
    return [line.envelope.payload if line.envelope else line.problem for line in file.lines]


@pytest.mark.parametrize(
    ("text", "kind", "numbers"),
    [
        (GOOD % ("a", 1) + "\n" + GOOD % ("b", 2), "JSON lines", [1, 2]),
        (GOOD % ("a", 1) + "\r\n\r\n" + GOOD % ("b", 2) + "\r\n", "JSON lines", [1, 3]),
        ("\ufeff" + GOOD % ("a", 1) + "\n" + GOOD % ("b", 2), "JSON lines", [1, 2]),
        (f"[{GOOD % ('a', 1)},\n{GOOD % ('b', 2)}]", "JSON array", [1, 2]),
        (f'{{"events": [{GOOD % ("a", 1)}, {GOOD % ("b", 2)}]}}', "JSON", [1, 2]),
        ("event_type,event_id,n:json\nE,a,1\nE,b,2\n", "CSV", [2, 3]),
        ("\ufeffevent_type;event_id;n\r\nE;a;1\r\n\r\nE;b;2\r\n", "CSV", [2, 4]),
    ],
)
def test_formats(text: str, kind: str, numbers: list[int]) -> None:
    mapping = "n = payload.n:json" if kind == "CSV" and ";" in text else ""
    mapping = mapping or ("n:json = payload.n:json" if kind == "CSV" else "")
    file = read(text, mapping=mapping)
    assert (file.kind, [line.number for line in file.lines]) == (kind, numbers)
    assert payloads(file) == [{"n": 1}, {"n": 2}]
    assert [line.envelope.event_id for line in file.lines if line.envelope] == ["a", "b"]


def test_one_object_in_several_lines_is_one_event() -> None:
    assert payloads(read(json.dumps({"event_type": "E", "payload": {"n": 1}}, indent=2))) == [{"n": 1}]


def test_columns_are_mapped() -> None:
    file = read(
        'Ticket,Type,Amount,Note,customer.name\n"T-1",E,10.50,"a ""quoted"",\nline",Ada\n',
        mapping="Ticket = payload.ticket.id\nType=event_type\nAmount = payload.amount:json\nNote = -",
    )
    assert payloads(file) == [{"ticket": {"id": "T-1"}, "amount": 10.5, "customer": {"name": "Ada"}}]
    assert file.columns[3:] == [("Note", "-"), ("customer.name", "payload.customer.name")]


def test_event_type_of_the_form_is_for_events_without_one() -> None:
    file = read('{"payload": {}}\n{"event_type": "OWN", "payload": {}}', event_type="FORM")
    assert [line.envelope.event_type for line in file.lines if line.envelope] == ["FORM", "OWN"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json}", "not valid JSON"),
        ("[1]", "an event must be a JSON object"),
        ('{"event_type": "E"}', "payload is missing"),
        ('{"event_type": "E", "payload": 5}', "payload must be a JSON object"),
        ('{"event_type": 5, "payload": {}}', "event_type must be text"),
        ('{"event_type": "E", "payload": {}, "eventId": "x"}', "eventId is not a known field"),
        ('{"event_type": "E", "payload": {"a": 1, "a": 2}}', "not valid JSON"),
        ('{"event_type": "E", "event_id": "a", "payload": {"n": 9}}', "event_id is that of line 1"),
        ('{"event_type": "E", "payload": {}, "occurred_at": "soon"}', "occurred_at must be an RFC 3339 time"),
    ],
)
def test_problem_of_one_line_leaves_the_others(line: str, problem: str) -> None:
    first, bad, last = read("\n".join([GOOD % ("a", 1), line, GOOD % ("b", 2)])).lines
    assert problem in bad.problem
    assert (bad.number, bad.envelope) == (2, None)
    assert first.envelope is not None
    assert last.envelope is not None


@pytest.mark.parametrize(
    ("row", "problem"),
    [("E,1", "has 2 cells"), ("E,x,{", "is not JSON"), ("E,x,1,2", "has 4 cells")],
)
def test_problem_of_one_row(row: str, problem: str) -> None:
    file = read(f"event_type,a,b\nE,1,2\n{row}\nE,3,4\n", mapping="b = payload.b:json")
    assert [bool(line.problem) for line in file.lines] == [False, True, False]
    assert problem in file.lines[1].problem


def test_column_below_a_text_is_a_problem() -> None:
    (line,) = read("event_type,a,a.b\nE,1,2\n").lines
    assert "leads through a value that is no object" in line.problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"x" * (MAX_FILE_BYTES + 1), "bytes. At most"),
        (b"[1, 2", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[]", "no event"),
        (b"event_type\n", "no event"),
        (b"a,a\n1,2\n", "a name twice"),
        (b'a,b\n"1,2\n', "not valid CSV"),
        (b"\n".join([b'{"event_type": "E", "payload": {}}'] * (MAX_EVENTS + 1)), "more than 10,000 events"),
    ],
)
def test_file_that_cannot_be_read(content: bytes, message: str) -> None:
    with pytest.raises(InputInvalid, match=message) as refused:
        read(content)
    assert refused.value.code == "EVENT_FILE_INVALID"


@pytest.mark.parametrize(
    ("mapping", "message"), [("Ticket", "column = target"), ("None = payload.a", "no such column")]
)
def test_mapping_that_cannot_be_read(mapping: str, message: str) -> None:
    with pytest.raises(InputInvalid, match=message):
        read("a,b\n1,2\n", mapping=mapping)


def test_ids_come_from_the_content_and_the_line() -> None:
    text = '{"event_type": "E", "payload": {}}\n' * 2
    ids = [[line.envelope.event_id for line in read(text).lines if line.envelope] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    assert ids[0] != [line.envelope.event_id for line in read(text + "\n").lines if line.envelope]
