"""Single delivery attempts, for tests that control the order of attempts."""

import uuid

from ingress.dispatch import delivery
from workflows.models import EventDelivery


def attempt_delivery(delivery_id: uuid.UUID) -> str:
    """Attempt a delivery if it is due and not claimed. Return its status afterwards."""
    for row in delivery._claim(EventDelivery.objects.filter(id=delivery_id), limit=1):
        delivery._record_attempts([(row, delivery._attempt(row))])
    return EventDelivery.objects.values_list("status", flat=True).get(id=delivery_id)
