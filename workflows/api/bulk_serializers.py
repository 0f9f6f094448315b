"""Serializers of bulk jobs and of their items."""

from typing import Any

from django.conf import settings
from rest_framework import serializers

from workflows.models import BulkItem, BulkJob
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.preview_facts import preview_facts
from workflows.services.bulk.results import bulk_outcomes, item_outcome_of
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import bulk_counts, bulk_pause_reason, bulk_split
from workflows.services.runs.replay_checks import replay_facts_of_job
from workflows.statuses import BulkOutcome, BulkState, CommandAction, ReplayVersion


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
    job = serializers.UUIDField(
        required=False, help_text="Id of an earlier replay job, instead of `filters`: its runs are replayed again."
    )
    outcome = serializers.ChoiceField(
        choices=BulkOutcome.choices,
        required=False,
        help_text="Only with `job`: only the runs with this outcome, for example `failed`.",
    )
    version = serializers.ChoiceField(
        choices=ReplayVersion.choices,
        required=False,
        help_text="Version of the new runs of a replay. The default is `pinned`, or the choice of the earlier `job`.",
    )
    allow_another_run = serializers.BooleanField(
        default=False,
        help_text="Replay a run also if another run of its key is open or has succeeded since, or is selected too.",
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
        if sum(name in attrs for name in ("filters", "ids", "job")) != 1:
            raise serializers.ValidationError("Send one of `filters`, `ids`, `job` and `all_runs`.")
        if attrs["action"] != CommandAction.REPLAY and (
            attrs["allow_another_run"] or any(name in attrs for name in ("job", "version"))
        ):
            raise serializers.ValidationError(
                "`job`, `version` and `allow_another_run` are options of a replay. Remove them, or send the action"
                " `replay`."
            )
        if "outcome" in attrs and "job" not in attrs:
            raise serializers.ValidationError("`outcome` selects runs of an earlier job. Send `job` too.")
        return attrs


class BulkStartSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)
    accept_repeats = serializers.BooleanField(
        default=False, help_text="Accept that a replay repeats the effects of the actions in `preview.repeats`."
    )
    leave_out_repeats = serializers.BooleanField(
        default=False, help_text="Leave out the runs whose replay would repeat such an effect."
    )
    first_only = serializers.BooleanField(
        default=False, help_text="Request only the first run, then pause. Resume the job to request the other runs."
    )
    first_run = serializers.UUIDField(
        required=False,
        source="first_run_id",
        help_text="Id of the run that is requested first. The default is the first run of the preview.",
    )


class BulkJobSerializer(serializers.ModelSerializer[BulkJob]):
    requested_by = serializers.CharField(source="actor_name")
    selection_text = serializers.SerializerMethodField(help_text="The selection in words.")

    class Meta:
        model = BulkJob
        fields: tuple[str, ...] = (
            "id", "action", "state", "reason", "selection", "selection_text", "rate_per_second", "total",
            "requested_by", "command", "replay_version", "allows_another_run", "accepts_repeats", "is_first_only",
            "created_at", "started_at", "ended_at",
        )  # fmt: skip

    def get_selection_text(self, job: BulkJob) -> str:
        return selection_in_words(job)


class BulkJobDetailSerializer(BulkJobSerializer):
    counts = serializers.SerializerMethodField(
        help_text="Number of items by the state of their request. The sum is `total`."
    )
    outcomes = serializers.SerializerMethodField(
        help_text="Number of items by outcome: the state of the new run of a replay, or of the run itself."
    )
    preview = serializers.SerializerMethodField(
        help_text="Only before the start: eligible runs in `by_status`, other runs in `ineligible` by error code. A"
        " replay also has `replayed`: runs that were replayed before; `replays`: their replays by status; `repeats`:"
        " actions that are not idempotent, with the number of runs that executed them; `repeating_runs`: number of runs"
        " that executed at least one of them."
    )
    pause_reason = serializers.SerializerMethodField()

    class Meta(BulkJobSerializer.Meta):
        fields = (*BulkJobSerializer.Meta.fields, "counts", "outcomes", "preview", "pause_reason")

    def get_counts(self, job: BulkJob) -> dict[str, int]:
        return bulk_counts(job)

    def get_outcomes(self, job: BulkJob) -> dict[str, int]:
        return bulk_outcomes(job)

    def get_preview(self, job: BulkJob) -> dict[str, Any] | None:
        if job.state != BulkState.PREVIEW:
            return None
        split: dict[str, Any] = {**bulk_split(job)}
        if job.action == CommandAction.REPLAY:
            facts = replay_facts_of_job(job)
            repeats = [{"action": each.action, "runs": each.runs} for each in facts.repeated]
            repeating = preview_facts(job).repeats
            split |= {"replayed": facts.replayed, "replays": facts.replays, "repeats": repeats}
            split |= {"repeating_runs": repeating}
        return split

    def get_pause_reason(self, job: BulkJob) -> str:
        return bulk_pause_reason(job)


class BulkItemSerializer(serializers.ModelSerializer[BulkItem]):
    run = serializers.UUIDField(source="target_id", help_text="Id of the run. Retention may have deleted the run.")
    label = serializers.CharField(source="target_label")  # type: ignore[assignment]
    command_state = serializers.CharField(
        source="command.state", default=None, help_text="State of the command. `observed` means that it took effect."
    )

    outcome = serializers.SerializerMethodField(
        help_text="What became of the run: the state of the new run of a replay, or of the run itself."
    )
    new_run = serializers.SerializerMethodField(help_text="Id of the run that the replay started.")
    new_run_status = serializers.SerializerMethodField(help_text="Present status of the new run.")

    class Meta:
        model = BulkItem
        fields = (
            "position", "run", "label", "status_then", "repeats_effects", "outcome", "state", "code", "message",
            "command", "command_state", "attempts", "decided_at", "new_run", "new_run_status",
        )  # fmt: skip

    def get_outcome(self, item: BulkItem) -> str:
        return str(item_outcome_of(item.job.action, item.state, _status(item)))

    def get_new_run(self, item: BulkItem) -> str | None:
        return str(item.new_run_id) if self.get_new_run_status(item) is not None else None

    def get_new_run_status(self, item: BulkItem) -> str | None:
        return _status(item) if item.job.action == CommandAction.REPLAY else None


def _status(item: BulkItem) -> str | None:
    status: str | None = item.run_status  # type: ignore[attr-defined]
    return status
