"""What an expression sees and where a value is put (docs/reference/language.md#targets). One implementation for every step type.

Targets: `payload.a.b`, `vars.a`, `meta.a`, `local.a`, `error.a`, or a JSON pointer into one of these; anything else is a
path inside `vars`. The total size of the scopes is capped; the cap is kept with an upper bound that grows by what is
written, so that the exact size is computed only when the bound passes the cap.
"""

from dataclasses import dataclass, field
from typing import Any

from workflows.engine.errors import Category, RunError
from workflows.engine.sizes import MAX_SCOPE_BYTES, json_size, list_index, plain_copy

# Names of a loop's own entries in `local`.
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
    """Errors: ValueError with a sentence for the author."""
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
    """A loop that is being walked: its items, the one it is at, its `local`, and what `vars.<itemVar>` was before it.

    `saved` is empty when there was no such variable, else holds its value.
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
    # Outermost first; an expression sees the `local` of the last.
    loops: list[Loop] = field(default_factory=list)
    size_bound: int = 0
    # Bytes that were measured or copied since a turn began: work that its budget counts.
    work: int = field(default=0, compare=False)

    @property
    def iteration(self) -> str:
        """The indexes of the loops around the current step, outermost first, with dots; empty outside of any loop."""
        return ".".join(str(loop.position) for loop in self.loops)

    @property
    def local(self) -> dict[str, Any]:
        return self.loops[-1].local if self.loops else {}

    def view(self) -> dict[str, Any]:
        """The names that an expression sees. The six scopes are never shadowed by an entry of `vars`."""
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

    def put(self, target: Target, value: Any) -> None:
        """Errors: RunError ValidationError when the path leads through a scalar, or the scopes grow over the cap."""
        self._keep_cap(value, self._present(target))
        node: Any = self._root(target)
        *way, last = target.segments
        for segment in way:
            node = self._step_into(node, segment, target)
        if isinstance(node, dict):
            node[last] = value
        elif isinstance(node, list):
            self._put_into_list(node, last, value, target)
        else:
            raise RunError(Category.VALIDATION, f"the target {_shown(target)} leads through a value that is no object")

    def _present(self, target: Target) -> Any:
        """What stands under the target now; None when nothing does."""
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
            raise RunError(Category.VALIDATION, f"the target {_shown(target)} stands outside of any loop")
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
        raise RunError(Category.VALIDATION, f"the target {_shown(target)} leads through a value that is no object")

    def _put_into_list(self, node: list[Any], segment: str, value: Any, target: Target) -> None:
        index = len(node) if segment == "-" else list_index(segment)
        if index == len(node):
            node.append(value)
        elif index is not None and index < len(node):
            node[index] = value
        else:
            raise RunError(
                Category.VALIDATION, f"the target {_shown(target)} is no index of a list of {len(node)} entries"
            )

    # -- Loops -------------------------------------------------------------------------------------------------------

    def enter_loop(self, item_var: str, items: list[Any]) -> None:
        """Errors: RunError ValidationError when the items do not fit into the run's data any more."""
        self._keep_cap(items)
        self.loops.append(
            Loop(item_var, items, saved=[self.vars[item_var]] if item_var in self.vars else []),
        )

    def next_item(self) -> bool:
        """Go on to the loop's next item; False when there is none. Every item starts with a fresh `local`.

        Errors: RunError ValidationError as `put`.
        """
        loop = self.loops[-1]
        loop.position += 1
        if loop.position >= len(loop.items):
            return False
        item, index, length = loop.items[loop.position], loop.position, len(loop.items)
        loop.local = {}
        self._keep_cap([item, item, item], self.vars.get(loop.item_var))
        # Copies, so that what the author does to one of them changes no other, as after a checkpoint.
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
        """Put back what `vars.<itemVar>` was before the loop."""
        loop = self.loops.pop()
        if loop.saved:
            self.vars[loop.item_var] = loop.saved[0]
        else:
            self.vars.pop(loop.item_var, None)

    # -- Size --------------------------------------------------------------------------------------------------------

    def exact_size(self) -> int:
        loops = [[loop.items, loop.local, loop.saved] for loop in self.loops]
        return json_size([self.payload, self.vars, self.meta, self.error, loops])

    def _keep_cap(self, value: Any, replaced: Any = None) -> None:
        """Errors: RunError ValidationError when the scopes with `value` in place of `replaced` are over the cap."""
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
                f"the run's data would grow over {MAX_SCOPE_BYTES} bytes",
                code="SCOPE_TOO_LARGE",
                details={"bytes": self.size_bound, "limit": MAX_SCOPE_BYTES},
            )


def _shown(target: Target) -> str:
    return repr(".".join((target.root, *target.segments)))
