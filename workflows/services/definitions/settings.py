"""Settings of a definition beside its document: owner, limits and auto-pause.

Source: docs/reference/administration.md#definition-life-cycle
"""

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from workflows.actors import Actor
from workflows.bundles.metadata import KINDS
from workflows.engine.run_keys import rule_problem
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid
from workflows.models import Definition
from workflows.services.definitions.changes import definition_change
from workflows.statuses import CommandAction

MAX_WHOLE = 2**31 - 1
MOST_SEARCH_PATHS = 10


def definition_save_settings(
    *, actor: Actor, key: str, changes: Mapping[str, Any], reason: str = "", idempotency_key: str = ""
) -> Definition:
    """Change settings of a definition. They apply at once, to all versions. `changes` has only the changed settings.

    A higher concurrency limit gives slots to held starts.

    Errors: PermissionRefused, NotFound; InputInvalid DEFINITION_SETTINGS_INVALID with `details.problems`, entries
    `{field, message}`.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.EDIT_DEFINITION,
        to="edit definitions",
        reason=reason,
        payload=dict(changes),
        idempotency_key=idempotency_key,
    ) as change:
        problems = [
            {"field": name, "message": message} for name, value in changes.items() if (message := _problem(name, value))
        ]
        if problems:
            raise InputInvalid(
                f"{problems[0]['field']} {problems[0]['message']}; correct the setting",
                code="DEFINITION_SETTINGS_INVALID",
                details={"problems": problems},
            )
        for name, value in changes.items():
            setattr(change.definition, name, value)
        return change.definition


def _problem(name: str, value: Any) -> str:
    """Return what is wrong with the value of a setting, or an empty text."""
    check = SETTINGS.get(name)
    if check is None:
        return f"is not a setting; the settings are {', '.join(SETTINGS)}"
    return check(value)


def _text(longest: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        is_good = isinstance(value, str) and len(value) <= longest and not storable_problem(value)
        return "" if is_good else f"must be text of at most {longest} characters"

    return check


def _link(value: Any) -> str:
    wrong = _text(500)(value)
    if wrong or not value:
        return wrong
    try:
        parts = urlsplit(value)
    except ValueError:
        return "must be a web address that begins with https:// or http://"
    is_good = parts.scheme in ("http", "https") and parts.netloc and not any(char.isspace() for char in value)
    return "" if is_good else "must be a web address that begins with https:// or http://"


def _whole(value: Any) -> str:
    is_good = value is None or (type(value) is int and 0 < value <= MAX_WHOLE)
    return "" if is_good else "must be a whole number above 0, or null"


def _share(value: Any) -> str:
    is_good = value is None or (type(value) in (int, float) and math.isfinite(value) and 0 < value <= 1)
    return "" if is_good else "must be a number above 0 and at most 1, or null; 0.5 means that half of the runs failed"


def _concurrency(value: Any) -> str:
    return "" if value is None else rule_problem(value) or ""


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _search_paths(value: Any) -> str:
    if value is None:
        return ""
    is_valid, problem = KINDS["search paths"]
    if not is_valid(value):
        return problem
    paths = [item["path"] for item in value]
    if len(value) > MOST_SEARCH_PATHS or len(set(paths)) < len(paths) or any(len(path) > 200 for path in paths):
        return f"must have at most {MOST_SEARCH_PATHS} different paths of at most 200 characters"
    labels = [item.get("label", "") for item in value]
    if any(storable_problem(label) for label in labels):
        return "has a label with a character that cannot be stored"
    wrong = [path for path in paths if storable_problem(path) or not all(part.strip() for part in path.split("."))]
    return f"contains {wrong[0]!r}, but a path must look like amount or customer.id" if wrong else ""


SETTINGS: dict[str, Callable[[Any], str]] = {
    "owner": _text(200),
    "contact": _text(200),
    "runbook_url": _link,
    "concurrency_limit": _whole,
    "concurrency": _concurrency,
    "search_paths": _search_paths,
    "auto_pause_on_failure": _flag,
    "failure_rate_threshold": _share,
    "failure_rate_min_runs": _whole,
}
