"""The tab "Steps" of the run page: rows of the outline with their links, and the side panel of the selected step."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import QueryDict

from workflows.actions.lookup import repetition_word
from workflows.actors import Actor
from workflows.admin.run_items import ITEM, LOOP, item_fields
from workflows.error_reasons import error_shown
from workflows.graph.wording import source_of
from workflows.models import ActionInvocation, Connector, Run, RunStep
from workflows.outline.bars import StepRow
from workflows.outline.nodes import BRANCH
from workflows.outline.rows import Outline, OutlineRow
from workflows.redaction import Rules, redact
from workflows.selectors.sent_requests import SentRequest, sent_request

SHOWN_ATTEMPTS = 5
# Rows of the outline on one page: those around the selected step.
SHOWN_ROWS = 400
FAILED_ONLY = "failed"
# The arrows reach each item of a loop with no more items. Such a loop has no strip.
SHORT_STRIP = 2
ACTION = "action.call"


@dataclass(frozen=True)
class ShownRow:
    """A row of the outline with its links. `fold_url` opens or closes its blocks."""

    row: OutlineRow
    url: str
    fold_url: str = ""
    is_folded: bool = False
    is_selected: bool = False
    picker: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownRows:
    """Rows of one page of the outline. `before`, `after`: numbers of the rows that are left out, with their links."""

    rows: list[ShownRow]
    before: int = 0
    after: int = 0
    before_url: str = ""
    after_url: str = ""


def shown_rows(outline: Outline, query: QueryDict, selected: OutlineRow | None) -> ShownRows:
    """Return the rows around the selected step that are not inside a folded step."""
    visible = _visible(outline.rows, set(query.getlist("fold")))
    place = next((index for index, row in enumerate(visible) if selected is not None and row == selected), 0)
    start = max(0, min(place - SHOWN_ROWS // 2, len(visible) - SHOWN_ROWS))
    end = min(len(visible), start + SHOWN_ROWS)
    return ShownRows(
        rows=[_shown(row, query, selected) for row in visible[start:end]],
        before=start,
        after=len(visible) - end,
        before_url=_link(query, step=visible[start - 1].node.path, iteration="") if start else "",
        after_url=_link(query, step=visible[end].node.path, iteration="") if end < len(visible) else "",
    )


def _visible(rows: list[OutlineRow], folded: set[str]) -> list[OutlineRow]:
    """Return the rows that no folded step contains. `rows` are in document order."""
    visible: list[OutlineRow] = []
    hidden = ""  # the path of the outermost folded step, with a dot
    for row in rows:
        path = row.node.path
        if hidden and path.startswith(hidden):
            continue
        hidden = f"{path}." if path in folded else ""
        visible.append(row)
    return visible


def _shown(row: OutlineRow, query: QueryDict, selected: OutlineRow | None) -> ShownRow:
    path, folded = row.node.path, set(query.getlist("fold"))
    return ShownRow(
        row=row,
        url=_link(query, step=path, iteration=row.iteration),
        fold_url=_link(query, fold=sorted(folded ^ {path})) if row.node.step.blocks else "",
        is_folded=path in folded,
        is_selected=selected is not None and path == selected.node.path,
        picker={} if row.loop is None or path in folded else _picker(row, query, selected),
    )


def _picker(row: OutlineRow, query: QueryDict, selected: OutlineRow | None) -> dict[str, Any]:
    """Return the links and fields of the iteration picker. A selected step inside the loop stays selected."""
    loop, path = row.loop, row.node.path
    assert loop is not None
    step = path
    if selected is not None and selected.node.loops[-1:] == (path,):
        step = selected.node.path
    links: dict[str, Any] = {"all": _link(query, step=step, iteration=loop.iteration, rows="")}
    targets = {"before": loop.before, "after": loop.after}
    links |= {name: _link(query, step=step, iteration=target) for name, target in targets.items() if target}
    if loop.first_failed:
        target = loop.iteration if loop.place_in_failed else loop.first_failed
        links["failed"] = _link(query, step=step, iteration=target, rows=FAILED_ONLY)
    links["strip"] = [
        (item, _link(query, step=step, iteration=f"{loop.prefix}{item.index}"))
        for item in (loop.strip if loop.counts.total > SHORT_STRIP else ())
    ]
    return links | {"fields": item_fields(query, loop, step)}


def _link(query: QueryDict, **changes: Any) -> str:
    changed = query.copy()
    for name in ("tab", "attempt", LOOP, ITEM):
        changed.pop(name, None)
    for name, value in changes.items():
        if isinstance(value, list):
            changed.setlist(name, value)
        elif value:
            changed[name] = value
        else:
            changed.pop(name, None)
    return f"?{changed.urlencode()}"


@dataclass(frozen=True)
class AttemptLinks:
    """Links to the attempts around the chosen one, and the numbers of the others before and after, with a link each."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    before: int = 0
    after: int = 0
    before_url: str = ""
    after_url: str = ""


@dataclass(frozen=True)
class Panel:
    """The selected step. `step` is the chosen attempt, with its payloads if it is an action or has failed.

    `repetition`: what a second execution of its action does. `condition`: the expression of a branch.
    """

    row: OutlineRow
    step: RunStep | StepRow | None = None
    attempts: AttemptLinks = field(default_factory=AttemptLinks)
    idempotency_key: str = ""
    executions: int = 0
    sent: Any = None
    request: SentRequest | None = None
    received: Any = None
    status: int | None = None
    repetition: str = ""

    @property
    def outcome(self) -> str:
        """Return what the condition of a branch was."""
        return "true" if self.step is not None and self.step.branch == "then" else "false"

    @property
    def condition(self) -> str:
        return source_of(self.row.node.step.config.get("condition")) if self.row.node.step.type == BRANCH else ""


def step_panel(run: Run, row: OutlineRow, query: QueryDict, actor: Actor, rules: Rules) -> Panel:
    """Return the side panel of a row.

    Cost: one statement for an action or an error.
    """
    if not row.attempts:
        return Panel(row)
    wanted = query.get("attempt", "")
    chosen = next((attempt for attempt in row.attempts if str(attempt.attempt) == wanted), row.attempts[-1])
    links = _attempt_links(row, query, chosen.attempt)
    step = _step(run, chosen) if chosen.type == ACTION or chosen.has_failed else None
    if step is None:
        return Panel(row, chosen, links)
    key = getattr(step, "idempotency_key", None) or ""
    sees = actor.sees_payloads and bool(step.action_id)
    sent = redact(step.input, rules, "/input") if sees else None
    return Panel(
        row=row,
        step=step,
        attempts=links,
        idempotency_key=key,
        executions=getattr(step, "executions", None) or 0,
        sent=sent,
        request=_request(step, sent, key, rules) if sees else None,
        received=_received(step, rules) if sees else None,
        status=_status(step),
        repetition=_repetition(step),
    )


def _repetition(step: RunStep) -> str:
    if not step.action_id or step.action_version is None:
        return ""
    return repetition_word(step.action_id, step.action_version, getattr(step, "connector_spec", None))


def _request(step: RunStep, sent: Any, key: str, rules: Rules) -> SentRequest | None:
    connector = getattr(step, "connector_spec", None)
    return sent_request(step.action_id, sent, connector=connector, idempotency_key=key, rules=rules)


def _step(run: Run, chosen: StepRow) -> RunStep | None:
    """Return an attempt with its payloads, the idempotency key of its invocation, and the connector of its action."""
    connectors = Connector.objects.filter(
        tenant_id=run.tenant_id, action_id=OuterRef("action_id"), version=OuterRef("action_version")
    )
    invocations = ActionInvocation.objects.filter(
        tenant_id=run.tenant_id, run=run, step_path=chosen.path, iteration=chosen.iteration
    ).order_by("-started_at")
    rows = RunStep.objects.filter(
        tenant_id=run.tenant_id,
        run=run,
        step_path=chosen.path,
        iteration=chosen.iteration,
        attempt=chosen.attempt,
    )
    return rows.annotate(
        idempotency_key=Subquery(invocations.values("idempotency_key")[:1]),
        executions=Subquery(invocations.values("executions")[:1]),
        connector_spec=Subquery(connectors.values("spec")[:1]),
    ).first()


def _attempt_links(row: OutlineRow, query: QueryDict, chosen: int) -> AttemptLinks:
    """Return the links of the group of attempts that has the chosen one. The last group ends with the last attempt."""
    rows = row.attempts
    if len(rows) < 2:
        return AttemptLinks()
    place = next(index for index, attempt in enumerate(rows) if attempt.attempt == chosen)
    end = len(rows) - (len(rows) - 1 - place) // SHOWN_ATTEMPTS * SHOWN_ATTEMPTS
    start = max(0, end - SHOWN_ATTEMPTS)
    base = _link(query, step=row.node.path, iteration=row.iteration)
    urls = [f"{base}&attempt={attempt.attempt}" for attempt in rows]
    return AttemptLinks(
        shown=[
            {"row": attempt, "url": url, "is_chosen": attempt.attempt == chosen}
            for attempt, url in zip(rows[start:end], urls[start:end], strict=True)
        ],
        before=start,
        after=len(rows) - end,
        before_url=urls[start - 1] if start else "",
        after_url=urls[end] if end < len(rows) else "",
    )


def _received(step: RunStep, rules: Rules) -> Any:
    """Return what the step received, redacted: its output, or the details of its error."""
    if step.error is None:
        return redact(step.output, rules, "/output")
    error = error_shown(step.error, rules, sees_payloads=True)
    shown = error.get("details") if isinstance(error, dict) else error
    if isinstance(shown, dict) and "status" in shown and set(shown) <= {"status", "body"}:
        return shown.get("body")
    return shown


def _status(step: RunStep) -> int | None:
    source = (step.error or {}).get("details") if step.error else step.output
    status = source.get("status") if isinstance(source, dict) else None
    return status if isinstance(status, int) and not isinstance(status, bool) else None
