"""Incidents of a batch of failures: find them by fingerprint, or create them.

A later failure with the same fingerprint belongs to the same incident, also after a merge or a split:

- A split of an incident is another incident with a text. Failures whose message contains the text belong to it.
- A merged incident keeps its own failures. The incident into which it was merged shows and counts them too.

If the messages of one step and code have values that the normalised message does not recognise, each would become an
incident. After MOST_MESSAGES incidents, the failures with a new message belong to one incident of other messages.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db.models import Count

from workflows.models import Incident, IncidentCursor, IncidentFailure
from workflows.services.incidents.causes import Failure
from workflows.services.incidents.cursor import next_number
from workflows.services.incidents.messages import Cause, others_fingerprint
from workflows.statuses import IncidentState

MOST_MESSAGES = 20
"""Largest number of incidents of one definition, step, category and code, without their splits.

Resolved and closed incidents are not counted. Otherwise old incidents would keep new messages from having their own.
"""
Place = tuple[str, str, str, str]


class Groups:
    """Incidents of one batch, with locked rows. Call it while the lock on the cursor is held."""

    def __init__(self, cursor: IncidentCursor) -> None:
        self.cursor = cursor
        self._by_fingerprint: dict[str, Incident] = {}
        self._by_id: dict[uuid.UUID, Incident] = {}
        self._splits: dict[uuid.UUID, list[Incident]] = {}
        self._others: dict[str, str] = {}  # fingerprint of a message without an incident -> that of the other messages

    def find(self, failures: Sequence[Failure]) -> None:
        """Read the incidents of these failures, and create those that are missing.

        Cost: at most six statements for any number of failures, and one for each depth of splits.
        """
        # The first failure of a new incident is counted. A later one may be a replay, which must not date the incident.
        causes: dict[str, Failure] = {}
        for failure in sorted(failures, key=lambda failure: failure.failed_at):
            causes.setdefault(failure.cause.fingerprint(), failure)
        self._read(fingerprint__in=causes)
        self._by_fingerprint = {incident.fingerprint: incident for incident in self._by_id.values()}
        unknown = {name: failure for name, failure in causes.items() if name not in self._by_fingerprint}
        if unknown:
            self._create(unknown)
        self._read_relatives()

    def incident_of(self, failure: Failure) -> Incident:
        """Return the incident that has the failure. It may be merged into another incident."""
        fingerprint = failure.cause.fingerprint()
        incident = self._by_fingerprint[self._others.get(fingerprint, fingerprint)]
        passed = {incident.id}
        while (split := self._split_of(incident, failure.message, passed)) is not None:
            incident = split
            passed.add(split.id)
        return incident

    def shown(self, incident: Incident) -> Incident:
        """Return the incident that shows the failures of this incident."""
        return incident if incident.merged_into_id is None else self._by_id[incident.merged_into_id]

    def known(self) -> list[Incident]:
        return list(self._by_id.values())

    def counted_origins(self, failures: Sequence[Failure]) -> set[tuple[uuid.UUID, uuid.UUID]]:
        """Return the pairs of shown incident and origin that are counted already."""
        shown_by = {incident.id: self.shown(incident).id for incident in self._by_id.values()}
        origins = {failure.origin_id for failure in failures}
        rows = IncidentFailure.objects.filter(
            tenant_id=self.cursor.tenant_id, origin_id__in=origins, is_counted=True
        ).values_list("incident_id", "incident__merged_into_id", "origin_id")
        return {(shown_by.get(incident, merged or incident), origin) for incident, merged, origin in rows}

    def _split_of(self, incident: Incident, message: str, passed: set[uuid.UUID]) -> Incident | None:
        candidates = self._splits.get(incident.id, [])
        if incident.merged_into_id is not None:
            candidates = [*candidates, *self._splits.get(incident.merged_into_id, [])]
        return next((split for split in candidates if split.split_text in message and split.id not in passed), None)

    def _read_relatives(self) -> None:
        """Read the splits of the incidents, and the incidents into which they are merged, until all are known."""
        seen: set[uuid.UUID] = set()
        while unread := self._by_id.keys() - seen:
            seen |= unread
            missing = {incident.merged_into_id for incident in self._by_id.values()} - self._by_id.keys() - {None}
            if missing:
                self._read(id__in=missing)
            for split in self._read(split_from_id__in=unread):
                assert split.split_from_id is not None
                self._splits.setdefault(split.split_from_id, []).append(split)

    def _read(self, **which: object) -> list[Incident]:
        rows = Incident.objects.select_for_update(no_key=True).filter(tenant_id=self.cursor.tenant_id, **which)
        return [self._by_id.setdefault(row.id, row) for row in rows.order_by("number")]

    def _create(self, unknown: dict[str, Failure]) -> None:
        """Create an incident for each cause, or choose the incident of other messages if the limit is reached."""
        counts = self._counts({failure.definition_id for failure in unknown.values()})
        own: dict[str, Failure] = {}
        rest: dict[str, Failure] = {}
        for fingerprint, failure in unknown.items():
            place = _place(failure.cause)
            if counts[place] < MOST_MESSAGES:
                counts[place] += 1
                own[fingerprint] = failure
            else:
                self._others[fingerprint] = others_fingerprint(failure.cause)
                rest.setdefault(self._others[fingerprint], failure)
        for incident in self._read(fingerprint__in=rest) if rest else []:
            self._by_fingerprint[incident.fingerprint] = incident
        new = [self._new(fingerprint, failure) for fingerprint, failure in own.items()]
        new += [
            self._new(fingerprint, failure, is_others=True)
            for fingerprint, failure in rest.items()
            if fingerprint not in self._by_fingerprint
        ]
        Incident.objects.bulk_create(new)
        for incident in new:
            self._by_fingerprint[incident.fingerprint] = self._by_id[incident.id] = incident

    def _counts(self, definitions: set[uuid.UUID]) -> Counter[Place]:
        """Return the number of incidents that count for MOST_MESSAGES by definition, step, category and code."""
        known = (
            Incident.objects.filter(
                tenant_id=self.cursor.tenant_id, definition_id__in=definitions, split_from__isnull=True
            )
            .exclude(message=Incident.OTHER_MESSAGES)
            .exclude(state__in=[IncidentState.RESOLVED, IncidentState.CLOSED])
        )
        rows: Any = known.order_by().values_list("definition_id", "step_id", "error_category", "error_code")
        return Counter({(str(row[0]), *row[1:-1]): row[-1] for row in rows.annotate(Count("id"))})

    def _new(self, fingerprint: str, failure: Failure, *, is_others: bool = False) -> Incident:
        cause = failure.cause
        return Incident(
            tenant_id=self.cursor.tenant_id,
            number=next_number(self.cursor),
            definition_id=failure.definition_id,
            fingerprint=fingerprint,
            step_id=cause.step_id[:200],
            error_category=cause.category,
            error_code=cause.code,
            message=Incident.OTHER_MESSAGES if is_others else cause.message,
            state_since=failure.failed_at,
            first_failed_at=failure.failed_at,
            last_failed_at=failure.failed_at,
        )


def _place(cause: Cause) -> Place:
    return cause.definition_id, cause.step_id[:200], cause.category, cause.code
