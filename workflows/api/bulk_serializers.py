"""Serializers of bulk jobs and of their items."""

from typing import Any

from django.conf import settings
from rest_framework import serializers

from workflows.models import BulkItem, BulkJob
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import bulk_counts, bulk_pause_reason, bulk_split
from workflows.services.runs.replay_checks import replay_results
from workflows.statuses import BulkState


class BulkRequestSerializer(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=[str(action) for action in BULK_ACTIONS])
    filters = serializers.DictField(
        required=False, help_text="Filters of `GET /runs`. At least one is required, unless `all_runs` is true."
    )
    all_runs = serializers.BooleanField(
        default=False, help_text="Select all runs of the tenant. Only without `filters` and `ids`."
    )
    ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, help_text="Ids of runs, instead of `filters`."
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)
    rate_per_second = serializers.FloatField(
        required=False,
        allow_null=True,
        default=None,
        help_text=f"Runs per second. The default is {settings.BULK_RATE_PER_SECOND:g}.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["all_runs"]:
            attrs.setdefault("filters", {})
        if ("filters" in attrs) == ("ids" in attrs):
            raise serializers.ValidationError("Send one of `filters`, `ids` and `all_runs`.")
        return attrs


class BulkJobSerializer(serializers.ModelSerializer[BulkJob]):
    requested_by = serializers.CharField(source="actor_name")
    selection_text = serializers.SerializerMethodField(help_text="The selection in words.")

    class Meta:
        model = BulkJob
        fields: tuple[str, ...] = (
            "id", "action", "state", "reason", "selection", "selection_text", "rate_per_second", "total",
            "requested_by", "command", "created_at", "started_at", "ended_at",
        )  # fmt: skip

    def get_selection_text(self, job: BulkJob) -> str:
        return selection_in_words(job)


class BulkJobDetailSerializer(BulkJobSerializer):
    counts = serializers.SerializerMethodField(help_text="Number of items by state. The sum is `total`.")
    preview = serializers.SerializerMethodField(
        help_text="Only before the start: eligible runs in `by_status`, other runs in `ineligible` by error code."
    )
    pause_reason = serializers.SerializerMethodField()

    class Meta(BulkJobSerializer.Meta):
        fields = (*BulkJobSerializer.Meta.fields, "counts", "preview", "pause_reason")

    def get_counts(self, job: BulkJob) -> dict[str, int]:
        return bulk_counts(job)

    def get_preview(self, job: BulkJob) -> dict[str, dict[str, int]] | None:
        return bulk_split(job) if job.state == BulkState.PREVIEW else None

    def get_pause_reason(self, job: BulkJob) -> str:
        return bulk_pause_reason(job)


class BulkItemsSerializer(serializers.ListSerializer[Any]):
    """Page of items. The new runs of the whole page are read with one statement."""

    def to_representation(self, data: Any) -> Any:
        items = list(data)
        self.context["new_runs"] = replay_results(items)  # type: ignore[index]
        return super().to_representation(items)


class BulkItemSerializer(serializers.ModelSerializer[BulkItem]):
    run = serializers.UUIDField(source="target_id", help_text="Id of the run. Retention may have deleted the run.")
    label = serializers.CharField(source="target_label")  # type: ignore[assignment]
    command_state = serializers.CharField(
        source="command.state", default=None, help_text="State of the command. `observed` means that it took effect."
    )

    new_run = serializers.SerializerMethodField(help_text="Id of the run that the replay started.")
    new_run_status = serializers.SerializerMethodField(help_text="Present status of the new run.")

    class Meta:
        model = BulkItem
        list_serializer_class = BulkItemsSerializer
        fields = (
            "position", "run", "label", "status_then", "state", "code", "message", "command", "command_state",
            "attempts", "decided_at", "new_run", "new_run_status",
        )  # fmt: skip

    def get_new_run(self, item: BulkItem) -> str | None:
        run = self.context["new_runs"].get(item.id)
        return None if run is None else str(run.id)

    def get_new_run_status(self, item: BulkItem) -> str | None:
        run = self.context["new_runs"].get(item.id)
        return None if run is None else str(run.status)
