"""Late results of actions whose outcome was unknown.

The task about the unknown outcome is closed, so the run uses the result.

If the process of a lost execution still runs, it stores its result in the action ledger. But it cannot send the result
to the run, because Temporal no longer waits for its activity. So the reconciler compares open tasks with the action
ledger.

Source: docs/reference/engine.md#unknown-outcomes
"""

import logging
from collections import Counter

from django.db.models.fields.json import KT

from workflows.engine.unknown_outcomes import ARRIVED, DECIDE_OUTCOME
from workflows.errors import PortalError
from workflows.models import ActionInvocation, HumanTask
from workflows.services.human_tasks import task_take_late_result
from workflows.services.task_access import is_open
from workflows.statuses import InvocationStatus
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

BATCH = 500


def late_results_report() -> Counter[str]:
    """Close open tasks whose action has stored its result in the meantime. Return the number of closed tasks.

    Cost: two statements if there is nothing to close.
    Errors: TemporalUnreachable, TemporalTimeout. Then nothing is written.
    """
    counts: Counter[str] = Counter()
    tasks = HumanTask.objects.filter(is_open(), task_type=DECIDE_OUTCOME)
    tasks = tasks.order_by("?").annotate(invocation=KT("context_data__invocationId"))
    asked = dict(tasks.values_list("id", "invocation")[:BATCH])
    ended = ActionInvocation.objects.filter(
        id__in=[found for found in asked.values() if found],
        status__in=[InvocationStatus.SUCCEEDED, InvocationStatus.FAILED],
    )
    with_result = {str(pk) for pk in ended.values_list("id", flat=True)}
    due = [task_id for task_id, invocation_id in asked.items() if invocation_id in with_result]
    if due:
        gateway.check_reachable()
    for task in HumanTask.objects.select_related("run").filter(id__in=due):
        try:
            task_take_late_result(task=task, response={"outcome": ARRIVED})
        except PortalError as error:  # only this task; a later sweep finds it again
            logger.warning("the late result for the task %s was not used: %s", task.id, error.message)
            continue
        counts["late results"] += 1
    return counts
