"""Calls to Temporal about schedules (docs/reference/schedules.md#schedules-in-temporal).

Only schedules whose id has the portal's prefix belong to the portal. The overlap policy, the catch-up window and the
time zone are always sent, so no default of the server applies.

The overlap policy in Temporal is always ALLOW_ALL. It applies to the workflow that Temporal starts, which ends at once.
The author's overlap policy applies to runs (`workflows.services.schedules.fire`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payloads, WorkflowType
from temporalio.api.enums.v1 import ScheduleOverlapPolicy, TaskQueueKind
from temporalio.api.schedule.v1 import (
    Range,
    Schedule,
    ScheduleAction,
    SchedulePolicies,
    ScheduleSpec,
    ScheduleState,
    StructuredCalendarSpec,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    ListScheduleMatchingTimesRequest,
    ListSchedulesRequest,
    UpdateScheduleRequest,
)
from temporalio.client import Client

from workflows.engine.cron import Cron, CronRange
from workflows.temporal import contracts
from workflows.temporal.codec import PayloadDamaged, PayloadKeyUnknown
from workflows.temporal.connection import call_repeatable, encoded, timeout
from workflows.temporal.gateway import TemporalAlreadyStarted, TemporalNotFound

PREFIX = "pointsman-schedule-"
# Temporal appends the scheduled time to this id. So each occurrence has a workflow id of its own.
OCCURRENCE_PREFIX = "pointsman-occurrence-"
PAGE = 500
_EVERY_WEEKDAY, _AT_ZERO = (CronRange(0, 6),), (CronRange(0, 0),)


@dataclass(frozen=True)
class WantedSchedule:
    """State that Temporal must have for one schedule. Either `cron` or `run_at` is set."""

    id: str
    target: contracts.ScheduleTarget
    cron: Cron | None
    cron_text: str
    run_at: datetime | None
    time_zone: str
    catch_up_seconds: int
    is_paused: bool
    note: str


@dataclass(frozen=True)
class SeenSchedule:
    """State that Temporal has. `recent` holds the scheduled times of the last occurrences that Temporal started."""

    description: DescribeScheduleResponse
    target: contracts.ScheduleTarget | None
    next_times: list[datetime]
    recent: list[datetime]
    missed: int


def describe_schedule(schedule_id: str) -> SeenSchedule | None:
    """Return the schedule as Temporal has it, or None if Temporal does not have it. Errors: TemporalError."""

    async def work(client: Client) -> SeenSchedule:
        response = await client.workflow_service.describe_schedule(
            DescribeScheduleRequest(namespace=client.namespace, schedule_id=schedule_id), timeout=timeout()
        )
        return SeenSchedule(
            description=response,
            target=await _target(client, response.schedule.action.start_workflow.input),
            next_times=[_datetime(moment) for moment in response.info.future_action_times],
            recent=[_datetime(action.schedule_time) for action in response.info.recent_actions],
            missed=response.info.missed_catchup_window,
        )

    try:
        return call_repeatable(work)
    except TemporalNotFound:
        return None


def schedule_differences(wanted: WantedSchedule, seen: SeenSchedule) -> list[str]:
    """Return what Temporal must change, as words for people. An empty list means that the schedule is as wanted."""
    has, needs = seen.description.schedule, _schedule(wanted)
    action, needed_action = NewWorkflowExecutionInfo(), needs.action.start_workflow
    action.CopyFrom(has.action.start_workflow)
    action.ClearField("input")
    action.ClearField("priority")  # the server adds an empty one
    found = {
        "its times": has.spec != needs.spec,
        "its workflow": action != needed_action or seen.target != wanted.target,
        "its policies": has.policies != needs.policies,
        "its pause": has.state.paused != needs.state.paused,
        "its note or its limit of actions": has.state != needs.state and has.state.paused == needs.state.paused,
    }
    return [words for words, differs in found.items() if differs]


def create_schedule(wanted: WantedSchedule, *, request_id: str) -> None:
    """Create the schedule. If Temporal has it already, nothing is changed. Errors: TemporalError."""

    async def work(client: Client) -> None:
        await client.workflow_service.create_schedule(
            CreateScheduleRequest(
                namespace=client.namespace,
                schedule_id=wanted.id,
                schedule=await _encoded_schedule(client, wanted),
                identity=client.identity,
                request_id=request_id,
            ),
            timeout=timeout(),
        )

    try:
        call_repeatable(work)
    except TemporalAlreadyStarted:
        return


def update_schedule(wanted: WantedSchedule, seen: SeenSchedule, *, request_id: str) -> None:
    """Change the schedule to the wanted state.

    If the schedule was changed since `seen`, Temporal drops the update without an error. So the caller must describe
    the schedule again.
    Errors: TemporalError.
    """

    async def work(client: Client) -> None:
        await client.workflow_service.update_schedule(
            UpdateScheduleRequest(
                namespace=client.namespace,
                schedule_id=wanted.id,
                schedule=await _encoded_schedule(client, wanted),
                conflict_token=seen.description.conflict_token,
                identity=client.identity,
                request_id=request_id,
            ),
            timeout=timeout(),
        )

    call_repeatable(work)


def delete_schedule(schedule_id: str) -> None:
    """Delete the schedule. It is no error if Temporal does not have it. Errors: TemporalError."""

    async def work(client: Client) -> None:
        await client.workflow_service.delete_schedule(
            DeleteScheduleRequest(namespace=client.namespace, schedule_id=schedule_id, identity=client.identity),
            timeout=timeout(),
        )

    try:
        call_repeatable(work)
    except TemporalNotFound:
        return


def schedule_times(schedule_id: str, *, after: datetime, until: datetime) -> list[datetime]:
    """Return Temporal's own times of a schedule after the first moment and up to the second one.

    Errors: TemporalError; TemporalNotFound if Temporal does not have the schedule.
    """

    async def work(client: Client) -> list[datetime]:
        response = await client.workflow_service.list_schedule_matching_times(
            ListScheduleMatchingTimesRequest(
                namespace=client.namespace,
                schedule_id=schedule_id,
                start_time=_timestamp(after),
                end_time=_timestamp(until),
            ),
            timeout=timeout(),
        )
        return [_datetime(moment) for moment in response.start_time]

    return call_repeatable(work)


def list_schedule_ids() -> Iterator[str]:
    """Yield the ids of Temporal's schedules that have the portal's prefix. Errors: TemporalError."""
    token = b""
    while True:
        ids, token = _ids(token)
        yield from (found for found in ids if found.startswith(PREFIX))
        if not token:
            return


def _ids(token: bytes) -> tuple[list[str], bytes]:
    async def work(client: Client) -> tuple[list[str], bytes]:
        response = await client.workflow_service.list_schedules(
            ListSchedulesRequest(namespace=client.namespace, maximum_page_size=PAGE, next_page_token=token),
            timeout=timeout(),
        )
        return [entry.schedule_id for entry in response.schedules], response.next_page_token

    return call_repeatable(work)


# -- The schedule in Temporal's form -----------------------------------------------------------------------------------


async def _encoded_schedule(client: Client, wanted: WantedSchedule) -> Schedule:
    schedule = _schedule(wanted)
    schedule.action.start_workflow.input.CopyFrom(await encoded(client, wanted.target))
    return schedule


def _schedule(wanted: WantedSchedule) -> Schedule:
    """Return the schedule without the input of its workflow, in the canonical form in which Temporal returns it."""
    action = NewWorkflowExecutionInfo(
        workflow_id=f"{OCCURRENCE_PREFIX}{wanted.target.schedule_id}",
        workflow_type=WorkflowType(name=contracts.SCHEDULE_WORKFLOW),
        task_queue=TaskQueue(name=settings.TEMPORAL_TASK_QUEUE, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
    )
    catch_up = Duration()
    catch_up.FromTimedelta(timedelta(seconds=wanted.catch_up_seconds))
    return Schedule(
        spec=schedule_spec(wanted),
        action=ScheduleAction(start_workflow=action),
        policies=SchedulePolicies(
            overlap_policy=ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, catchup_window=catch_up
        ),
        state=ScheduleState(paused=wanted.is_paused, notes=wanted.note),
    )


def schedule_spec(wanted: WantedSchedule) -> ScheduleSpec:
    """Return the times of a schedule as Temporal's calendar. A single time is a calendar with its year, in UTC."""
    cron, at = wanted.cron, wanted.run_at
    if cron is not None:
        spec = StructuredCalendarSpec(
            second=_ranges(_AT_ZERO),
            minute=_ranges(cron.minute),
            hour=_ranges(cron.hour),
            day_of_month=_ranges(cron.day),
            month=_ranges(cron.month),
            day_of_week=_ranges(cron.weekday),
            comment=wanted.cron_text,
        )
        return ScheduleSpec(structured_calendar=[spec], timezone_name=wanted.time_zone)
    if at is None:
        raise ValueError("a schedule has a cron expression or a time, but this one has neither")
    at = at.astimezone(UTC)
    spec = StructuredCalendarSpec(
        second=_only(at.second),
        minute=_only(at.minute),
        hour=_only(at.hour),
        day_of_month=_only(at.day),
        month=_only(at.month),
        year=_only(at.year),
        day_of_week=_ranges(_EVERY_WEEKDAY),
    )
    return ScheduleSpec(structured_calendar=[spec], timezone_name="UTC")


def _only(value: int) -> list[Range]:
    return _ranges((CronRange(value, value),))


def _ranges(ranges: tuple[CronRange, ...]) -> list[Range]:
    return [Range(start=each.start, end=each.end, step=each.step) for each in ranges]


async def _target(client: Client, payloads: Payloads) -> contracts.ScheduleTarget | None:
    """Return the input of the workflow. Return None if it is unreadable, for example after an edit in Temporal."""
    try:
        (target,) = await client.data_converter.decode(payloads.payloads, [contracts.ScheduleTarget])
    except (PayloadKeyUnknown, PayloadDamaged, ValueError, TypeError, RuntimeError):
        return None
    return target if isinstance(target, contracts.ScheduleTarget) else None


def _datetime(moment: Timestamp) -> datetime:
    return moment.ToDatetime(tzinfo=UTC)


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
