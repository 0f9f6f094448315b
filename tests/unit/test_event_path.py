"""The README's tables of the way of one event say what the code does."""

import re
from dataclasses import dataclass

import pytest
from django.urls import resolve

from tests.support.call_paths import ROOT, source_file

HEADING = "## The way of one event"
MAX_FILES = 15


@dataclass(frozen=True)
class Row:
    """One row: a file and its functions, the wire name that reaches them (or ""), and the function before (or "")."""

    file: str
    functions: tuple[str, ...]
    kind: str
    wire_name: str
    caller: str

    def __str__(self) -> str:
        return f"{self.file} {' '.join(self.functions)}"


def _tables() -> list[list[Row]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(HEADING)[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, re.M)
    return [[_row(line) for line in block.splitlines()[2:]] for block in blocks]


def _row(line: str) -> Row:
    _step, file, functions, reached = (cell.strip() for cell in line.strip().strip("|").split(" | "))
    names = re.findall(r"`([^`]+)`", reached)
    kind = reached.partition("`")[0].strip()
    wire_name = names.pop(0) if kind else ""
    return Row(file.strip("`"), tuple(re.findall(r"`([^`]+)`", functions)), kind, wire_name, names[0] if names else "")


TABLES = _tables()
ROWS = [row for table in TABLES for row in table]
FILES = {function: row.file for row in ROWS for function in row.functions}
CALLS = [row for row in ROWS if row.caller and not row.wire_name]


def test_the_tables_were_read() -> None:
    assert [len(table) for table in TABLES] == [15, 5, 4, 3, 3]
    assert all(row.functions and (row.caller or row.wire_name) for row in ROWS)


def test_an_event_passes_few_files() -> None:
    assert len({row.file for row in TABLES[0]}) <= MAX_FILES


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_function_is_in_its_file(row: Row) -> None:
    for function in row.functions:
        assert source_file(row.file).function(function) is not None, f"{row.file} has no {function}"


@pytest.mark.parametrize("row", CALLS, ids=str)
def test_each_function_is_called_by_the_one_that_the_table_names(row: Row) -> None:
    reached = source_file(FILES[row.caller]).reached_from(row.caller)
    assert any((row.file, function) in reached for function in row.functions), f"{row.caller} does not call {row}"


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.kind in ("Celery task", "signal", "activity", "workflow")], ids=str
)
def test_each_wire_name_leads_from_its_sender_to_its_receiver(row: Row) -> None:
    """A dynamic handler has no name in its decorator. It compares the name itself."""
    file = source_file(row.file)
    received = (file.wire_names_of(function) | file.wire_names_sent_by(function) for function in row.functions)
    assert any(row.wire_name in names for names in received)
    if row.caller:
        assert row.wire_name in source_file(FILES[row.caller]).wire_names_sent_by(row.caller)


def test_the_address_leads_to_the_first_function() -> None:
    first = TABLES[0][0]
    assert first.kind == "address"
    view = resolve(first.wire_name).func.view_class  # type: ignore[attr-defined]
    assert view.__name__ == first.functions[0].partition(".")[0]


def test_every_entry_point_calls_the_same_intake() -> None:
    intake = (FILES["events_receive"], "events_receive")
    for row in TABLES[-1]:
        reached = source_file(row.file).reached_from(row.functions[0])
        # An entry point may call the intake through a function of one more file.
        others = (source_file(file).reached_from(name) for file, name in reached if file and file != row.file)
        assert intake in reached or any(intake in other for other in others), row
        if row.kind == "command":
            command = f"ingress/management/commands/{row.wire_name}.py"
            reached = source_file(command).reached_from("Command.handle")
            assert (row.file, row.functions[0]) in reached


def test_a_wrong_caller_is_noticed() -> None:
    reached = source_file("ingress/tasks.py").reached_from("work_events")
    assert ("ingress/dispatch/work.py", "events_work") in reached
    assert ("ingress/dispatch/routing.py", "events_route_due") not in reached
    assert ("ingress/intake/receive.py", "events_receive") not in reached
