"""Places of nodes, frames and lines on a picture.

Rule: the layout follows the blocks of the document. Steps of a block are below each other on one axis. The sides of a
branch and of a `try` are next to each other. A loop and a `try` are frames around their blocks. Equal graphs give equal
pictures, and all numbers are whole.

Units: pixels, from the upper left corner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from workflows.engine.definition import ROOT
from workflows.graph.model import LOOP, NOTE, Graph, Node, Side
from workflows.graph.wording import fitted, text_width

MARGIN, GAP, COLUMN_GAP = 12, 20, 28
NODE_WIDTH, NODE_HEIGHT = 206, 44
PILL_HEIGHT, PILL_GAP, PILL_FONT = 24, 14, 11.5
# Vertical distances at a branch: from the step down to the fork, on to its sides, and from the sides to the join.
FORK, TO_SIDES, TO_JOIN, AFTER_JOIN = 12, 22, 11, 11
LOOP_HEAD, TRY_HEAD, SIDE_LABEL = 38, 32, 18
LOOP_PADDING, TRY_PADDING, FRAME_FOOT, FRAME_MIN = 22, 16, 16, 344


@dataclass(frozen=True)
class Room:
    """Extra room of a step: `width` on both sides of it, `height` below its content."""

    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Box:
    """Step on the picture. A frame contains the boxes of its blocks."""

    node: Node
    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def bottom(self) -> int:
        return self.y + self.height


@dataclass(frozen=True)
class Line:
    """Way of the run. It is used if the run entered the block `enters` and went on after the step `leaves`.

    Each of the two is empty if it is no condition. `is_error` marks the way from a `try` block to its `catch` block.
    """

    points: tuple[tuple[int, int], ...]
    enters: str = ""
    leaves: str = ""
    is_error: bool = False

    @property
    def path(self) -> str:
        """Return the points as an SVG path."""
        return "M" + " L".join(f"{x} {y}" for x, y in self.points)


@dataclass(frozen=True)
class Label:
    """Name of a side, with the path of its block."""

    x: int
    y: int
    side: str
    block: str
    anchor: str = "start"


@dataclass(frozen=True)
class Pill:
    """Start or end of the definition."""

    x: int
    y: int
    width: int
    text: str
    height: int = PILL_HEIGHT

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def text_y(self) -> int:
        return self.y + 16


@dataclass(frozen=True)
class Picture:
    width: int
    height: int
    start: Pill
    end: Pill | None
    nodes: tuple[Box, ...]
    frames: tuple[Box, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]

    @cached_property
    def boxes(self) -> dict[str, Box]:
        """Return nodes and frames by step path, in the order of the text."""
        return {box.node.path: box for box in (*self.frames, *self.nodes)}


def lay_out(graph: Graph, rooms: Mapping[str, Room] | None = None) -> Picture:
    """Return the picture of a graph. `rooms` gives steps extra room, by step path. Cost: linear."""
    drawing = _Drawing(rooms or {})
    block_width, block_height = drawing.block_size(graph.nodes)
    start_text = fitted(graph.start, 300, PILL_FONT)
    start_width = _even(text_width(start_text, PILL_FONT)) + 28
    width = max(block_width, start_width, NODE_WIDTH) + 2 * MARGIN
    middle, top = width // 2, MARGIN + PILL_HEIGHT + PILL_GAP
    start = Pill(middle - start_width // 2, MARGIN, start_width, start_text)
    drawing.line((middle, MARGIN + PILL_HEIGHT), (middle, top), enters=ROOT)
    drawing.place_block(graph.nodes, middle, top)
    last, bottom = graph.nodes[-1], top + block_height
    end = None
    if last.kind == "control.return" or not last.ends_here:
        end = Pill(middle - 46, bottom + PILL_GAP, 92, "End")
        drawing.line((middle, bottom), (middle, end.y), leaves=last.path)
        bottom = end.y + PILL_HEIGHT
    return Picture(
        width, bottom + MARGIN, start, end,
        tuple(drawing.nodes), tuple(drawing.frames), tuple(drawing.lines), tuple(drawing.labels),
    )  # fmt: skip


def _even(number: int) -> int:
    return number + number % 2


@dataclass
class _Drawing:
    rooms: Mapping[str, Room]
    nodes: list[Box] = field(default_factory=list)
    frames: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    # -- Sizes ---------------------------------------------------------------------------------------------------------

    def block_size(self, nodes: tuple[Node, ...]) -> tuple[int, int]:
        sizes = [self.size(node) for node in nodes]
        width = max((width for width, _ in sizes), default=NODE_WIDTH)
        height = sum(height for _, height in sizes) + GAP * (len(sizes) - 1) if sizes else NODE_HEIGHT
        return max(width, NODE_WIDTH), height

    def size(self, node: Node) -> tuple[int, int]:
        if node.path not in self.sizes:
            self.sizes[node.path] = self._size(node)
        return self.sizes[node.path]

    def _size(self, node: Node) -> tuple[int, int]:
        room = self.rooms.get(node.path, Room())
        own_width, own_height = NODE_WIDTH + 2 * room.width, NODE_HEIGHT + room.height
        if not node.sides:
            return own_width, own_height
        inner = [self.block_size(side.nodes) for side in node.sides]
        width = sum(width for width, _ in inner) + COLUMN_GAP * (len(inner) - 1)
        height = max(height for _, height in inner)
        if not node.is_frame:
            after = 0 if node.ends_here else TO_JOIN + AFTER_JOIN
            return max(width, own_width), own_height + FORK + TO_SIDES + height + after
        if node.kind == LOOP:
            width, height = width + 2 * LOOP_PADDING, LOOP_HEAD + height + FRAME_FOOT
        else:
            width, height = width + 2 * TRY_PADDING, TRY_HEAD + SIDE_LABEL + height + FRAME_FOOT
        return max(width, FRAME_MIN) + 2 * room.width, height + room.height

    # -- Places --------------------------------------------------------------------------------------------------------

    def line(self, *points: tuple[int, int], enters: str = "", leaves: str = "", is_error: bool = False) -> None:
        self.lines.append(Line(points, enters, leaves, is_error))

    def place_block(self, nodes: tuple[Node, ...], middle: int, y: int) -> None:
        for index, node in enumerate(nodes):
            self.place(node, middle, y)
            bottom = y + self.size(node)[1]
            y = bottom + GAP
            if index + 1 < len(nodes) and not node.ends_here:
                self.line((middle, bottom), (middle, y), leaves=node.path)

    def place(self, node: Node, middle: int, y: int) -> None:
        room = self.rooms.get(node.path, Room())
        if node.is_frame:
            width, height = self.size(node)
            width -= 2 * room.width
            self.frames.append(Box(node, middle - width // 2, y, width, height))
            self._fill_frame(node, middle, y)
            return
        box = Box(node, middle - NODE_WIDTH // 2, y, NODE_WIDTH, NODE_HEIGHT + room.height)
        self.nodes.append(box)
        if node.sides:
            self._branch(node, middle, box.bottom)

    def _columns(self, sides: tuple[Side, ...], middle: int) -> list[int]:
        """Return the middle of each side."""
        widths = [self.block_size(side.nodes)[0] for side in sides]
        left = middle - (sum(widths) + COLUMN_GAP * (len(widths) - 1)) // 2
        middles = []
        for width in widths:
            middles.append(left + width // 2)
            left += width + COLUMN_GAP
        return middles

    def _fill_frame(self, node: Node, middle: int, y: int) -> None:
        top = y + (LOOP_HEAD if node.kind == LOOP else TRY_HEAD + SIDE_LABEL)
        middles = self._columns(node.sides, middle)
        for side, column in zip(node.sides, middles, strict=True):
            if node.kind != LOOP:
                self.labels.append(Label(column, top - 8, side.name, side.path, anchor="middle"))
            self.place_block(side.nodes or (Node(side.path, NOTE, "no steps"),), column, top)
        if node.kind != LOOP:
            across = top + NODE_HEIGHT // 2
            start, end = (self._edge(side, column) for side, column in zip(node.sides, middles, strict=True))
            self.line((start[1], across), (end[0], across), enters=node.sides[1].path, is_error=True)

    def _edge(self, side: Side, middle: int) -> tuple[int, int]:
        """Return the left and the right end of the first box of a side."""
        width = NODE_WIDTH
        if side.nodes and side.nodes[0].is_frame:
            width = self.size(side.nodes[0])[0] - 2 * self.rooms.get(side.nodes[0].path, Room()).width
        return middle - width // 2, middle + width // 2

    def _branch(self, node: Node, middle: int, bottom: int) -> None:
        top = bottom + FORK + TO_SIDES
        height = max(self.block_size(side.nodes)[1] for side in node.sides)
        join = top + height + TO_JOIN
        for side, column in zip(node.sides, self._columns(node.sides, middle), strict=True):
            fork = ((middle, bottom), (middle, bottom + FORK), (column, bottom + FORK))
            after = ((column, join), (middle, join), (middle, join + AFTER_JOIN))
            self.labels.append(Label(column + 6, top - 7, side.name, side.path))
            if not side.nodes:
                self.line(*fork, *after, enters=side.path)
                continue
            self.line(*fork, (column, top), enters=side.path)
            self.place_block(side.nodes, column, top)
            if not side.nodes[-1].ends_here:
                end = top + self.block_size(side.nodes)[1]
                self.line((column, end), *after, enters=side.path, leaves=side.nodes[-1].path)
