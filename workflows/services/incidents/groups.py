"""Incidents of a batch of failures: find them by fingerprint, or create them.

A later failure with the same fingerprint belongs to the same incident, also after a merge or a split:

- A split of an incident is another incident with a text. Failures whose message contains the text belong to it.
- A merged incident keeps its own failures. The incident into which it was merged shows and counts them too.
"""

import uuid
from collections.abc import Sequence

from workflows.models import Incident, IncidentCursor, IncidentFailure
from workflows.services.incidents.causes import Failure
from workflows.services.incidents.cursor import next_number


class Groups:
    """Incidents of one batch, with locked rows. Call it while the lock on the cursor is held."""

    def __init__(self, cursor: IncidentCursor) -> None:
        self.cursor = cursor
        self._by_fingerprint: dict[str, Incident] = {}
        self._by_id: dict[uuid.UUID, Incident] = {}
        self._splits: dict[uuid.UUID, list[Incident]] = {}

    def find(self, failures: Sequence[Failure]) -> None:
        """Read the incidents of these failures, and create those that are missing.

        Cost: at most four statements for any number of failures, and one for each depth of splits.
        """
        causes = {failure.cause.fingerprint(): failure for failure in failures}
        self._read(fingerprint__in=causes)
        self._by_fingerprint = {incident.fingerprint: incident for incident in self._by_id.values()}
        new = [
            self._new(fingerprint, failure)
            for fingerprint, failure in causes.items()
            if fingerprint not in self._by_fingerprint
        ]
        Incident.objects.bulk_create(new)
        for incident in new:
            self._by_fingerprint[incident.fingerprint] = self._by_id[incident.id] = incident
        self._read_relatives()

    def incident_of(self, failure: Failure) -> Incident:
        """Return the incident that has the failure. It may be merged into another incident."""
        incident = self._by_fingerprint[failure.cause.fingerprint()]
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

    def _new(self, fingerprint: str, failure: Failure) -> Incident:
        cause = failure.cause
        return Incident(
            tenant_id=self.cursor.tenant_id,
            number=next_number(self.cursor),
            definition_id=failure.definition_id,
            fingerprint=fingerprint,
            step_id=cause.step_id[:200],
            error_category=cause.category,
            error_code=cause.code,
            message=cause.message,
            state_since=failure.failed_at,
            first_failed_at=failure.failed_at,
            last_failed_at=failure.failed_at,
        )
