"""Rules for the keywords of JSON Schema 2020-12 that contain other schemas, and the table of all supported keywords."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from workflows.engine.json_schema.value_rules import VALUE_RULES, Rule, Subject

if TYPE_CHECKING:
    from workflows.engine.json_schema.check import Check

_SHOWN_ALTERNATIVES = 3


def _properties(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, dict):
        check.spend(len(given) >> 3)
        for name, inner in given.items():
            if name in on.value:
                _entry(check, inner, on, name)


def _pattern_properties(check: "Check", given: Any, on: Subject) -> None:
    for pattern, inner in given.items() if isinstance(on.value, dict) else ():
        for name in on.value:
            if check.is_found(pattern, name):
                _entry(check, inner, on, name)


def _additional_properties(check: "Check", given: Any, on: Subject) -> None:
    if not isinstance(on.value, dict):
        return
    named, patterns = on.schema.get("properties", {}), on.schema.get("patternProperties", {})
    others: Iterable[str] = (name for name in on.value if name not in named)
    if patterns:
        others = (name for name in others if not any(check.is_found(pattern, name) for pattern in patterns))
    _rest(check, given, on, others)


def _unevaluated_properties(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, dict):
        _rest(check, given, on, [name for name in on.value if name not in on.seen])


def _items(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, list):
        _rest(check, given, on, range(len(on.schema.get("prefixItems", ())), len(on.value)))


def _unevaluated_items(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, list):
        _rest(check, given, on, [index for index in range(len(on.value)) if index not in on.seen])


def _prefix_items(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, list):
        for index, inner in enumerate(given[: len(on.value)]):
            _entry(check, inner, on, index)


def _rest(check: "Check", given: Any, on: Subject, keys: Iterable[Any]) -> None:
    check.spend(len(on.value))
    for key in keys:
        _entry(check, given, on, key)


def _entry(check: "Check", inner: Any, on: Subject, key: Any) -> None:
    on.seen.add(key)
    check.evaluate(inner, on.value[key], (on.at, key))


def _property_names(check: "Check", given: Any, on: Subject) -> None:
    for name in on.value if isinstance(on.value, dict) else ():
        fitting, problem = check.attempt(given, name, (on.at, name))
        if fitting is None:
            check.report((on.at, name), f"the name of the field {problem}")


def _contains(check: "Check", given: Any, on: Subject) -> None:
    if not isinstance(on.value, list):
        return
    found = {index for index, item in enumerate(on.value) if check.attempt(given, item, (on.at, index))[0] is not None}
    on.seen |= found
    least, most = on.schema.get("minContains", 1), on.schema.get("maxContains", len(on.value))
    if not least <= len(found) <= most:
        bounds = f"at least {int(least)}" if len(found) < least else f"at most {int(most)}"
        check.report(on.at, f"must have {bounds} entries that match `contains`, but has {len(found)}")


def _all_of(check: "Check", given: Any, on: Subject) -> None:
    for inner in given:
        _in_place(check, inner, on)


def _any_of(check: "Check", given: Any, on: Subject) -> None:
    fits, problems = _attempts(check, given, on, enough=len(given) if check.linked.is_tracking else 1)
    if not fits:
        check.report(on.at, _none_fits(problems))


def _one_of(check: "Check", given: Any, on: Subject) -> None:
    fits, problems = _attempts(check, given, on, enough=2)
    if fits > 1:
        check.report(on.at, f"must match exactly one of {len(given)} alternatives, but matches more than one")
    elif not fits:
        check.report(on.at, _none_fits(problems))


def _attempts(check: "Check", given: Any, on: Subject, *, enough: int) -> tuple[int, list[str]]:
    """Return the number of alternatives that match, and the problems of the other alternatives.

    Stop after `enough` matches.
    """
    fits, problems = 0, []
    for inner in given:
        fitting, problem = check.attempt(inner, on.value, on.at)
        if fitting is None:
            problems.append(problem)
            continue
        on.seen |= fitting
        fits += 1
        if fits == enough:
            break
    return fits, problems


def _none_fits(problems: list[str]) -> str:
    shown = "; ".join(f"{number}: {text}" for number, text in enumerate(problems[:_SHOWN_ALTERNATIVES], 1))
    more = "; …" if len(problems) > _SHOWN_ALTERNATIVES else ""
    return f"matches none of {len(problems)} alternatives ({shown}{more})"


def _not(check: "Check", given: Any, on: Subject) -> None:
    if check.attempt(given, on.value, on.at)[0] is not None:
        check.report(on.at, "must not match the schema in `not`")


def _if(check: "Check", given: Any, on: Subject) -> None:
    fitting, _ = check.attempt(given, on.value, on.at)
    on.seen |= fitting or set()
    _in_place(check, on.schema.get("else" if fitting is None else "then", True), on)


def _dependent_schemas(check: "Check", given: Any, on: Subject) -> None:
    if isinstance(on.value, dict):
        check.spend(len(given))
        for name, inner in given.items():
            if name in on.value:
                _in_place(check, inner, on)


def _reference(check: "Check", given: Any, on: Subject) -> None:
    _in_place(check, check.target(on.schema), on)


def _in_place(check: "Check", inner: Any, on: Subject) -> None:
    on.seen |= check.evaluate(inner, on.value, on.at)


RULES: dict[str, Rule] = {
    **VALUE_RULES,
    "$ref": _reference,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "prefixItems": _prefix_items,
    "items": _items,
    "contains": _contains,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "dependentSchemas": _dependent_schemas,
}
# These keywords run after all other keywords, because they need to know which entries the others have evaluated.
LAST_RULES: dict[str, Rule] = {
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
}
