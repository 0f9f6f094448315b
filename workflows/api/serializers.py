"""Serializers of runs, tasks and commands (docs/reference/api.md#scope).

Names of the API's own fields are in snake_case. Objects of the workflow language are returned unchanged.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from workflows.actors import Actor
from workflows.api.list_values import take_short_values
from workflows.models import ActionInvocation, Command, HumanTask, Run, RunHold, RunLog, RunStep, RunWait
from workflows.redaction import Rules, compiled, redact, redact_filters, redact_output, redact_task, rules_of
from workflows.statuses import ReplayVersion


class PayloadHidingSerializer(serializers.ModelSerializer[Any]):
    # Payloads are limited to what the caller may see (docs/reference/administration.md#tenants-and-roles). This is a
    # comment, because OpenAPI would take a docstring as the description of each serializer.
    # - Actors who may not see payloads do not get `payload_fields` and the details of errors. Details of errors can
    #   contain the response of a target.
    # - For other actors, these fields and `redacted_fields` are redacted.
    # - If the redaction pointer of a field is not the name of the field, `payload_at` has the pointer.

    payload_fields: tuple[str, ...] = ()
    redacted_fields: tuple[str, ...] = ()
    # Payloads of related rows that the redaction reads.
    related_payloads: tuple[str, ...] = ()
    payload_at: Mapping[str, str] = {}

    def to_representation(self, instance: Any) -> dict[str, Any]:
        omitted = take_short_values(instance, (*self.payload_fields, *self.related_payloads))
        shown: dict[str, Any] = super().to_representation(instance)
        request = self.context.get("request")
        actor: Actor | None = getattr(request, "auth", None)
        if actor is not None and not actor.sees_payloads:
            for name in self.payload_fields:
                shown.pop(name, None)
            if isinstance(shown.get("error"), dict):
                shown["error"] = {name: value for name, value in shown["error"].items() if name != "details"}
        rules = request_rules(request, actor)
        for name in (*self.payload_fields, *self.redacted_fields, "error"):
            if shown.get(name) is not None:
                shown[name] = self.redacted(instance, name, shown[name], rules)
        left_out = [name for name in omitted if name in shown]
        if left_out:
            shown["values_omitted"] = left_out  # too long for a list; the URL of the row returns them
        return shown

    def redacted(self, _instance: Any, name: str, value: Any, rules: Rules) -> Any:
        return redact(value, rules, at=self.payload_at.get(name, f"/{name}"))


def request_rules(request: Any, actor: Actor | None) -> Rules:
    """Return the redaction rules of the caller's tenant.

    Cost: one query for each request.
    """
    if actor is None:
        return compiled()
    rules: Rules | None = getattr(request, "redaction_rules", None)
    if rules is None:
        rules = request.redaction_rules = rules_of(actor.tenant_id)
    return rules


class RunWaitSerializer(PayloadHidingSerializer):
    payload_fields = ("filters",)

    def redacted(self, instance: Any, name: str, value: Any, rules: Rules) -> Any:
        return redact_filters(value, rules) if name == "filters" else super().redacted(instance, name, value, rules)

    event_id = serializers.CharField(
        source="event.event_id", default=None, help_text="Id of the event that resolved the wait."
    )

    class Meta:
        model = RunWait
        fields = (
            "id", "run", "kind", "status", "step_path", "step_id", "iteration", "event_name", "correlation_key",
            "filters", "opened_at", "deadline_at", "resolved_at", "event_id", "projected_at",
        )  # fmt: skip


RUN_FIELDS = (
    "id", "definition", "version", "definition_hash", "semantics_version", "engine", "status", "state", "trigger_type",
    "trigger_metadata", "event_id", "correlation_key", "parent_run", "root_run", "replay_of", "temporal_workflow_id",
    "temporal_first_run_id", "projection_epoch", "projection_seq", "projected_at", "projection_age_seconds",
    "drift_reason", "drift_found_at", "stuck_since", "stuck_attempts", "stuck_cause", "current_step_path", "error",
    "error_category", "error_code", "step_count", "failed_step_count", "event_count", "cancel_requested",
    "requested_by", "is_queued", "input", "output", "created_at", "started_at", "ended_at",
)  # fmt: skip


class RunSerializer(PayloadHidingSerializer):
    payload_fields = ("input", "output")
    redacted_fields = ("trigger_metadata",)
    payload_at = {"input": "/payload"}

    def redacted(self, instance: Any, name: str, value: Any, rules: Rules) -> Any:
        return redact_output(value, rules) if name == "output" else super().redacted(instance, name, value, rules)

    definition = serializers.CharField(source="definition_key")
    event_id = serializers.CharField(
        source="event.event_id", default=None, help_text="Id of the event that started the run."
    )
    cancel_requested = serializers.SerializerMethodField()
    is_queued = serializers.SerializerMethodField(
        help_text="True if the start waits for the end of a run with the same concurrency key."
    )
    projection_age_seconds = serializers.SerializerMethodField(
        help_text="Seconds since the run was last written from Temporal or compared with it. Null for a closed run."
    )

    class Meta:
        model = Run
        fields: tuple[str, ...] = RUN_FIELDS

    def get_cancel_requested(self, run: Run) -> bool:
        return bool(getattr(run, "has_open_cancel", False))

    def get_is_queued(self, run: Run) -> bool:
        return run.queued_until is not None

    def get_projection_age_seconds(self, run: Run) -> float | None:
        return run.projection_age_seconds()


def hold_as_json(hold: RunHold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    return {"reason": hold.reason, "held_by": hold.held_by_name, "held_at": hold.held_at}


class HoldSerializer(serializers.Serializer[Any]):
    run_id = serializers.UUIDField()
    legal_hold = serializers.DictField(
        allow_null=True, help_text="`reason`, `held_by` and `held_at`. Null if the run has no hold."
    )


class RunDetailSerializer(RunSerializer):
    waiting_on = serializers.SerializerMethodField(help_text="Open waits of the run.")
    legal_hold = serializers.SerializerMethodField(help_text="Legal hold: `{reason, held_by, held_at}`, or null.")

    class Meta(RunSerializer.Meta):
        fields = (*RUN_FIELDS, "waiting_on", "legal_hold")

    def get_legal_hold(self, run: Run) -> dict[str, Any] | None:
        return hold_as_json(run.holds.filter(tenant_id=run.tenant_id).first())

    def get_waiting_on(self, run: Run) -> list[dict[str, Any]]:
        waits = run.waits.filter(status="WAITING").select_related("event").order_by("opened_at")
        return list(RunWaitSerializer(waits, many=True, context=self.context).data)


class RunStepSerializer(PayloadHidingSerializer):
    payload_fields = ("input", "output")

    class Meta:
        model = RunStep
        fields = (
            "id", "run", "step_path", "iteration", "attempt", "step_id", "step_type", "name", "status", "branch",
            "action_id", "action_version", "input", "output", "error", "child_run", "started_at", "ended_at",
            "next_attempt_at", "projection_seq", "projected_at",
        )  # fmt: skip


class RunLogSerializer(PayloadHidingSerializer):
    class Meta:
        model = RunLog
        fields = ("id", "run", "at", "level", "step_path", "iteration", "message", "error", "projection_seq")


class InvocationSerializer(PayloadHidingSerializer):
    payload_fields = ("input", "output")

    class Meta:
        model = ActionInvocation
        fields = (
            "id", "run", "step_path", "iteration", "action_id", "action_version", "idempotency_key", "status",
            "executions", "input", "output", "error", "started_at", "ended_at",
        )  # fmt: skip


class TaskSerializer(PayloadHidingSerializer):
    payload_fields = ("context_data", "response")
    payload_at = {"context_data": "/contextData"}
    claimed_by = serializers.CharField(source="claimed_by.username", default=None)
    completed_by = serializers.CharField(source="completed_by_name")

    def redacted(self, instance: Any, name: str, value: Any, rules: Rules) -> Any:
        at = self.payload_at.get(name, f"/{name}")
        return redact_task(instance, value, rules, at) if name in self.payload_fields else redact(value, rules, at)

    class Meta:
        model = HumanTask
        fields = (
            "id", "run", "step_path", "step_id", "iteration", "task_type", "title", "description", "context_data",
            "form_schema", "assigned_users", "assigned_roles", "status", "complete_on_event",
            "allow_system_completion", "correlation_key",
            "claimed_by", "claimed_at", "due_at", "completed_by", "completed_at", "response", "created_at",
        )  # fmt: skip


class TaskResponseSerializer(serializers.Serializer[Any]):
    response = serializers.JSONField()
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)


class TaskDraftWriteSerializer(serializers.Serializer[Any]):
    typed = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField(allow_blank=True, trim_whitespace=False)),
        help_text="Lists of texts by the name of the field in the form: `response/amount`, or `response` for JSON.",
    )


class TaskDraftSerializer(TaskDraftWriteSerializer):
    saved_at = serializers.DateTimeField(allow_null=True, help_text="Null if there is no draft.")


class TaskAssignSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)


class CommandSerializer(PayloadHidingSerializer):
    redacted_fields = ("details",)
    payload_at = {"details": ""}
    target = serializers.CharField(source="target_id")
    actor = serializers.CharField(source="actor_name")

    class Meta:
        model = Command
        fields = (
            "id", "action", "target_type", "target", "run", "parent", "actor", "actor_type", "source", "reason",
            "state", "code", "message", "details", "requested_at", "decided_at", "observed_at",
        )  # fmt: skip


class RunStartSerializer(serializers.Serializer[Any]):
    definition = serializers.CharField(max_length=200)
    version = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    payload = serializers.JSONField(default=dict)
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class RunReplaySerializer(serializers.Serializer[Any]):
    payload = serializers.JSONField(default=None, help_text="Absent: the input of the original run.")
    version = serializers.ChoiceField(
        choices=ReplayVersion.choices, default=ReplayVersion.PINNED, help_text="Version of the new run."
    )
    allow_another_run = serializers.BooleanField(
        default=False, help_text="Start also if another run of the key is open or has succeeded since."
    )
    accept_repeats = serializers.BooleanField(
        default=False, help_text="Accept that actions that are not idempotent repeat their effects."
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class CommandRequestSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class AcceptedSerializer(serializers.Serializer[Any]):
    """The command was accepted. When the state of the command is `observed`, it has taken effect."""

    command_id = serializers.UUIDField()
    state = serializers.CharField()
    run_id = serializers.UUIDField()
    warning = serializers.DictField(
        required=False,
        child=serializers.CharField(),
        help_text="`code` and `message`, if the command was accepted but cannot take effect yet.",
    )
