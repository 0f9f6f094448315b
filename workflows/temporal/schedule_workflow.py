"""The workflow that a Temporal Schedule starts at each of its times. It asks the portal to start the run.

Rules:

- One activity records the occurrence. The activity is repeated until it succeeds, so no occurrence is lost while the
  database or the workers are down.
- The workflow does not wait for the run. The overlap policy, the concurrency limit and a pause apply to the start of
  the run, which the portal makes as it does for every other trigger.

Source: docs/decisions/0012-schedules.md
"""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from workflows.engine.clock import ms_of_datetime
    from workflows.temporal import contracts, performing

# Temporal sets this attribute on every workflow that a schedule starts.
SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


@workflow.defn(name=contracts.SCHEDULE_WORKFLOW)
class ScheduleWorkflow:
    @workflow.run
    async def run(self, target: contracts.ScheduleTarget) -> str:
        info = workflow.info()
        # A person who starts this workflow directly in Temporal gives no scheduled time.
        scheduled_at: datetime = info.typed_search_attributes.get(SCHEDULED_AT) or info.start_time
        return await workflow.execute_activity(
            contracts.ACTIVITY_FIRE_SCHEDULE,
            contracts.ScheduleFire(target.tenant_id, target.schedule_id, ms_of_datetime(scheduled_at)),
            result_type=str,
            start_to_close_timeout=performing.WRITE_TIMEOUT,
            retry_policy=RETRY,
        )
