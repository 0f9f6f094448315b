"""Inbound events, their correlation keys, and their deliveries (docs/reference/events.md).

A delivery is one event for one target.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.event_decisions import buffer_over_text, shown_outcome
from workflows.models.fields import FoldedField, OrderedJSONField, TenantRow, reversed_field
from workflows.statuses import CorrelationStatus, DeliveryKind, DeliveryStatus, EventOutcome, EventSource, OutcomeCode


class Event(TenantRow):
    """Inbound business event as it was received. It is stored before any other processing."""

    event_id = models.CharField(max_length=200)
    occupies_id = models.BooleanField(
        default=True,
        help_text="False if the event was rejected or conflicts. The row does not occupy its id.",
    )
    event_type = models.CharField(max_length=200)
    payload = OrderedJSONField(default=dict)
    body_hash = models.CharField(max_length=64)
    payload_schema_ref = models.CharField(max_length=200, blank=True)
    workflow_correlation_key = models.CharField(max_length=1000, blank=True, help_text="Key that the sender gave.")
    attributes = models.JSONField(
        default=dict,
        blank=True,
        help_text="Further attributes of a CloudEvents envelope, which the portal does not use.",
    )
    source = models.CharField(max_length=20, choices=EventSource.choices)
    sender = models.CharField(max_length=200, blank=True, help_text="Name of the user, token or process that sent it.")
    sender_type = models.CharField(max_length=20, default="system", help_text="user, token or system.")
    sender_id = models.CharField(max_length=64, blank=True)
    sender_role = models.CharField(max_length=20, blank=True, help_text="Role of a user or token at acceptance.")
    occurred_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField(default=timezone.now)
    correlation_status = models.CharField(max_length=20, choices=CorrelationStatus.choices)
    correlation_reason = models.CharField(max_length=500, blank=True)
    correlation_key = models.CharField(max_length=1000, blank=True)
    correlation_key_folded = FoldedField(source="correlation_key")
    correlation_key_reversed = reversed_field("correlation_key_folded")
    correlation_keys = models.JSONField(default=list)
    correlation_trace = models.JSONField(default=list, help_text="Each path that was tried, with the key found there.")
    outcome = models.CharField(max_length=20, choices=EventOutcome.choices, default=EventOutcome.RECEIVED)
    outcome_code = models.CharField(max_length=20, choices=OutcomeCode.choices, default=OutcomeCode.NOT_ROUTED)
    outcome_reason = models.CharField(max_length=500, blank=True, help_text="Sentence of the code (event_decisions).")
    decision_trace = models.JSONField(default=dict, help_text="Result of routing: waits, near misses and triggers.")
    buffered_until = models.DateTimeField(null=True, blank=True)
    check_again_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Time of the next check of a buffered event that can still be taken after its buffer time.",
    )
    can_be_taken_by = models.JSONField(
        null=True, blank=True, help_text="Start or wait that can still take the event after its buffer time."
    )
    route_at = models.DateTimeField(
        default=timezone.now, help_text="Earliest time of the next routing attempt. An error moves it later."
    )
    routed_at = models.DateTimeField(null=True, blank=True)
    routing_attempts = models.PositiveIntegerField(default=0)
    conflict_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="conflicts")

    class Meta:
        db_table = "workflow_runtime_events"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "event_id"], condition=Q(occupies_id=True), name="workflow_runtime_events_once"
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-received_at"], include=["outcome"], name="workflow_events_newest"),
            models.Index(fields=["tenant", "outcome", "-received_at"], name="workflow_events_by_outcome"),
            models.Index(fields=["tenant", "event_type", "-received_at"], name="workflow_events_by_type"),
            models.Index(
                fields=["tenant", "route_at"], condition=Q(routed_at__isnull=True), name="workflow_events_unrouted"
            ),
            # The next three indexes are for the search of the event list.
            models.Index(fields=["tenant", "correlation_key_folded"], name="workflow_events_by_folded_key"),
            models.Index(fields=["tenant", "correlation_key_reversed"], name="workflow_events_by_key_end"),
            models.Index(
                fields=["tenant", "event_id"], condition=Q(occupies_id=False), name="workflow_events_refused_ids"
            ),
            # The index does not begin with the tenant, because the sweep searches the rows of all tenants.
            models.Index(fields=["buffered_until"], condition=Q(outcome="buffered"), name="workflow_events_buffered"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"

    @property
    def is_buffered(self) -> bool:
        """Return True if a run can still take the event: its buffer time runs, or the sweep has found a taker."""
        return any(until is not None and timezone.now() < until for until in (self.buffered_until, self.check_again_at))

    @property
    def shown_outcome(self) -> EventOutcome:
        """Return the outcome for screens and the API. `outcome` stays BUFFERED until the sweep decides."""
        return shown_outcome(self.outcome, self.buffered_until)

    @property
    def shown_reason(self) -> str:
        """Return the sentence of the decision for screens and the API."""
        if self.shown_outcome != EventOutcome.BUFFER_OVER:
            return self.outcome_reason
        return f"{self.outcome_reason} {buffer_over_text(self.can_be_taken_by if self.is_buffered else None)}"


class EventKey(TenantRow):
    """One correlation key of one event. The lookback of a wait finds this row by its key, with an index."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="keys")
    event_type = models.CharField(max_length=200)
    key = models.CharField(max_length=1000)
    position = models.PositiveSmallIntegerField(default=0)
    received_at = models.DateTimeField()

    class Meta:
        db_table = "workflow_event_keys"
        constraints = [models.UniqueConstraint(fields=["tenant", "event", "key"], name="workflow_event_keys_once")]
        indexes = [
            models.Index(fields=["tenant", "event_type", "key", "received_at"], name="workflow_event_keys_lookup"),
            models.Index(fields=["tenant", "key"], name="workflow_event_keys_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.key}"


class EventDelivery(TenantRow):
    """One event for one target: a wait or a trigger. It has its own status, attempts and reason."""

    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    kind = models.CharField(max_length=20, choices=DeliveryKind.choices)
    wait = models.ForeignKey(
        "workflows.RunWait", null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries"
    )
    run = models.ForeignKey("workflows.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries")
    definition = models.ForeignKey(
        "workflows.Definition", null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries"
    )
    definition_version = models.ForeignKey(
        "workflows.DefinitionVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    correlation_key = models.CharField(max_length=1000, blank=True)
    status = models.CharField(max_length=20, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    reason = models.CharField(max_length=500, blank=True)
    mismatch = models.JSONField(
        null=True, blank=True, help_text="Filter that did not hold: code, path, op, value. Shown instead of the reason."
    )
    concurrency_key = models.CharField(
        max_length=1000, blank=True, help_text="Concurrency key of the run that this delivery starts."
    )
    held_since = models.DateTimeField(
        null=True, blank=True, help_text="Time since which the start waits for a slot under the concurrency limit."
    )
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(
        default=0, help_text="Number of attempts that count towards the attempt limit."
    )
    attempt_log = models.JSONField(default=list, help_text="Newest attempts, each with its time, outcome and error.")
    next_attempt_at = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_event_deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "event", "wait"],
                condition=Q(wait__isnull=False),
                name="workflow_deliveries_once_per_wait",
            ),
            models.UniqueConstraint(
                fields=["tenant", "event", "definition"],
                condition=Q(kind="trigger"),
                name="workflow_deliveries_once_per_trigger",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "next_attempt_at"], condition=Q(status="pending"), name="workflow_deliveries_due"
            ),
            models.Index(
                fields=["tenant", "claimed_until"],
                condition=Q(claimed_until__isnull=False),
                name="workflow_deliveries_claimed",
            ),
            models.Index(
                fields=["tenant", "definition", "held_since"],
                condition=Q(held_since__isnull=False),
                name="workflow_deliveries_held",
            ),
            models.Index(fields=["tenant", "status", "-created_at"], name="workflow_deliveries_by_status"),
            models.Index(fields=["tenant", "run"], name="workflow_deliveries_of_run", condition=Q(run__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.status}"


class OutboxEvent(TenantRow):
    """Event that a Django app wrote in its own transaction.

    The relay passes it to the intake and then deletes this row.
    """

    envelope = OrderedJSONField(help_text="Envelope in the format of the REST entry point, with a new event id.")
    sender = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    refused_at = models.DateTimeField(
        null=True, blank=True, help_text="Time at which the intake refused the event permanently. See the reason."
    )
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "workflow_event_outbox"
        indexes = [
            models.Index(
                fields=["tenant", "next_attempt_at"],
                condition=Q(refused_at__isnull=True),
                name="workflow_event_outbox_due",
            ),
            models.Index(
                fields=["tenant", "-refused_at"],
                condition=Q(refused_at__isnull=False),
                name="workflow_event_outbox_refused",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.envelope.get('event_type')} {self.envelope.get('event_id')}"
