"""Scopes of a run: the names that an expression sees, and the targets that a step writes to.

A target is `payload.a.b`, `vars.a`, `meta.a`, `local.a`, `error.a`, or a JSON pointer into one of these scopes. Any
other target is a path inside `vars` (docs/reference/language.md#targets). All step types use this implementation.

The total size of the scopes is limited. `size_bound` is an upper bound of this size, which grows with every write. The
exact size is computed only when `size_bound` exceeds the limit.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.engine.errors import Category, RunError
from workflows.engine.sizes import MAX_SCOPE_BYTES, json_size, list_index, plain_copy

# Names of the entries in `local` that a loop sets itself.
LOOP_NAMES = ("item", "index", "length", "isFirst", "isLast")
MAX_TARGET_LENGTH = 500
MAX_TARGET_PARTS = 32
ROOTS = ("payload", "vars", "meta", "local", "error")
FORBIDDEN = frozenset({"__proto__", "prototype", "constructor"})


@dataclass(frozen=True)
class Target:
    root: str
    segments: tuple[str, ...]


def parse_target(text: str) -> Target:
    """Parse the text of a target.

    Errors: ValueError; the author must act. The message is a sentence for the author.
    """
    if len(text) > MAX_TARGET_LENGTH:
        raise ValueError(f"the target is longer than {MAX_TARGET_LENGTH} characters")
    if text.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]
        if parts[0] not in ROOTS or len(parts) < 2:
            raise ValueError(f"the pointer {text!r} must lead into one of {', '.join(ROOTS)}")
    else:
        parts = text.split(".")
        if len(parts) == 1 or parts[0] not in ROOTS:
            parts = ["vars", *parts]
    if any(not part for part in parts):
        raise ValueError(f"the target {text!r} has an empty part")
    if len(parts) > MAX_TARGET_PARTS:
        raise ValueError(f"the target {text!r} has more than {MAX_TARGET_PARTS} parts")
    forbidden = FORBIDDEN.intersection(parts)
    if forbidden:
        raise ValueError(f"the target {text!r} uses the reserved name {sorted(forbidden)[0]!r}")
    return Target(parts[0], tuple(parts[1:]))


@dataclass
class Loop:
    """Loop that is being executed: its items, the position of the current item, and its `local` scope.

    `saved` holds the value that `vars.<itemVar>` had before the loop. It is empty if the variable did not exist.
    """

    item_var: str
    items: list[Any]
    position: int = -1
    local: dict[str, Any] = field(default_factory=dict)
    saved: list[Any] = field(default_factory=list)


@dataclass
class Scope:
    payload: dict[str, Any]
    system: dict[str, Any]
    vars: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    # The first entry is the outermost loop. An expression sees the `local` of the last entry.
    loops: list[Loop] = field(default_factory=list)
    size_bound: int = 0
    # Number of bytes that were measured or copied since the turn began. They count against the budget of the turn.
    work: int = field(default=0, compare=False)

    @property
    def iteration(self) -> str:
        """Return the indexes of the open loops, outermost first, joined by dots.

        The text is empty outside of a loop.
        """
        return ".".join(str(loop.position) for loop in self.loops)

    @property
    def local(self) -> dict[str, Any]:
        return self.loops[-1].local if self.loops else {}

    def view(self) -> dict[str, Any]:
        """Return the names that an expression sees. An entry of `vars` or `local` never hides one of the six scopes."""
        local = self.local
        self.work += len(self.vars) + len(local)
        return {
            **self.vars,
            **local,
            "payload": self.payload,
            "vars": self.vars,
            "local": local,
            "meta": self.meta,
            "system": self.system,
            "error": self.error,
        }

    def output(self) -> dict[str, Any]:
        """Return the output of a run that ends now. Its size is limited by the size limit of the scopes."""
        return {"payload": self.payload, "vars": self.vars, "meta": self.meta}

    def put(self, target: Target, value: Any) -> None:
        """Write a value to a target, and create missing objects on the path.

        Errors: RunError ValidationError if the path leads through a scalar, or the scopes would exceed their size
        limit.
        """
        self._check_size(value, self._value_at(target))
        node: Any = self._root(target)
        *way, last = target.segments
        for segment in way:
            node = self._step_into(node, segment, target)
        if isinstance(node, dict):
            node[last] = value
        elif isinstance(node, list):
            self._put_into_list(node, last, value, target)
        else:
            raise _leads_through_scalar(target)

    def _value_at(self, target: Target) -> Any:
        """Return the current value of the target, or None if there is none."""
        node: Any = getattr(self, target.root)
        for segment in target.segments:
            if isinstance(node, dict):
                node = node.get(segment)
            elif isinstance(node, list) and (index := list_index(segment)) is not None and index < len(node):
                node = node[index]
            else:
                return None
        return node

    def _root(self, target: Target) -> Any:
        if target.root == "local" and not self.loops:
            raise RunError(
                Category.VALIDATION,
                f"The target {_shown(target)} is in `local`, which exists only inside a loop. Use `vars` instead.",
            )
        if target.root == "error" and self.error is None:
            self.error = {}
        return getattr(self, target.root)

    def _step_into(self, node: Any, segment: str, target: Target) -> Any:
        if isinstance(node, dict):
            if node.get(segment) is None:
                node[segment] = {}
            return node[segment]
        if isinstance(node, list) and (index := list_index(segment)) is not None and index < len(node):
            return node[index]
        raise _leads_through_scalar(target)

    def _put_into_list(self, node: list[Any], segment: str, value: Any, target: Target) -> None:
        index = len(node) if segment == "-" else list_index(segment)
        if index == len(node):
            node.append(value)
        elif index is not None and index < len(node):
            node[index] = value
        else:
            raise RunError(
                Category.VALIDATION,
                f"The target {_shown(target)} has no index of the list, which has {len(node)} entries. "
                f"Use an index from 0 to {len(node)}, or `-` to append.",
            )

    # -- Loops -------------------------------------------------------------------------------------------------------

    def enter_loop(self, item_var: str, items: list[Any]) -> None:
        """Open a loop over `items`.

        Errors: RunError ValidationError if the scopes would exceed their size limit with the items.
        """
        self._check_size(items)
        self.loops.append(
            Loop(item_var, items, saved=[self.vars[item_var]] if item_var in self.vars else []),
        )

    def next_item(self) -> bool:
        """Move the innermost loop to its next item, with a new `local`. Return False if no item is left.

        Errors: RunError ValidationError if the scopes would exceed their size limit.
        """
        loop = self.loops[-1]
        loop.position += 1
        if loop.position >= len(loop.items):
            return False
        item, index, length = loop.items[loop.position], loop.position, len(loop.items)
        loop.local = {}
        self._check_size([item, item, item], self.vars.get(loop.item_var))
        # Three separate copies, as after a checkpoint. A change of one copy must not change the others.
        loop.local = {
            "item": plain_copy(item),
            "index": index,
            "length": length,
            "isFirst": index == 0,
            "isLast": index == length - 1,
            loop.item_var: plain_copy(item),
        }
        self.vars[loop.item_var] = plain_copy(item)
        return True

    def leave_loop(self) -> None:
        """Close the innermost loop. Give `vars.<itemVar>` the value that it had before the loop."""
        loop = self.loops.pop()
        if loop.saved:
            self.vars[loop.item_var] = loop.saved[0]
        else:
            self.vars.pop(loop.item_var, None)

    # -- Size --------------------------------------------------------------------------------------------------------

    def exact_size(self) -> int:
        loops = [[loop.items, loop.local, loop.saved] for loop in self.loops]
        return json_size([self.payload, self.vars, self.meta, self.error, loops])

    def _check_size(self, value: Any, replaced: Any = None) -> None:
        """Check the size limit of the scopes for a write that replaces `replaced` by `value`.

        Errors: RunError ValidationError if the scopes would exceed the limit; the author must act.
        """
        size = json_size(value)
        self.work += size
        self.size_bound += size + 64
        if self.size_bound <= MAX_SCOPE_BYTES:
            return
        self.size_bound = self.exact_size() - json_size(replaced) + size
        self.work += self.size_bound
        if self.size_bound > MAX_SCOPE_BYTES:
            raise RunError(
                Category.VALIDATION,
                f"The write would make the data of the run larger than its limit of {MAX_SCOPE_BYTES} bytes. "
                "Keep less data in the scopes, or move a part of the work into a child workflow.",
                code="SCOPE_TOO_LARGE",
                details={"bytes": self.size_bound, "limit": MAX_SCOPE_BYTES},
            )


def _leads_through_scalar(target: Target) -> RunError:
    return RunError(
        Category.VALIDATION,
        f"The target {_shown(target)} leads through a value that is neither an object nor a list. "
        "Choose another target, or remove the value first.",
    )


def _shown(target: Target) -> str:
    return repr(".".join((target.root, *target.segments)))
