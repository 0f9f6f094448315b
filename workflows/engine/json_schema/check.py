"""Values against JSON Schema 2020-12, in a counted number of steps.

One check for everything that is sent: it answers inside workflow code, where it must give the same verdict on every
machine and on replay, and at the doors, where it must not hold a request up. The `jsonschema` library is the reference of
the tests, but not what runs: it searches with patterns that backtrack, writes whole values into its messages, compares
entries pair by pair, and goes over to its own classes wherever a schema says `$schema`. Here patterns run in linear time
(RE2), every step is counted before it is made, and references were followed beforehand (`schema_links`).

`format` and `content...` are annotations, as the specification has it unless asked otherwise.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import re2

from workflows.engine.json_schema.links import LinkedSchema
from workflows.engine.json_schema.rules import LAST_RULES, RULES
from workflows.engine.json_schema.value_rules import Subject
from workflows.engine.sizes import identity

MAX_PROBLEMS = 20
MAX_MESSAGE_LENGTH = 200
MAX_POINTER_LENGTH = 300
# A step takes a microsecond or less.
MAX_STEPS = 2_000_000

# A linked list, made longer at no cost: the place of the parent, and the key in it.
Place = tuple[Any, str | int] | None


class Problem(TypedDict):
    pointer: str  # RFC 6901; the value itself is ""
    message: str


class _Enough(Exception):
    """As many problems were told as are wanted."""


class _TooCostly(Exception):
    """The steps are used up."""


class _LeadsNowhere(Exception):
    """A reference that this value needs was not found."""


class Check:
    """One value against one schema. Rules call back: `evaluate`, `attempt`, `tell`, `spend`."""

    def __init__(self, linked: LinkedSchema, *, max_problems: int, max_steps: int) -> None:
        self.linked = linked
        self._problems: list[Problem] = []
        self._wanted = max_problems
        self._steps_left = max_steps

    def run(self, value: Any) -> list[Problem]:
        try:
            self.evaluate(self.linked.root, value, None)
        except _Enough:
            return self._problems
        return self._problems

    def evaluate(self, schema: Any, value: Any, at: Place) -> set[Any]:
        """The names or indexes of `value` that a keyword has looked at. What does not fit is told."""
        seen: set[Any] = set()
        if isinstance(schema, bool):
            self.spend(1)
            if not schema:
                self.tell(at, "is not allowed here")
            return seen
        self.spend(1 + len(schema))
        subject = Subject(value, at, schema, seen)
        for keyword, given in schema.items():
            rule = RULES.get(keyword)
            if rule is not None:
                rule(self, given, subject)
        for keyword, rule in LAST_RULES.items() if self.linked.is_tracking else ():
            if keyword in schema:
                rule(self, schema[keyword], subject)
        return seen

    def attempt(self, schema: Any, value: Any, at: Place) -> tuple[set[Any] | None, str]:
        """As `evaluate`, but nothing is told: None, and the first problem, where the value does not fit."""
        self.spend(3)
        problems, wanted = self._problems, self._wanted
        self._problems, self._wanted = [], 1
        try:
            return self.evaluate(schema, value, at), ""
        except _Enough:
            return None, self._described(self._problems[0], at)
        finally:
            self._problems, self._wanted = problems, wanted

    def _described(self, problem: Problem, at: Place) -> str:
        inner = problem["pointer"].removeprefix(_pointer(at))
        return f"{inner} {problem['message']}" if inner else problem["message"]

    def tell(self, at: Place, message: str) -> None:
        self._problems.append({"pointer": _pointer(at), "message": _cut(message, MAX_MESSAGE_LENGTH)})
        if len(self._problems) >= self._wanted:
            raise _Enough

    def spend(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise _TooCostly

    def target(self, schema: dict[str, Any]) -> Any:
        """Where the schema's `$ref` leads."""
        if id(schema) not in self.linked.targets:
            raise _LeadsNowhere(self.linked.missing[id(schema)][0])
        return self.linked.targets[id(schema)]

    def is_found(self, pattern: str, text: str) -> bool:
        """Cost: at worst each instruction of the pattern's program looks at each character."""
        program = self.linked.pattern(pattern)
        self.spend(4 + (len(text) >> 6) + (len(text) * program.programsize >> 8))
        return program.search(text) is not None

    def identity(self, value: Any) -> str:
        text = identity(value)
        self.spend(3 + (len(text) >> 3))
        return text


def value_problems(
    linked: LinkedSchema, value: Any, *, max_problems: int = MAX_PROBLEMS, max_steps: int = MAX_STEPS
) -> list[Problem]:
    """Everything that does not fit, up to `max_problems`; also when it cannot be found out, which is a no."""
    try:
        return Check(linked, max_problems=max_problems, max_steps=max_steps).run(value)
    except _TooCostly:
        return whole_problem(f"cannot be checked within {max_steps} steps; the schema is too complex for it")
    except _LeadsNowhere as missing:
        return whole_problem(f"cannot be checked: the schema refers to {str(missing)!r}, which is not known here")
    except RecursionError:
        return whole_problem("cannot be checked: it nests too deep, or the schema refers to itself without end")
    except re2.error:
        return whole_problem("cannot be checked: a pattern of the schema cannot be run in linear time")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return whole_problem("cannot be checked: the schema is no JSON Schema 2020-12")


def whole_problem(message: str) -> list[Problem]:
    return [{"pointer": "", "message": _cut(message, MAX_MESSAGE_LENGTH)}]


def json_pointer(keys: Sequence[str | int]) -> str:
    pointer = "".join("/" + str(key)[:MAX_POINTER_LENGTH].replace("~", "~0").replace("/", "~1") for key in keys)
    return _cut(pointer, MAX_POINTER_LENGTH)


def _pointer(at: Place) -> str:
    keys: list[str | int] = []
    while at is not None:
        at, key = at
        keys.append(key)
    return json_pointer(keys[::-1])


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
