"""Nothing that a program writes is lost on the way to the screen."""

import io
from pathlib import Path

import pytest

from portal.devstack.logs import FollowedFile, LogFollower
from portal.devstack.output import Output


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "web.log"


def append(path: Path, text: str) -> None:
    with path.open("ab") as file:
        file.write(text.encode())


def rotate(path: Path, kept: int = 3) -> None:
    """As supervisord does it."""
    for number in range(kept - 1, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            older.replace(f"{path}.{number + 1}")
    path.replace(f"{path}.1")


def test_only_what_is_added_is_shown_line_by_line(log: Path) -> None:
    append(log, "from an earlier run\n")
    file, shown = FollowedFile(log), []
    append(log, "one\ntwo\r\nthr")
    file.read(shown.append)
    assert shown == ["one", "two"]
    append(log, "ee\n")
    file.read(shown.append)
    assert shown == ["one", "two", "three"]


def test_the_end_of_a_line_that_never_came_is_shown_at_the_end(log: Path) -> None:
    file, shown = FollowedFile(log), []
    append(log, "one\nhalf a line")
    file.finish(shown.append)
    assert shown == ["one", "half a line"]


def test_a_file_that_appears_later_is_shown_from_its_beginning(log: Path) -> None:
    file, shown = FollowedFile(log), []
    file.read(shown.append)
    append(log, "one\n")
    file.read(shown.append)
    assert shown == ["one"]


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotations_between_two_looks_lose_nothing(log: Path, rotations: int) -> None:
    append(log, "")
    file, shown, written = FollowedFile(log), [], []
    for number in range(rotations):
        append(log, f"{number} a\n{number} b\n")
        written += [f"{number} a", f"{number} b"]
        rotate(log)
    file.read(shown.append)  # between the renaming and the new file
    append(log, "last\n")
    file.read(shown.append)
    assert shown == [*written, "last"]


def test_after_too_many_rotations_what_is_left_is_shown(log: Path) -> None:
    append(log, "")
    file, shown = FollowedFile(log), []
    for number in range(5):
        append(log, f"{number}\n")
        rotate(log)
    append(log, "last\n")
    file.read(shown.append)
    # Our own file is still open; number 1 is gone for ever.
    assert shown == ["0", "2", "3", "4", "last"]


def test_a_line_across_a_rotation_stays_one(log: Path) -> None:
    append(log, "")
    file, shown = FollowedFile(log), []
    append(log, "first ha")
    rotate(log)
    append(log, "lf\n")
    file.read(shown.append)
    assert shown == ["first half"]


def test_an_emptied_file_is_shown_from_its_beginning(log: Path) -> None:
    append(log, "a long line\n")
    file, shown = FollowedFile(log), []
    log.write_text("new\n")
    file.read(shown.append)
    assert shown == ["new"]


def test_bytes_that_are_no_text_do_no_harm(log: Path) -> None:
    append(log, "")
    file, shown = FollowedFile(log), []
    with log.open("ab") as raw:
        raw.write(b"\xff\xfe ok\n")
    file.read(shown.append)
    assert shown[0].endswith(" ok")


def test_the_follower_shows_names_and_all_lines(tmp_path: Path) -> None:
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


def test_colours_are_for_terminals_only() -> None:
    plain, coloured = io.StringIO(), Terminal()
    Output(plain, ["web"]).line("web", "hello")
    Output(coloured, ["web"]).line("web", "hello")
    assert plain.getvalue() == "web      | hello\n"
    assert "\033[" in coloured.getvalue()
    assert coloured.getvalue().endswith(" hello\n")


def test_a_reader_that_has_gone_is_noticed() -> None:
    closed = io.StringIO()
    output = Output(closed, [])
    closed.close()
    output.say("anybody?")
    assert output.broken
