"""Worker of one bulk job in a process that a test can kill, for `forked.py`.

After the request with which the job has `most` commands, the worker waits until it is killed. The outcome of this
request is not stored. With `most` = 0 the worker completes the job.
"""

import signal
import uuid
from typing import Any


def main(job_id: uuid.UUID, most: int) -> None:
    from django.utils import timezone

    from workflows.models import BulkJob, Command
    from workflows.services.bulk import work
    from workflows.tenancy import Scope, enter_scope, system_scope, use_system_login

    use_system_login()
    with system_scope():
        tenant_id = BulkJob.objects.values_list("tenant_id", flat=True).get(id=job_id)
    enter_scope(Scope(tenant=str(tenant_id)))
    request = work.item_outcome

    def request_and_wait(job: BulkJob, item: Any) -> Any:
        outcome = request(job, item)
        if most and Command.objects.filter(parent_id=job.command_id).count() >= most:
            signal.pause()
        return outcome

    work.item_outcome = request_and_wait
    while work.bulk_work(job_id=job_id, seconds=5) is not None:
        BulkJob.objects.filter(id=job_id, next_slice_at__isnull=False).update(next_slice_at=timezone.now())
