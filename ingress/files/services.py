"""Preview and sending of the events of a file. Both use the rules of the intake.

Source: docs/reference/events.md#events-from-a-file
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings

from ingress.files.reading import EventFile, FileLine
from ingress.intake.envelope import Envelope
from ingress.intake.receive import IntakeRules, Receipt, Result, event_row, events_receive, first_events, result_of
from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.event_redaction import EventRedaction
from workflows.ledger import command_failures_recorded, command_finish
from workflows.models import Event
from workflows.models.read_only import reading_only
from workflows.redaction import Rules, rules_of
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, CommandState, EventSource, Role

NEW, DUPLICATE, PROBLEM, REFUSED = "new", "duplicate", "problem", "refused"


@dataclass(frozen=True)
class LineResult:
    """Result of one line: `new`, `duplicate`, `problem` (it is not sent) or `refused` (the intake refuses it).

    `keys` are redacted. `event` is the stored event, if there is one.
    """

    number: int
    result: str
    message: str = ""
    event_type: str = ""
    event_id: str = ""
    keys: str = ""
    event: Event | None = None


@dataclass(frozen=True)
class FileResult:
    lines: list[LineResult]
    counts: dict[str, int]


def event_file_preview(*, actor: Actor, file: EventFile) -> FileResult:
    """Return what would happen to each line now. Write nothing.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    _require(actor)
    envelopes = _envelopes(file)
    with reading_only():
        rules = IntakeRules(actor.tenant_id, {envelope.event_type for envelope in envelopes.values()})
        rows = {
            number: event_row(envelope, rules=rules, source=EventSource.ADMIN, sender=actor)
            for number, envelope in envelopes.items()
        }
        firsts = first_events(actor.tenant_id, {row.event_id for row in rows.values()})
        results = {}
        for number, row in rows.items():
            results[number] = result_of(row, firsts.get(row.event_id), rules)
            firsts.setdefault(row.event_id, row)  # the same event again in this file is a duplicate
    return _result(actor, file, results)


def event_file_send(*, actor: Actor, file: EventFile, name: str, idempotency_key: str = "") -> FileResult:
    """Send the lines without a problem through the intake. Record one command in the ledger.

    Idempotency: each line has a fixed event id, so a repeat stores nothing again. A repeat with the same key returns
    the stored events.
    Errors: PermissionRefused; Conflict if the key was used for another file.
    """
    _require(actor)
    envelopes = _envelopes(file)
    asked = command_request(
        actor=actor,
        action=CommandAction.SEND_EVENT,
        target_type="event file",
        target_id=file.digest,
        payload={"file": name[:200], "events": len(envelopes), "digest": file.digest},
        idempotency_key=idempotency_key,
    )
    results: dict[int, Result] = {}
    if asked.is_new:
        # This is not a transaction. The chunks that are stored stay stored, and a repeat stores only the others.
        with command_failures_recorded([asked.command]):
            for numbers in _chunks(list(envelopes)):
                values = [envelopes[number] for number in numbers]
                received = events_receive(
                    tenant_id=actor.tenant_id, values=values, source=EventSource.ADMIN, sender=actor
                )
                results |= dict(zip(numbers, received, strict=True))
        result = _result(actor, file, results)
        command_finish(asked.command, CommandState.OBSERVED, details=result.counts)
        return result
    stored = _stored(actor, envelopes.values())
    found = {number: stored.get(str(envelope.event_id)) for number, envelope in envelopes.items()}
    results = {number: Receipt(event, is_duplicate=False) for number, event in found.items() if event is not None}
    return _result(actor, file, results)


def _require(actor: Actor) -> None:
    require_role(
        actor=actor, needs=Role.OPERATOR, to="send events", action=CommandAction.SEND_EVENT, target_type="event file"
    )


def _envelopes(file: EventFile) -> dict[int, Envelope]:
    return {line.number: line.envelope for line in file.lines if line.envelope is not None}


def _chunks(numbers: list[int]) -> list[list[int]]:
    size = settings.EVENT_BATCH_MAX
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _stored(actor: Actor, envelopes: Iterable[Envelope]) -> dict[str, Event]:
    """Return the stored events with the ids of these envelopes, without their payloads."""
    ids = [str(envelope.event_id) for envelope in envelopes]
    rows = Event.objects.filter(tenant_id=actor.tenant_id, event_id__in=ids, occupies_id=True).defer("payload")
    for row in rows:
        row.__dict__["values_omitted"] = {"payload"}
    return {row.event_id: row for row in rows}


def _result(actor: Actor, file: EventFile, results: dict[int, Result]) -> FileResult:
    rules = rules_of(actor.tenant_id)
    lines = [_line(line, results.get(line.number), rules) for line in file.lines]
    counts = Counter(line.result for line in lines)
    return FileResult(lines, {name: counts[name] for name in (NEW, DUPLICATE, REFUSED, PROBLEM)})


def _line(line: FileLine, result: Result | None, rules: Rules) -> LineResult:
    if line.envelope is None:
        return LineResult(line.number, PROBLEM, line.problem)
    event_type, event_id = line.envelope.event_type, str(line.envelope.event_id)
    if result is None or isinstance(result, PortalError):
        message = "The intake refused this event. It is kept under Events > Rejected."
        message = message if result is None else f"{result.code}: {result.message}"
        return LineResult(line.number, REFUSED, message, event_type, event_id)
    event = result.event
    keys = ", ".join(EventRedaction(event, rules).keys(event.correlation_keys))
    kind = DUPLICATE if result.is_duplicate else NEW
    return LineResult(line.number, kind, "", event_type, event_id, keys, event)
