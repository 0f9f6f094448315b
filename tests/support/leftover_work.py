"""Due work that a finished test leaves behind."""

from datetime import timedelta

from django.utils import timezone

from ingress.dispatch.delivery import due_deliveries
from workflows.models import Event, OutboxEvent


def postpone_due_work() -> None:
    """Make all due work due tomorrow.

    Without this, the next sweep notifies the dispatcher of hundreds of tenants of finished tests. The test that runs
    then has to wait for them.
    """
    now, tomorrow = timezone.now(), timezone.now() + timedelta(days=1)
    OutboxEvent.objects.filter(refused_at__isnull=True, next_attempt_at__lte=now).update(next_attempt_at=tomorrow)
    Event.objects.filter(routed_at__isnull=True, route_at__lte=now).update(route_at=tomorrow)
    due_deliveries().update(next_attempt_at=tomorrow)
