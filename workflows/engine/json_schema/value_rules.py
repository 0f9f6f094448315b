"""Rules for the keywords of JSON Schema 2020-12 that check a value without subschemas.

Rule: a message never contains the checked value. Messages are shown and stored in places where the reader may not be
permitted to see the payload.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from workflows.engine.sizes import identity

if TYPE_CHECKING:
    from workflows.engine.json_schema.check import Check, Place


@dataclass(slots=True)
class Subject:
    """Value under check, with its place and its schema. `seen` has the entries that a keyword has already evaluated."""

    value: Any
    at: "Place"
    schema: dict[str, Any]
    seen: set[Any]


# Arguments of a rule: the check, the value of the keyword, the subject.
Rule = Callable[["Check", Any, Subject], None]


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def quoted(name: str) -> str:
    return repr(name[:80])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_of(value: Any, name: str) -> bool:
    if name == "integer":
        return _is_number(value) and (isinstance(value, int) or value.is_integer())
    return kind_of(value) == name


def _type(check: "Check", given: Any, on: Subject) -> None:
    names = [given] if isinstance(given, str) else given
    if not any(_is_of(on.value, name) for name in names):
        check.report(on.at, f"must be {' or '.join(names)}, but is {kind_of(on.value)}")


def _enum(check: "Check", given: Any, on: Subject) -> None:
    if check.identity(on.value) not in check.linked.members(given):
        check.report(on.at, f"must be one of {_listed(given)}")


def _const(check: "Check", given: Any, on: Subject) -> None:
    if check.identity(on.value) != check.identity(given):
        check.report(on.at, f"must be {_listed([given])}")


def _listed(values: list[Any]) -> str:
    shown = [kind_of(value) if isinstance(value, list | dict) else identity(value)[:60] for value in values[:10]]
    return ", ".join(shown) + (", …" if len(values) > len(shown) else "")


def _pattern(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, str) and not check.is_found(given, on.value):
        check.report(on.at, f"does not match the pattern {given}")


def _length(kind: type[str] | type[list[Any]] | type[dict[str, Any]], what: str, *, is_least: bool) -> Rule:
    words = "at least" if is_least else "at most"

    def rule(check: "Check", given: Any, on: Subject) -> None:
        if isinstance(on.value, kind):
            has = len(on.value)
            if has < given if is_least else has > given:
                check.report(on.at, f"must have {words} {int(given)} {what}, but has {has}")

    return rule


def _limit(words: str, holds: Callable[[Any, Any], bool]) -> Rule:
    def rule(check: "Check", given: Any, on: Subject) -> None:
        if _is_number(on.value) and not holds(on.value, given):
            check.report(on.at, f"must be {words} {given}")

    return rule


def _multiple_of(check: "Check", given: Any, on: Subject) -> None:
    """Check the decimal form of the numbers, because binary fractions are not exact.

    For example, 19.99 is a multiple of 0.01.
    """
    if not _is_number(on.value):
        return
    check.spend(16)
    if (_exact(on.value) / _exact(given)).denominator != 1:
        check.report(on.at, f"must be a multiple of {given}")


def _exact(number: Any) -> Fraction:
    return Fraction(str(number)) if isinstance(number, float) else Fraction(number)


def _unique(check: "Check", given: Any, on: Subject) -> None:
    if given and isinstance(on.value, list) and len({check.identity(item) for item in on.value}) < len(on.value):
        check.report(on.at, "has entries that are equal, but they must be unique")


def _required(check: "Check", given: Any, on: Subject) -> None:
    if not isinstance(on.value, dict):
        return
    check.spend(len(given))
    for name in given:
        if name not in on.value:
            check.report(on.at, f"{quoted(name)} is missing")


def _dependent_required(check: "Check", given: Any, on: Subject) -> None:
    if not isinstance(on.value, dict):
        return
    check.spend(len(given))
    for name in given:
        if name not in on.value:
            continue
        check.spend(len(given[name]))
        for other in given[name]:
            if other not in on.value:
                check.report(on.at, f"{quoted(other)} is missing, but {quoted(name)} requires it")


VALUE_RULES: dict[str, Rule] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "minLength": _length(str, "characters", is_least=True),
    "maxLength": _length(str, "characters", is_least=False),
    "minItems": _length(list, "entries", is_least=True),
    "maxItems": _length(list, "entries", is_least=False),
    "minProperties": _length(dict, "fields", is_least=True),
    "maxProperties": _length(dict, "fields", is_least=False),
    "minimum": _limit("at least", lambda value, given: value >= given),
    "maximum": _limit("at most", lambda value, given: value <= given),
    "exclusiveMinimum": _limit("more than", lambda value, given: value > given),
    "exclusiveMaximum": _limit("less than", lambda value, given: value < given),
    "multipleOf": _multiple_of,
    "uniqueItems": _unique,
    "required": _required,
    "dependentRequired": _dependent_required,
}
