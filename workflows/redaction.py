"""Redaction of payloads (docs/reference/administration.md#tenants-and-roles).

Values are replaced by `[redacted]` when they are shown. So a new rule also hides values that were stored before the
rule.

A tenant's rules are a list of texts. Each rule is one of:

- a JSON pointer such as `/payload/card/number`, where `*` matches any one key or index
- a pattern of keys such as `*iban*`, which applies at every depth; letter case, `_`, `-` and blanks do not matter

The built-in patterns always apply. A pointer starts with the name of the shown object: `/payload` (of a run or an
event), `/vars` and `/meta` (of the output of a run), `/input` and `/output` (of an action), `/error`, `/contextData`
and `/response` (of a human task).
"""

import fnmatch
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workflows.engine.secret_places import is_secret
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import HumanTask, Tenant

# Parts of a task about an unknown outcome. They show the input and the output of the action.
PARTS_OF_DECISIONS = {"/contextData": ("request", "/input"), "/response": ("output", "/output")}
# Kinds of values that a step writes into a variable.
POINTERS_OF_VARIABLES = ("/payload", "/output", "/response", "/error")
HIDDEN = "[redacted]"
BUILT_IN = (
    "*password*", "*passwd*", "passwort", "passphrase", "pwd", "*secret*", "*token*", "*authorization*", "*api_key*",
    "*access_key*", "*private_key*", "*credential*", "cookie", "set_cookie", "*session_id*", "cvv", "cvc",
)  # fmt: skip
MAX_RULES = 200
MAX_RULE_LENGTH = 500
# Limits for the work on one value, so that it takes at most about one second. The rest of a larger value is not shown.
MAX_VALUES = 200_000
MAX_KEY_LENGTH = 1_000
NOT_SHOWN = "[not shown: too many values]"
Pointer = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """Compiled redaction rules of one tenant."""

    keys: re.Pattern[str]
    pointers: tuple[Pointer, ...] = ()


def rules_of(tenant_id: uuid.UUID) -> Rules:
    """Return the rules of a tenant.

    Cost: one query.
    """
    return _compiled_stored(Tenant.objects.filter(id=tenant_id).values_list("redaction_rules", flat=True).first())


def rules_in(tenant: Tenant) -> Rules:
    """Return the rules of a tenant whose row is already loaded. Lists use this function to save queries."""
    return _compiled_stored(tenant.redaction_rules)


def _compiled_stored(stored: Any) -> Rules:
    return compiled(tuple(rule for rule in stored if isinstance(rule, str)) if isinstance(stored, list) else ())


@lru_cache(maxsize=500)
def compiled(rules: tuple[str, ...] = ()) -> Rules:
    patterns = [_plain(rule) for rule in (*BUILT_IN, *rules) if rule.strip() and not rule.startswith("/")]
    pointers = tuple(_segments(rule) for rule in rules if rule.startswith("/"))
    return Rules(re.compile("|".join(map(fnmatch.translate, patterns))), pointers)


def rule_problem(rule: Any) -> str | None:
    """Return a sentence that says why a rule is invalid, or None."""
    if not isinstance(rule, str) or not rule.strip():
        return "a rule must be a text: a JSON pointer or a pattern of keys"
    if len(rule) > MAX_RULE_LENGTH:
        return f"the rule has {len(rule)} characters; at most {MAX_RULE_LENGTH} are allowed"
    if rule.startswith("/"):
        return None if rule.strip("/") else "the pointer has no key; write for example /payload/card/number"
    return None if _plain(rule).strip("*?") else "the pattern matches every key; add letters of the keys to hide"


def redact_task(task: HumanTask, value: Any, rules: Rules, at: str) -> Any:
    """Return a redacted copy of the context or the response of a task. `at` is /contextData or /response."""
    part, pointer = PARTS_OF_DECISIONS[at]
    if task.task_type == DECIDE_OUTCOME and isinstance(value, dict) and part in value:
        value = {**value, part: redact(value[part], rules, pointer)}
    return redact(value, rules, at)


def redact(value: Any, rules: Rules, at: str = "") -> Any:
    """Return a copy of a value in which hidden parts are replaced by `[redacted]`. `at` is the pointer of the value.

    Cost: at most `MAX_VALUES` values are examined. A note replaces each value after them.
    """
    live = rules.pointers
    for segment in _segments(at):
        live = _below(live, segment)
    return _Redaction(rules.keys).redacted(value, live)


def redact_output(output: Any, rules: Rules) -> Any:
    """Return a redacted copy of the output of a run: its scopes `{payload, vars, meta}`.

    A variable can hold the payload of an event, the output of an action or the response to a task under any name. So
    the pointers of all of these apply to every variable.
    """
    if not isinstance(output, dict):
        return output
    shown = {name: redact(scope, rules, f"/{name}") for name, scope in output.items()}
    variables = shown.get("vars")
    if isinstance(variables, dict):
        for pointer in POINTERS_OF_VARIABLES:
            variables = {name: redact(value, rules, pointer) for name, value in variables.items()}
        shown["vars"] = variables
    return shown


def redact_at(path: str, value: Any, rules: Rules) -> Any:
    """Return a redacted copy of the value at a dotted path.

    If a key of the path is hidden, the whole value is hidden.
    """
    segments = path.split(".")
    whole = value
    for segment in reversed(segments):
        whole = {segment: whole}
    shown = redact(whole, rules)
    for segment in segments:
        if not isinstance(shown, dict):
            return HIDDEN
        shown = shown[segment]
    return shown


def redact_filters(filters: Any, rules: Rules) -> Any:
    """Return the filters of a wait with redacted values.

    The path of a filter in the payload decides if its value is hidden.
    """
    if not isinstance(filters, list):
        return filters
    shown = []
    for condition in filters:
        if isinstance(condition, dict) and isinstance(condition.get("path"), str) and "value" in condition:
            condition = {**condition, "value": redact_at(f"payload.{condition['path']}", condition["value"], rules)}
        shown.append(condition)
    return shown


def restored(edited: Any, shown: Any, original: Any) -> Any:
    """Return an edited copy of `shown`. Where `[redacted]` was left unchanged, insert the value of `original`.

    `shown` is the redacted form of `original`.
    """
    if shown == HIDDEN and edited == HIDDEN:
        return original
    if isinstance(edited, dict) and isinstance(shown, dict) and isinstance(original, dict):
        return {
            key: restored(item, shown[key], original[key]) if key in shown and key in original else item
            for key, item in edited.items()
        }
    if isinstance(edited, list) and isinstance(shown, list) and isinstance(original, list):
        known = min(len(shown), len(original))
        pairs = [restored(*each) for each in zip(edited, shown, original, strict=False)]
        return [*pairs, *edited[known:]]
    return edited


class _Redaction:
    """Redaction of one value. It counts the values that it examines."""

    def __init__(self, keys: re.Pattern[str]) -> None:
        self._keys = keys
        self._left = MAX_VALUES

    def redacted(self, value: Any, live: tuple[Pointer, ...]) -> Any:
        if () in live:
            return HIDDEN
        self._left -= 1
        if self._left < 0:
            return NOT_SHOWN
        if isinstance(value, dict):
            if is_secret(value):
                return value  # a reference to a secret contains only the name of the secret
            has_hidden_name = _matches_key(value.get("name", value.get("key")), self._keys)
            return {key: self._entry(key, item, live, has_hidden_name) for key, item in value.items()}
        if isinstance(value, list):
            return [self.redacted(item, _below(live, str(index))) for index, item in enumerate(value)]
        return value

    def _entry(self, key: str, item: Any, live: tuple[Pointer, ...], has_hidden_name: bool) -> Any:
        if self._left <= 0:
            return NOT_SHOWN
        if _hides(item) and (_matches_key(key, self._keys) or (has_hidden_name and key == "value")):
            self._left -= 1
            return HIDDEN
        return self.redacted(item, _below(live, key))


def _hides(value: Any) -> bool:
    """Return True if the value must be hidden under a matching key. Empty values, booleans and references are shown."""
    return value not in (None, "", [], {}) and not isinstance(value, bool) and not is_secret(value)


def _matches_key(key: Any, keys: re.Pattern[str]) -> bool:
    """Return True if a pattern matches the key. A very long key counts as a match and is not compared."""
    return isinstance(key, str) and (len(key) > MAX_KEY_LENGTH or keys.match(_plain(key)) is not None)


def _below(live: Iterable[Pointer], segment: str) -> tuple[Pointer, ...]:
    """Return the remaining part of each pointer that leads through this key or index.

    An empty pointer hides the value and everything below it.
    """
    return tuple(pointer[1:] for pointer in live if pointer and pointer[0] in (segment, "*")) + tuple(
        pointer for pointer in live if not pointer
    )


def _segments(pointer: str) -> Pointer:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _plain(key: str) -> str:
    return re.sub(r"[\s_-]", "", key).lower()
