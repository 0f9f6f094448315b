"""Search of the command ledger (docs/reference/screens.md#command-ledger).

Each filter has an index with the time of the request. A text in the reason has none, because row-level security lets
only exact comparisons use an index. So a search for a text reads the rows of the other filters in parts, and stops
after `MOST_READ` rows or `MOST_SECONDS`. The next page continues there.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Case, F, QuerySet, TextField, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from workflows.actors import person_name
from workflows.models import Command, Run
from workflows.selectors.keyset import PAGE_SIZE, KeysetPage, keyset_page, position_text, read_time_position
from workflows.statuses import CommandAction

PART, MOST_READ = 500, 5_000
# A part that has begun is read to its end.
MOST_SECONDS = 5.0
# Runs of one correlation key whose commands are found.
MOST_RUNS = 50


@dataclass(frozen=True)
class LedgerSearch:
    """Filters of the ledger. An empty text and None do not filter. Times: from `since`, to before `until`.

    `actor` is the shown name of a person or API client, or a user name. `target` is the id of the target, or the
    correlation key of runs. Without `with_parts`, the parts of a command for many runs are left out.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    state: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    with_parts: bool = True


@dataclass(frozen=True)
class LedgerPage:
    """Rows of one page. `read_until` is the time up to which a search for a text has read, if it stopped early."""

    page: KeysetPage
    read_until: datetime | None = None


def ledger_search(*, tenant_id: uuid.UUID, search: LedgerSearch, at: str = "") -> LedgerPage:
    """Return one page of the ledger, the newest request first. `at` is the position of an earlier page.

    A command about a bulk job has its step as `operation`, for example "start". For other commands it is empty. A
    command that sent events has its details as `sent`.

    Cost: one statement, and one more each for an actor and a target. With a text: at most one statement for each `PART`
    of `MOST_READ` rows.
    """
    filters = {
        "actor_name__in": _actors(search.actor),
        "action": search.action,
        "target_id__in": _targets(tenant_id, search.target),
        "state": search.state,
        "requested_at__gte": search.since,
        "requested_at__lt": search.until,
        "parent__isnull": None if search.with_parts else True,
    }
    chosen = {name: value for name, value in filters.items() if value not in ("", None, [])}
    operation = Case(When(action=CommandAction.BULK, then=KeyTextTransform("operation", "payload")))
    rows = Command.objects.filter(tenant_id=tenant_id, **chosen).defer("payload", "details")
    rows = rows.annotate(
        operation=Coalesce(operation, Value(""), output_field=TextField()),
        sent=Case(When(action=CommandAction.SEND_EVENT, then=F("details"))),
    )
    rows = rows.order_by("-requested_at", "-id")
    if not search.text:
        return LedgerPage(keyset_page(rows, at=at))
    return _with_text(rows, search.text.casefold(), at)


def _actors(text: str) -> list[str]:
    """Return the text, and the shown name of the person with this user name."""
    if not text:
        return []
    return [text, *map(person_name, get_user_model().objects.filter(username=text))]


def _targets(tenant_id: uuid.UUID, text: str) -> list[str]:
    """Return the text as an id, and the ids of the newest runs that have it as correlation key."""
    if not text:
        return []
    runs = Run.objects.filter(tenant_id=tenant_id, correlation_key=text).order_by("-id")
    return [text, *map(str, runs.values_list("id", flat=True)[:MOST_RUNS])]


def _with_text(rows: QuerySet[Any], text: str, at: str) -> LedgerPage:
    found: list[Command] = []
    position, is_first = at, read_time_position(at) is None
    end = time.monotonic() + MOST_SECONDS
    for _ in range(MOST_READ // PART):
        part = keyset_page(rows, at=position, size=PART)
        for command in part.rows:
            position = position_text([command.requested_at, command.id])
            if text in command.reason.casefold():
                found.append(command)
                if len(found) == PAGE_SIZE:
                    return LedgerPage(KeysetPage(found, position, is_first=is_first))
        if not part.following:
            return LedgerPage(KeysetPage(found, is_first=is_first))
        if time.monotonic() > end:
            break
    return LedgerPage(KeysetPage(found, position, is_first=is_first), part.rows[-1].requested_at)
