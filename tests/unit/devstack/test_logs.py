"""No line that a program writes is lost on the way to the screen."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.devstack.logs import FollowedFile, LogFollower
from portal.devstack.output import Output

Follow = Callable[[Path], FollowedFile]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "web.log"


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Return a function that opens followed files. They are closed after the test."""
    with contextlib.ExitStack() as stack:

        def open_file(path: Path) -> FollowedFile:
            file = FollowedFile(path)
            stack.callback(file.finish, lambda line: None)
            return file

        yield open_file


def append(path: Path, text: str) -> None:
    with path.open("ab") as file:
        file.write(text.encode())


def rotate(path: Path, kept: int = 3) -> None:
    """Rotate the file as supervisord does."""
    for number in range(kept - 1, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            older.replace(f"{path}.{number + 1}")
    path.replace(f"{path}.1")


def test_new_lines_are_shown_when_they_are_complete(log: Path, follow: Follow) -> None:
    append(log, "from an earlier run\n")
    file, shown = follow(log), []
    append(log, "one\ntwo\r\nthr")
    file.read(shown.append)
    assert shown == ["one", "two"]
    append(log, "ee\n")
    file.read(shown.append)
    assert shown == ["one", "two", "three"]


def test_incomplete_last_line_is_shown_at_the_end(log: Path, follow: Follow) -> None:
    file, shown = follow(log), []
    append(log, "one\nhalf a line")
    file.finish(shown.append)
    assert shown == ["one", "half a line"]


def test_file_that_appears_later_is_shown_from_its_beginning(log: Path, follow: Follow) -> None:
    file, shown = follow(log), []
    file.read(shown.append)
    append(log, "one\n")
    file.read(shown.append)
    assert shown == ["one"]


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotations_between_two_reads_lose_no_line(log: Path, follow: Follow, rotations: int) -> None:
    append(log, "")
    file, shown, written = follow(log), [], []
    for number in range(rotations):
        append(log, f"{number} a\n{number} b\n")
        written += [f"{number} a", f"{number} b"]
        rotate(log)
    file.read(shown.append)  # after the renaming, before the new file exists
    append(log, "last\n")
    file.read(shown.append)
    assert shown == [*written, "last"]


def test_remaining_files_are_shown_after_too_many_rotations(log: Path, follow: Follow) -> None:
    append(log, "")
    file, shown = follow(log), []
    for number in range(5):
        append(log, f"{number}\n")
        rotate(log)
    append(log, "last\n")
    file.read(shown.append)
    # The first file is still open. The second was deleted by a rotation.
    assert shown == ["0", "2", "3", "4", "last"]


def test_line_across_a_rotation_stays_one_line(log: Path, follow: Follow) -> None:
    append(log, "")
    file, shown = follow(log), []
    append(log, "first ha")
    rotate(log)
    append(log, "lf\n")
    file.read(shown.append)
    assert shown == ["first half"]


def test_truncated_file_is_shown_from_its_beginning(log: Path, follow: Follow) -> None:
    append(log, "a long line\n")
    file, shown = follow(log), []
    log.write_text("new\n")
    file.read(shown.append)
    assert shown == ["new"]


def test_invalid_utf8_is_shown_with_replacement_characters(log: Path, follow: Follow) -> None:
    append(log, "")
    file, shown = follow(log), []
    with log.open("ab") as raw:
        raw.write(b"\xff\xfe ok\n")
    file.read(shown.append)
    assert shown[0].endswith(" ok")


def test_follower_shows_names_and_all_lines(tmp_path: Path) -> None:
    screen = io.StringIO()
    files = {"web": tmp_path / "web.log", "worker": tmp_path / "worker.log"}
    follower = LogFollower(files, Output(screen, list(files)))
    follower.start()
    for number in range(200):
        append(files["web"], f"line {number}\n")
    append(files["worker"], "unfinished")
    follower.finish()
    lines = screen.getvalue().splitlines()
    assert [line for line in lines if line.startswith("web ")] == [f"web      | line {number}" for number in range(200)]
    assert "worker   | unfinished" in lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_terminals_get_colours() -> None:
    plain, coloured = io.StringIO(), Terminal()
    Output(plain, ["web"]).line("web", "hello")
    Output(coloured, ["web"]).line("web", "hello")
    assert plain.getvalue() == "web      | hello\n"
    assert "\033[" in coloured.getvalue()
    assert coloured.getvalue().endswith(" hello\n")


def test_closed_stream_is_noticed() -> None:
    closed = io.StringIO()
    output = Output(closed, [])
    closed.close()
    output.say("hello")
    assert output.broken
