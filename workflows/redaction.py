"""Payloads as people and programs may see them (docs/reference/administration.md#tenants-and-roles): values under telling keys, and at named places, are hidden.

It is applied where payloads are shown, so a rule that is added today also hides what was stored before. A tenant's rules
are a list of texts: a JSON pointer such as `/payload/card/number` (`*` is any one key or index), or a pattern of keys such
as `*iban*`, which holds at every depth. Keys are compared without letter case, `_`, `-` and blanks. The built-in patterns
always hold.

A pointer starts at what a thing is called: `/payload` (of a run or an event), `/input` and `/output` (of an action),
`/error`, `/contextData` and `/response` (of a task).
"""

import fnmatch
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workflows.engine.secret_places import is_secret
from workflows.models import Tenant

HIDDEN = "[redacted]"
BUILT_IN = (
    "*password*", "*passwd*", "passwort", "passphrase", "pwd", "*secret*", "*token*", "*authorization*", "*api_key*",
    "*access_key*", "*private_key*", "*credential*", "cookie", "set_cookie", "*session_id*", "cvv", "cvc",
)  # fmt: skip
MAX_RULES = 200
MAX_RULE_LENGTH = 500
Pointer = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    keys: re.Pattern[str]
    pointers: tuple[Pointer, ...] = ()


def rules_of(tenant_id: uuid.UUID) -> Rules:
    """Cost: one query."""
    return _compiled_stored(Tenant.objects.filter(id=tenant_id).values_list("redaction_rules", flat=True).first())


def rules_in(tenant: Tenant) -> Rules:
    """Those of a tenant that was read already, for lists."""
    return _compiled_stored(tenant.redaction_rules)


def _compiled_stored(stored: Any) -> Rules:
    return compiled(tuple(rule for rule in stored if isinstance(rule, str)) if isinstance(stored, list) else ())


@lru_cache(maxsize=500)
def compiled(rules: tuple[str, ...] = ()) -> Rules:
    patterns = [_plain(rule) for rule in (*BUILT_IN, *rules) if rule.strip() and not rule.startswith("/")]
    pointers = tuple(_segments(rule) for rule in rules if rule.startswith("/"))
    return Rules(re.compile("|".join(map(fnmatch.translate, patterns))), pointers)


def rule_problem(rule: Any) -> str | None:
    """What is wrong with a rule, as a sentence."""
    if not isinstance(rule, str) or not rule.strip():
        return "a rule is a JSON pointer or a pattern of keys, as a text"
    if len(rule) > MAX_RULE_LENGTH:
        return f"a rule has at most {MAX_RULE_LENGTH} characters"
    if rule.startswith("/"):
        return None if rule.strip("/") else "a pointer must lead somewhere"
    return None if _plain(rule).strip("*?") else "this pattern would hide everything"


def redact(value: Any, rules: Rules, at: str = "") -> Any:
    """A copy of `value`, which stands at the pointer `at`, with what the rules name replaced by `[redacted]`."""
    live = rules.pointers
    for segment in _segments(at):
        live = _below(live, segment)
    return _redacted(value, rules.keys, live)


def redact_at(path: str, value: Any, rules: Rules) -> Any:
    """A copy of `value`, which stands at this dotted path, as `redact` makes it; a key on the way may hide all of it."""
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
    """Filters of a wait: the value of each is one of the payload, at the filter's path."""
    if not isinstance(filters, list):
        return filters
    shown = []
    for condition in filters:
        if isinstance(condition, dict) and isinstance(condition.get("path"), str) and "value" in condition:
            condition = {**condition, "value": redact_at(f"payload.{condition['path']}", condition["value"], rules)}
        shown.append(condition)
    return shown


def restored(edited: Any, shown: Any, original: Any) -> Any:
    """What somebody has made of `shown`, the redacted `original`: where they left `[redacted]` as it was, the value that
    stands behind it."""
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


def _redacted(value: Any, keys: re.Pattern[str], live: tuple[Pointer, ...]) -> Any:
    if () in live:
        return HIDDEN
    if isinstance(value, dict):
        if is_secret(value):
            return value  # a reference, which names a secret and holds none
        named = _is_telling(value.get("name", value.get("key")), keys)
        return {
            key: HIDDEN
            if _hides(item) and (_is_telling(key, keys) or (named and key == "value"))
            else _redacted(item, keys, _below(live, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_redacted(item, keys, _below(live, str(index))) for index, item in enumerate(value)]
    return value


def _hides(value: Any) -> bool:
    """Nothing is given away by what is not there, nor by a yes or no. A reference to a secret names it only."""
    return value not in (None, "", [], {}) and not isinstance(value, bool) and not is_secret(value)


def _is_telling(key: Any, keys: re.Pattern[str]) -> bool:
    return isinstance(key, str) and keys.match(_plain(key)) is not None


def _below(live: Iterable[Pointer], segment: str) -> tuple[Pointer, ...]:
    """What is left of the pointers that lead through this key or index; one that is used up hides all below it."""
    return tuple(pointer[1:] for pointer in live if pointer and pointer[0] in (segment, "*")) + tuple(
        pointer for pointer in live if not pointer
    )


def _segments(pointer: str) -> Pointer:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _plain(key: str) -> str:
    return re.sub(r"[\s_-]", "", key).lower()
