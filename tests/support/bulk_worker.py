"""Worker of one bulk job in a process that a test can kill: `python -m tests.support.bulk_worker JOB_ID`."""

import os
import sys
import uuid

import django


def main(job_id: uuid.UUID) -> None:
    from django.utils import timezone

    from workflows.models import BulkJob
    from workflows.services.bulk.work import bulk_work
    from workflows.tenancy import Scope, enter_scope, system_scope, use_system_login

    use_system_login()
    with system_scope():
        tenant_id = BulkJob.objects.values_list("tenant_id", flat=True).get(id=job_id)
    enter_scope(Scope(tenant=str(tenant_id)))
    while bulk_work(job_id=job_id, seconds=5) is not None:
        BulkJob.objects.filter(id=job_id, next_slice_at__isnull=False).update(next_slice_at=timezone.now())


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    main(uuid.UUID(sys.argv[1]))
