"""Serializers of schedules, their occurrences, and holiday calendars (docs/reference/schedules.md#requests)."""

from typing import Any

from rest_framework import serializers

from workflows.actors import Actor
from workflows.models import HolidayCalendar, Schedule, ScheduleOccurrence
from workflows.redaction import redact, rules_of
from workflows.services.schedules.edit import schedule_warnings
from workflows.services.schedules.selectors import NextTimes, result_of, schedule_next_times
from workflows.statuses import ScheduleOverlap


class ScheduleFieldsSerializer(serializers.Serializer[Any]):
    """OpenAPI documentation of the fields of a schedule. The service checks the fields and reports all problems."""

    name = serializers.CharField(max_length=200, required=False)
    run_at = serializers.CharField(
        required=False, allow_null=True, help_text="ISO 8601 with a zone. Give either `run_at` or `cron`."
    )
    cron = serializers.CharField(
        required=False, help_text="Cron expression of five fields. Give either `cron` or `run_at`."
    )
    time_zone = serializers.CharField(required=False, default="UTC", help_text="IANA name.")
    payload = serializers.JSONField(required=False, help_text="Payload of the runs. Expressions see `schedule`.")
    overlap = serializers.ChoiceField(choices=ScheduleOverlap.choices, required=False)
    catch_up_seconds = serializers.IntegerField(required=False, default=3600)
    only_business_days = serializers.BooleanField(required=False, default=False)
    calendar = serializers.CharField(required=False, allow_blank=True, help_text="Name of a holiday calendar.")


class NewScheduleSerializer(ScheduleFieldsSerializer):
    definition = serializers.CharField(max_length=200, help_text="Key of the definition.")
    name = serializers.CharField(max_length=200)


class NextTimeSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField(help_text="In UTC.")
    local = serializers.SerializerMethodField(help_text="The same moment in the time zone of the schedule.")
    clock_change = serializers.CharField(help_text="A sentence if the clocks change before this time, or empty.")
    closed = serializers.CharField(help_text="Why no run will start at this time, or empty.")

    def get_local(self, found: Any) -> str:
        return str(found.local.isoformat())


class NextTimesSerializer(serializers.Serializer[Any]):
    next_times = NextTimeSerializer(many=True, source="times")
    times_from = serializers.CharField(
        source="source", help_text="`temporal`, or `portal` if the portal computed them."
    )
    warnings = serializers.ListField(child=serializers.CharField(), required=False)


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    definition = serializers.CharField(source="definition.key")
    calendar = serializers.CharField(source="calendar.name", default="")

    class Meta:
        model = Schedule
        fields: tuple[str, ...] = (
            "id", "definition", "name", "origin", "kind", "run_at", "cron", "time_zone", "overlap", "catch_up_seconds",
            "only_business_days", "calendar", "is_paused", "paused_reason", "next_run_at", "last_run_at",
            "last_error", "sync_error", "drift", "missed_catch_up", "last_synced_at", "temporal_schedule_id",
            "created_at", "updated_at",
        )  # fmt: skip


class ScheduleDetailSerializer(ScheduleSerializer):
    payload = serializers.JSONField(help_text="Null if the caller may not see payloads.")
    next_times = NextTimeSerializer(many=True)
    times_from = serializers.CharField()
    warnings = serializers.ListField(child=serializers.CharField())

    class Meta(ScheduleSerializer.Meta):
        fields = (*ScheduleSerializer.Meta.fields, "payload", "next_times", "times_from", "warnings")

    def to_representation(self, schedule: Schedule) -> dict[str, Any]:
        found: NextTimes = schedule_next_times(schedule)
        actor: Actor = self.context["actor"]
        is_shown = actor.sees_payloads
        return {
            **ScheduleSerializer(schedule).data,
            "payload": redact(schedule.payload, rules_of(actor.tenant_id), "/payload") if is_shown else None,
            **NextTimesSerializer(found).data,
            "warnings": schedule_warnings(schedule),
        }


class OccurrenceSerializer(serializers.ModelSerializer[ScheduleOccurrence]):
    event_id = serializers.CharField(source="event.event_id", default=None)
    state = serializers.SerializerMethodField(
        help_text="Status of the run. Before the run starts: status of the delivery."
    )
    run_id = serializers.SerializerMethodField()

    class Meta:
        model = ScheduleOccurrence
        fields = (
            "id", "scheduled_at", "fired_at", "cause", "status", "code", "reason", "state", "run_id", "event_id",
            "requested_by",
        )  # fmt: skip

    def get_state(self, occurrence: ScheduleOccurrence) -> str:
        return str(result_of(occurrence)["state"])

    def get_run_id(self, occurrence: ScheduleOccurrence) -> str | None:
        run = result_of(occurrence)["run"]
        return None if run is None else str(run.id)


class BackfillRequestSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField(help_text="First time, included.")
    end = serializers.DateTimeField(help_text="Last time, included. It must be in the past.")
    overlap = serializers.ChoiceField(choices=ScheduleOverlap.choices, default=ScheduleOverlap.BUFFER_ALL.value)
    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)
    dry_run = serializers.BooleanField(default=False, help_text="Only count the times. Nothing is written.")


class BackfillSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    starts = serializers.IntegerField(help_text="Occurrences that start a run.")
    skipped = serializers.IntegerField(help_text="Occurrences on closed days.")
    failed = serializers.IntegerField(help_text="Occurrences whose payload is invalid.")
    recorded = serializers.IntegerField(help_text="Times that had an occurrence already; they are not started again.")
    times = serializers.ListField(child=serializers.DateTimeField(), help_text="The first ten times that start a run.")


class CalendarFieldsSerializer(serializers.Serializer[Any]):
    """OpenAPI documentation of a holiday calendar. The service checks the fields and reports all problems."""

    name = serializers.CharField(max_length=100)
    weekend = serializers.ListField(child=serializers.IntegerField(), required=False, default=[6, 7])
    holidays = serializers.DictField(
        child=serializers.CharField(), required=False, default={}, help_text="`{YYYY-MM-DD: name}`"
    )


class CalendarSerializer(serializers.ModelSerializer[HolidayCalendar]):
    class Meta:
        model = HolidayCalendar
        fields = ("id", "name", "weekend", "holidays", "created_at", "updated_at")
