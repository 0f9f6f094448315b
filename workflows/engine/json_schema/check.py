"""Check of a value with a JSON Schema 2020-12, in a counted number of steps.

The same check runs in workflow code and at the entry points. In a workflow, the result must be the same on every
machine and on replay. At an entry point, the check must not delay a request.

The `jsonschema` library is the reference for the tests. It is not used here, for four reasons:

- Its patterns can take very long, because they backtrack. Here patterns run in linear time (RE2).
- Its messages contain whole values.
- It compares list entries pair by pair. Here every step is counted before it runs.
- `$schema` makes it use other classes. Here `links` resolves all references before the check.

`format` and `content...` are only annotations and are not checked. This is the default of the specification.
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
# A step takes at most about one microsecond.
MAX_STEPS = 2_000_000

# Place of a value: the place of the parent and the key in the parent. Such a linked list is cheap to extend.
Place = tuple[Any, str | int] | None


class Problem(TypedDict):
    pointer: str  # RFC 6901; the value itself is ""
    message: str


class _Enough(Exception):
    """The check has found as many problems as the caller wants."""


class _TooCostly(Exception):
    """The check has used all of its steps."""


class _UnknownReference(Exception):
    """The check of this value needs a reference that was not resolved."""


class Check:
    """Check of one value with one schema. Rules call `evaluate`, `attempt`, `report` and `spend`."""

    def __init__(self, linked: LinkedSchema, *, max_problems: int, max_steps: int) -> None:
        self.linked = linked
        self._problems: list[Problem] = []
        self._wanted = max_problems
        self.steps_left = max_steps

    def run(self, value: Any) -> list[Problem]:
        try:
            self.evaluate(self.linked.root, value, None)
        except _Enough:
            return self._problems
        return self._problems

    def evaluate(self, schema: Any, value: Any, at: Place) -> set[Any]:
        """Check a value and report its problems.

        Return the properties (by name) or the items (by index) of `value` that a keyword has evaluated.
        """
        seen: set[Any] = set()
        if isinstance(schema, bool):
            self.spend(1)
            if not schema:
                self.report(at, "is not allowed here")
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
        """Check a value without a report. If it matches, return the evaluated names or indexes.

        Otherwise return None and the first problem.
        """
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

    def report(self, at: Place, message: str) -> None:
        self._problems.append({"pointer": _pointer(at), "message": _cut(message, MAX_MESSAGE_LENGTH)})
        if len(self._problems) >= self._wanted:
            raise _Enough

    def spend(self, steps: int) -> None:
        self.steps_left -= steps
        if self.steps_left < 0:
            raise _TooCostly

    def target(self, schema: dict[str, Any]) -> Any:
        """Return the target of the schema's `$ref`."""
        if id(schema) not in self.linked.targets:
            raise _UnknownReference(self.linked.missing[id(schema)][0])
        return self.linked.targets[id(schema)]

    def is_found(self, pattern: str, text: str) -> bool:
        """Return True if the pattern matches anywhere in the text.

        Cost: in the worst case, each instruction of the pattern's program reads each character.
        """
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
    """Return the problems of a value, at most `max_problems`. A value that cannot be checked has one problem."""
    return counted_problems(linked, value, max_problems=max_problems, max_steps=max_steps)[0]


def counted_problems(
    linked: LinkedSchema, value: Any, *, max_problems: int = MAX_PROBLEMS, max_steps: int
) -> tuple[list[Problem], int]:
    """Return the problems of a value as `value_problems` does, and the number of steps that the check took."""
    check = Check(linked, max_problems=max_problems, max_steps=max_steps)
    problems = _problems(check, value, max_steps)
    return problems, max_steps - max(check.steps_left, 0)


def _problems(check: Check, value: Any, max_steps: int) -> list[Problem]:
    try:
        return check.run(value)
    except _TooCostly:
        return whole_problem(f"cannot be checked within {max_steps} steps, because the schema is too complex for it")
    except _UnknownReference as missing:
        return whole_problem(f"cannot be checked: the schema refers to {str(missing)!r}, which is not known here")
    except RecursionError:
        return whole_problem("cannot be checked: it is nested too deep, or the schema refers to itself without end")
    except re2.error:
        return whole_problem("cannot be checked: a pattern of the schema cannot be run in linear time")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return whole_problem("cannot be checked: the schema is not a valid JSON Schema 2020-12")


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
