"""Model and layout of the graph of a definition (docs/reference/screens.md#graph).

The golden files hold the picture of each document, one element per line. `make golden-graphs` writes them again after
an intended change of the layout; the difference in the files shows what moved.
"""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.graph_documents import MADE, WITHOUT_GOLDEN, attempt, documents, loop, work
from workflows.engine.definition import BLOCK_FIELDS
from workflows.graph.drawing import Badge, Mark, Overlay, Way, draw
from workflows.graph.layout import Box, Picture, lay_out
from workflows.graph.model import MAX_NODES, read_graph
from workflows.graph.wording import text_width, wrapped

GOLDEN = Path(__file__).parent / "golden"
DOCUMENTS = dict(documents())


def as_lines(picture: Picture) -> list[str]:
    """Return a picture as lines of JSON, so that a change is easy to read in a diff."""
    ends = {"size": [picture.width, picture.height], "start": vars(picture.start)}
    found: list[Any] = [{**ends, "end": picture.end and vars(picture.end)}]
    for kind, boxes in (("frame", picture.frames), ("node", picture.nodes)):
        for box in boxes:
            node, place = box.node, [box.x, box.y, box.width, box.height]
            found.append({kind: node.path, "type": node.kind, "name": node.name, "about": node.about, "at": place})
    found += [{"line": line.path, **{k: v for k, v in vars(line).items() if v and k != "points"}}
              for line in picture.lines]  # fmt: skip
    found += [vars(label) for label in picture.labels]
    return [json.dumps(item, ensure_ascii=True) for item in found]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.removeprefix("made-") not in WITHOUT_GOLDEN])
def test_picture_equals_golden_file(name: str) -> None:
    path, lines = GOLDEN / f"{name}.jsonl", as_lines(lay_out(read_graph(DOCUMENTS[name])))
    if os.environ.get("WRITE_GOLDEN_GRAPHS"):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == path.read_text(encoding="utf-8").splitlines()


def test_each_golden_file_belongs_to_a_document() -> None:
    assert len(DOCUMENTS) >= 30
    assert {path.stem for path in GOLDEN.glob("*.jsonl")} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_box_leaves_the_picture_or_covers_another(name: str) -> None:
    picture = lay_out(read_graph(DOCUMENTS[name]))
    assert picture.nodes, "a picture is never empty"
    for box in picture.boxes.values():
        assert box.x >= 0
        assert box.x + box.width <= picture.width
        assert box.y >= 0
        assert box.bottom <= picture.height
    rows = sorted(picture.nodes, key=lambda box: box.y)
    for one, two in itertools.combinations(rows[:300], 2):
        assert not covers(one, two), (one.node.path, two.node.path)
    for frame in picture.frames:
        for box in picture.boxes.values():
            is_inside = box.node.path.startswith(f"{frame.node.path}.")
            assert is_inside == contains(frame, box) or box is frame, (frame.node.path, box.node.path)


def covers(one: Box, two: Box) -> bool:
    is_beside = one.x + one.width <= two.x or two.x + two.width <= one.x
    return not (is_beside or one.bottom <= two.y or two.bottom <= one.y)


def contains(outer: Box, inner: Box) -> bool:
    return (
        outer.x <= inner.x and inner.x + inner.width <= outer.x + outer.width
        and outer.y <= inner.y and inner.bottom <= outer.bottom
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not name.startswith("made-")])
def test_every_step_of_a_valid_definition_is_one_node(name: str) -> None:
    document = DOCUMENTS[name]
    picture = lay_out(read_graph(document))
    paths = [box.node.path for box in (*picture.frames, *picture.nodes) if box.node.is_step]
    assert sorted(paths) == sorted(step_paths(document["steps"], "root"))


def step_paths(steps: list[Any], block: str) -> Iterator[str]:
    for index, step in enumerate(steps):
        path = f"{block}.steps[{index}]"
        yield path
        for field in BLOCK_FIELDS.get(step["type"], ()):
            yield from step_paths(step.get(field) or [], f"{path}.{field}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty", "No steps yet."),
        ("no-steps-field", "No steps yet."),
        ("not-json", "not JSON yet: no graph"),
        ("not-an-object", "not a JSON object: no graph"),
        ("steps-not-a-list", "This must be a list of steps."),
        ("steps-of-wrong-types", "unknown type teleport.now"),
        ("too-deep", "1 step inside, not drawn"),
        ("too-many", "10 steps not drawn"),
    ],
)
def test_what_cannot_be_drawn_has_a_text(name: str, text: str) -> None:
    shown = [(step.box.node.name, step.mark.note) for step in draw(read_graph(MADE[name])).steps]
    assert any(text in texts for texts in shown), shown
    assert len(shown) <= MAX_NODES + 1


def test_a_long_name_has_more_lines_and_is_whole_in_the_label() -> None:
    drawing = draw(read_graph(MADE["hostile-names"]))
    short, _, long, wide = drawing.steps[:4]
    assert (len(short.names), short.box.height) == (1, 44)
    for step in (long, wide):
        assert (len(step.names), step.box.height, step.names[2][-1]) == (3, 76, "…")
    assert (long.names[0], len(wide.names[0])) == ("A name of two hundred", 12)
    assert MADE["hostile-names"]["steps"][2]["name"].strip() in long.label


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Capture", ["Capture"]),
        ("Wait for the confirmation of the bank", ["Wait for the confirmation", "of the bank"]),
        ("capture-payment-at-the-bank", ["capture-payment-at-the-", "bank"]),
        ("x" * 30, ["x" * 22, "x" * 8]),
        ("W" * 40, ["W" * 12, "W" * 12, "W" * 11 + "…"]),
        ("Wait for the confirmation of the bank and of the customer",
         ["Wait for the confirmation", "of the bank and of the", "customer"]),
        (" " * 90, None),
    ],
)  # fmt: skip
def test_a_name_breaks_after_a_word(name: str, lines: list[str] | None) -> None:
    found = wrapped(name, 162, 13, most=3)
    assert all(text_width(line, 13) <= 162 for line in found)
    assert lines is None or list(found) == lines


def test_marks_give_texts_badges_and_room() -> None:
    marks = {
        "root.steps[0]": Mark("taken", "ok", "green", "0.7 s", "taken", "?step=a"),
        "root.steps[1]": Mark("failed", "failed", "red", "404", "failed", beside=Badge("ended here", "red")),
        "root.steps[2]": Mark(note="p95 8 s", badges=(Badge("41 failed", "red", "/x"), Badge("5 open", "blue", "/y"))),
        "root.steps[3]": Mark(note="p95 8 s", badges=(Badge("5 open", "blue", "/y"),)),
    }
    marks |= {"root.steps[4]": marks["root.steps[2]"], "root.steps[5]": marks["root.steps[3]"]}
    long = [work(str(number), name="Wait for the confirmation of the bank") for number in (4, 5)]
    steps = draw(read_graph({"steps": [*(work(str(number)) for number in range(4)), *long]}), Overlay(marks)).steps
    first, second, third, fourth, *others = steps
    assert first.label == "0, 0.7 s, taken"
    assert [(badge.badge.text, badge.x > second.box.x + second.box.width) for badge in second.badges] == [
        ("ended here", True)
    ]
    assert [step.box.height for step in (third, fourth, *others)] == [64, 44, 80, 60]
    for step in (third, fourth, *others):
        assert step.box.y < step.lines[0][0] < step.lines[-1][0] + 1 < step.note_y < step.box.bottom
        for badge in step.badges:
            assert step.box.x < badge.x
            assert badge.x + badge.width < step.box.x + step.box.width
            assert step.box.y < badge.y
            assert badge.y + 17 < step.box.bottom


def test_a_badge_of_a_frame_covers_no_step_of_it() -> None:
    mark = Mark(note="5 runs", badges=(Badge("1 open", "blue", "/x"),))
    document = {"steps": [loop("each", attempt("try", [work()], [work("saved")]))]}
    outer, inner = draw(read_graph(document), Overlay({"root.steps[0]": mark})).frames
    (badge,) = outer.badges
    assert inner.box.bottom < badge.y
    assert badge.y + 17 < outer.box.bottom


def test_the_way_of_a_run_marks_the_lines_that_it_used() -> None:
    document = MADE["unequal-sides"]
    entered = frozenset({"root", "root.steps[0].else", "root.steps[1].else"})
    left = frozenset({"root.steps[0]", "root.steps[0].else.steps[0]", "root.steps[1]"})
    drawing = draw(read_graph(document), Overlay(sides={"root.steps[0].else": "taken"}, way=Way(entered, left)))
    used = {(line.line.enters, line.line.leaves) for line in drawing.lines if line.css == "on"}
    assert used == {
        ("root", ""), ("root.steps[0].else", ""), ("root.steps[0].else", "root.steps[0].else.steps[0]"),
        ("", "root.steps[0]"), ("root.steps[1].else", ""), ("", "root.steps[1]"),
    }  # fmt: skip
    assert [(label.text, label.css) for label in drawing.labels][:2] == [("then", ""), ("else, taken", "on")]
