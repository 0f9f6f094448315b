"""Target of a delivery for a reader: the names of the definition and of the step that waits."""

from django.db.models import OuterRef, Subquery

from workflows.models import EventDelivery, RunStep


def waiting_step(path: str = "wait__step_path") -> Subquery:
    """Return the name of a waiting step as an expression of `EventDelivery`, or of `RunWait` with the path `step_path`.

    It is null if the delivery starts a run, or if the step is not recorded.
    """
    steps = RunStep.objects.filter(tenant_id=OuterRef("tenant_id"), run=OuterRef("run"), step_path=OuterRef(path))
    return Subquery(steps.values("name")[:1])


def definition_name(delivery: EventDelivery) -> str:
    """Return the name of the definition whose run the delivery continues or starts. It is empty without a target."""
    definition = delivery.run.definition if delivery.run else delivery.definition
    return definition.name if definition else ""


def step_name(delivery: EventDelivery) -> str:
    """Return the name of the step that waits, or its id. It is empty for a start.

    The row needs the annotation `step_name=waiting_step()`.
    """
    return getattr(delivery, "step_name", None) or (delivery.wait.step_id if delivery.wait else "")
