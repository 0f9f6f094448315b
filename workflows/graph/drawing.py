"""Picture of a graph with texts and states, ready for the template `portal/_graph.html`.

The caller says with marks what a step shows. Without a mark, a step shows what it does.

Units: pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workflows.graph.layout import NODE_HEIGHT, NODE_WIDTH, Box, Label, Line, Pill, Room, lay_out
from workflows.graph.model import LOOP, NOTE, UNKNOWN, Graph, Node
from workflows.graph.wording import fitted, text_width, wrapped

NAME_FONT, NOTE_FONT, BADGE_FONT, LABEL_FONT = 13, 11.5, 11, 11
TEXT_LEFT, TEXT_RIGHT, BADGE_HEIGHT, BADGE_ROW, NAME_ROW = 36, 8, 17, 20, 16
# Height below the blocks of a frame for its badges or its foot.
FRAME_ROW = 24
# Lines of the name of a step. Longer names end with an ellipsis.
MOST_NAME_LINES = 3
ICONS = {
    "control.if": "if", "control.forEach": "loop", "control.tryCatch": "inc", "control.callWorkflow": "child",
    "control.return": "target", "state.set": "set", "transform.assign": "set", "event.wait": "event",
    "time.wait": "clock", "human.task": "task", "action.call": "act", UNKNOWN: "warn", NOTE: "more",
}  # fmt: skip


@dataclass(frozen=True)
class Badge:
    """Short text in a colour. With `href` it is a link of its own."""

    text: str
    tone: str
    href: str = ""


@dataclass(frozen=True)
class Mark:
    """Texts and state that a step shows.

    - `css`: classes of `graph.css`; `icon`, `tone`: as in `status_marks`, an empty icon is the icon of the step type
    - `note`: second line of a step, or the text on the right of a frame's head
    - `words`: state for screen readers; `href`: the link of the step
    - `beside`: badge on the right of the step; `badges`: badges in the step; `foot`: last line of a frame
    """

    css: str = ""
    icon: str = ""
    tone: str = "grey"
    note: str = ""
    words: str = ""
    href: str = ""
    beside: Badge | None = None
    badges: tuple[Badge, ...] = ()
    foot: str = ""


@dataclass(frozen=True)
class Way:
    """Way of a run through the graph: block paths that it entered, and step paths after which it went on."""

    entered: frozenset[str]
    left: frozenset[str]

    def uses(self, line: Line) -> bool:
        is_entered = not line.enters or line.enters in self.entered
        return is_entered and (not line.leaves or line.leaves in self.left)


@dataclass(frozen=True)
class ShownBadge:
    x: int
    y: int
    width: int
    badge: Badge

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def text_y(self) -> int:
        return self.y + 12


@dataclass(frozen=True)
class ShownStep:
    """Step with its texts. `names`: its name in lines. `label`: the whole text for screen readers and for the hover."""

    box: Box
    mark: Mark
    icon: str
    names: tuple[str, ...]
    note: str
    label: str
    badges: tuple[ShownBadge, ...]

    @property
    def frame_css(self) -> str:
        return "fr" if self.box.node.kind == LOOP else "fr2"

    @property
    def icon_x(self) -> int:
        return self.box.x + (10 if self.box.node.is_frame else 11)

    @property
    def icon_y(self) -> int:
        return self.box.y + (9 if self.box.node.is_frame else 15)

    @property
    def text_x(self) -> int:
        return self.box.x + (32 if self.box.node.is_frame else TEXT_LEFT)

    @property
    def note_x(self) -> int:
        return self.box.x + self.box.width - 12

    @property
    def lines(self) -> list[tuple[int, str]]:
        """Return the lines of the name, each with its place."""
        first = self.box.y + (21 if self.box.node.is_frame else 19 if self.note else 27)
        return [(first + number * NAME_ROW, name) for number, name in enumerate(self.names)]

    @property
    def note_y(self) -> int:
        return self.lines[-1][0] + (0 if self.box.node.is_frame else 17)

    @property
    def foot_y(self) -> int:
        return self.box.bottom - 11


@dataclass(frozen=True)
class ShownLine:
    line: Line
    css: str


@dataclass(frozen=True)
class ShownLabel:
    label: Label
    css: str
    text: str


@dataclass(frozen=True)
class Drawing:
    """Everything that the template draws, from the back to the front."""

    width: int
    height: int
    start: Pill
    end: Pill | None
    frames: list[ShownStep]
    lines: list[ShownLine]
    labels: list[ShownLabel]
    steps: list[ShownStep]


@dataclass(frozen=True)
class Overlay:
    """Data that the graph shows besides the definition.

    `marks` is by step path. `sides` has a text for each side, by block path, for example "taken" or "42 %". `way` is
    the way of one run, or None if the graph shows no run.
    """

    marks: Mapping[str, Mark] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)
    way: Way | None = None


def draw(graph: Graph, overlay: Overlay | None = None) -> Drawing:
    """Return the drawing of a graph. Cost: linear."""
    overlay = overlay or Overlay()
    rooms = {path: room for path, mark in overlay.marks.items() if (room := _room(mark))}
    for node in graph.all_nodes():
        if node.is_frame:
            if node.path in rooms or _mark(node, overlay).badges:
                rooms[node.path] = Room(height=FRAME_ROW)
        elif rows := _name_rows(node):
            room = rooms.get(node.path, Room())
            rooms[node.path] = Room(room.width, room.height + rows)
    picture = lay_out(graph, rooms)
    lines = [ShownLine(line, _line_css(line, overlay.way)) for line in picture.lines]
    return Drawing(
        picture.width,
        picture.height,
        picture.start,
        picture.end,
        [_frame(box, _mark(box.node, overlay)) for box in picture.frames],
        sorted(lines, key=lambda line: line.css == "on"),  # a used line covers an unused one
        [_label(label, overlay) for label in picture.labels],
        [_step(box, _mark(box.node, overlay)) for box in picture.nodes],
    )


def _mark(node: Node, overlay: Overlay) -> Mark:
    mark = overlay.marks.get(node.path)
    if mark is not None:
        return mark
    if node.kind == UNKNOWN:
        return Mark(css="warm", tone="orange", note=node.about)
    return Mark(css="off" if node.kind == NOTE else "", note=node.about)


def _room(mark: Mark) -> Room | None:
    """Return the extra room that the badges and the foot of a step need."""
    width = 0 if mark.beside is None else _badge_width(mark.beside) + 12
    note = text_width(mark.note, NOTE_FONT)
    is_tight = len(mark.badges) > 1 or (mark.badges and note + _badge_width(mark.badges[0]) > 158)
    height = BADGE_ROW if is_tight or mark.foot else 0
    return Room(width, height) if width or height else None


def _names(node: Node) -> tuple[str, ...]:
    """Return the lines of the name of a step. A frame has one line, which depends on its width."""
    return wrapped(node.name, NODE_WIDTH - TEXT_LEFT - TEXT_RIGHT, NAME_FONT, most=MOST_NAME_LINES)


def _name_rows(node: Node) -> int:
    """Return the extra height that the name of a step needs."""
    return 0 if node.is_frame else (len(_names(node)) - 1) * NAME_ROW


def _badge_width(badge: Badge) -> int:
    return text_width(badge.text, BADGE_FONT) + 18


def _line_css(line: Line, way: Way | None) -> str:
    is_used = way is not None and way.uses(line)
    if line.is_error:
        return "bad" if is_used else "off"
    if way is None:
        return ""
    return "on" if is_used else "off"


def _label(label: Label, overlay: Overlay) -> ShownLabel:
    note = overlay.sides.get(label.block, "")
    joint = " " if note[:1].isdigit() else ", "
    is_used = overlay.way is not None and label.block in overlay.way.entered
    return ShownLabel(label, "on" if is_used else "", f"{label.side}{joint}{note}" if note else label.side)


def _spoken(node: Node, mark: Mark) -> str:
    badges = [*mark.badges, *([mark.beside] if mark.beside else [])]
    return ", ".join(filter(None, [node.name, mark.note, mark.foot, *(badge.text for badge in badges), mark.words]))


def _step(box: Box, mark: Mark) -> ShownStep:
    room = box.width - TEXT_LEFT - TEXT_RIGHT
    is_tall = box.height - _name_rows(box.node) >= NODE_HEIGHT + BADGE_ROW
    badges = _badges(box, mark, in_row=is_tall)
    taken = 0 if is_tall else sum(badge.width + 6 for badge in badges)
    if mark.beside is not None:
        badges.append(ShownBadge(box.x + box.width + 9, box.y + 13, _badge_width(mark.beside), mark.beside))
    return ShownStep(
        box, mark, mark.icon or ICONS[box.node.kind],
        _names(box.node), fitted(mark.note, room - taken, NOTE_FONT),
        _spoken(box.node, mark), tuple(badges),
    )  # fmt: skip


def _frame(box: Box, mark: Mark) -> ShownStep:
    note = fitted(mark.note, box.width // 2, NOTE_FONT)
    room = box.width - 44 - 24 - text_width(note, NOTE_FONT)
    return ShownStep(
        box, mark, mark.icon or ICONS[box.node.kind], (fitted(box.node.name, room, 12),), note,
        _spoken(box.node, mark), tuple(_badges(box, mark, in_row=False)),
    )  # fmt: skip


def _badges(box: Box, mark: Mark, *, in_row: bool) -> list[ShownBadge]:
    """Return the badges inside a step: in a row of their own from the left, or at the lower right corner."""
    shown: list[ShownBadge] = []
    y = box.bottom - BADGE_HEIGHT - 3
    if in_row:
        x = box.x + TEXT_LEFT - 4
        for badge in mark.badges:
            shown.append(ShownBadge(x, y - 1, _badge_width(badge), badge))
            x += _badge_width(badge) + 6
        return shown
    x = box.x + box.width - 6
    for badge in reversed(mark.badges):
        x -= _badge_width(badge)
        shown.append(ShownBadge(x, y, _badge_width(badge), badge))
        x -= 6
    return shown
