"""Tells the whole story once for each database."""

from datetime import timedelta

from django.db.models import F

from tests.support.story.audit import tell_audit
from tests.support.story.events import tell_events
from tests.support.story.incidents import tell_incidents
from tests.support.story.payments import KEY, tell_payments
from tests.support.story.people import SLUG, Desk, found_desk
from tests.support.story.runs import tell_other_runs
from workflows.models import Run
from workflows.projections.run_values import record_run_values
from workflows.projections.step_counts import record_step_counts
from workflows.projections.transaction import projection_writer


def tell_story(slug: str = SLUG) -> Desk:
    """Fill the tenant "Northgate desk" and return it with its members.

    Everything is written in one transaction, so no worker sees an event before its deliveries are decided.
    Cost: about 5 s.
    """
    with projection_writer("story"):
        desk = found_desk(slug)
        runs = {**tell_payments(desk), **tell_other_runs(desk)}
        tell_events(desk, runs)
        tell_audit(desk, runs)
        for run in Run.objects.filter(tenant=desk.tenant, definition__key=KEY).select_related("definition"):
            record_run_values(run)
        tell_incidents(desk)
        # Each end was recorded a moment after it. Without this, the projection lag would be the age of the story.
        ended = Run.objects.filter(tenant=desk.tenant, ended_at__isnull=False)
        ended.update(projected_at=F("ended_at") + timedelta(seconds=0.8))
    while record_step_counts(tenant_id=desk.tenant.id):
        pass  # the map of a definition has the numbers of the story
    return desk
