"""The actions of the run page: one that fits the state, and a menu with the others and the reasons against them."""

from dataclasses import dataclass

from django.urls import reverse

from workflows.actors import Actor
from workflows.admin.run_answer import Answer
from workflows.models import Run
from workflows.selectors.runs import RunPage
from workflows.services.runs.control import UNSUPPORTED_HINTS
from workflows.statuses import CommandAction, Engine, ReplayVersion, Role, RunStatus


@dataclass(frozen=True)
class Offer:
    """An action. `why_not`: the reason why it is not available, or an empty text."""

    name: str
    icon: str
    url: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Offers:
    primary: Offer | None
    beside: list[Offer]
    menu: list[Offer]


def run_offers(page: RunPage, answer: Answer, actor: Actor) -> Offers:
    """Return the actions of a run in the order in which operators use them."""
    cancel, terminate = _cancel(page, actor), _terminate(page, actor)
    replays = [_replay(page, actor, newer=newer) for newer in dict.fromkeys((answer.newer, None))]
    wanted = _primary(page, answer, actor, replay=replays[0], terminate=terminate)
    primary = wanted if wanted is not None and not wanted.why_not else None
    beside = [] if cancel.why_not else [cancel]
    others = (*replays, cancel, terminate, *_compare(page), _hold(page, actor))
    rest = [offer for offer in others if offer not in (primary, *beside)]
    return Offers(primary, beside, rest + _unsupported())


def _primary(page: RunPage, answer: Answer, actor: Actor, *, replay: Offer, terminate: Offer) -> Offer | None:
    if page.differs:
        return _compare(page)[0]
    if page.task is not None:
        name = "Decide the outcome…" if answer.kind == "unknown" else "Open the task"
        return Offer(name, "task", reverse("admin:workflows_humantask_change", args=[page.task.id]))
    if answer.kind == "waits_event" and not page.is_canceling:
        return _event(page, actor)
    if answer.kind == "stuck":
        return terminate
    return replay if _needs_replay(page) else None


def _event(page: RunPage, actor: Actor) -> Offer | None:
    """Return what brings the awaited event to the run. A second event could have a second effect if one has arrived."""
    arrival = page.arrival
    if arrival is not None and arrival.delivery is not None and arrival.is_dead:
        url = reverse("admin:workflows_eventdelivery_redeliver", args=[arrival.delivery.id])
        return Offer("Redeliver…", "replay", url, _needs(actor, Role.OPERATOR))
    if arrival is not None and page.has_event:
        return Offer("See the event", "event", reverse("admin:workflows_event_change", args=[arrival.event_id]))
    if page.wait is None:
        return None
    url = f"{reverse('admin:workflows_event_send')}?wait={page.wait.id}"
    return Offer("Send this event…", "send", url, _needs(actor, Role.OPERATOR))


def _needs_replay(page: RunPage) -> bool:
    """Return True if the run failed, and no run of its key is in the way of a replay.

    The menu has all other replays: one that would be refused, and that of a run that a person has stopped.
    """
    return page.run.status in (RunStatus.FAILED, RunStatus.TIMED_OUT) and page.in_the_way is None


def _needs(actor: Actor, role: Role) -> str:
    return "" if actor.has_role(role) else f"You need the role {role}."


def _legacy(run: Run) -> str:
    return "The history of an older engine is read-only." if run.engine == Engine.DB else ""


def _closed(page: RunPage) -> str:
    return "" if page.is_open else f"The run is closed: {page.run.get_status_display().lower()}."


def _cancel(page: RunPage, actor: Actor) -> Offer:
    waits = f"A {page.asked.lower()} was requested. The end of the run is not recorded yet." if page.asked else ""
    why_not = _legacy(page.run) or _closed(page) or waits or _needs(actor, Role.OPERATOR)
    return Offer("Cancel…", "cancel", reverse("admin:workflows_run_cancel", args=[page.run.id]), why_not)


def _replay(page: RunPage, actor: Actor, *, newer: int | None) -> Offer:
    """Return the replay on the newer published version, or on the version of the run."""
    url = reverse("admin:workflows_run_replay", args=[page.run.id])
    if newer is not None:
        name, url = f"Replay on version {newer}…", f"{url}?on={ReplayVersion.PUBLISHED}"
    else:
        name, url = f"Replay on version {page.run.version}…", f"{url}?on={ReplayVersion.PINNED}"
    return Offer(name, "replay", url, _legacy(page.run) or _needs(actor, Role.OPERATOR))


def _terminate(page: RunPage, actor: Actor) -> Offer:
    why_not = _legacy(page.run) or _closed(page) or _needs(actor, Role.ADMIN)
    return Offer("Terminate…", "x", reverse("admin:workflows_run_terminate", args=[page.run.id]), why_not)


def _compare(page: RunPage) -> list[Offer]:
    if page.run.engine != Engine.TEMPORAL:
        return []
    return [Offer("Compare with Temporal…", "retry", reverse("admin:workflows_run_verify", args=[page.run.id]))]


def _hold(page: RunPage, actor: Actor) -> Offer:
    name, view = ("Release legal hold…", "release") if page.hold else ("Set legal hold…", "hold")
    url = reverse(f"admin:workflows_run_{view}", args=[page.run.id])
    return Offer(name, "lock", url, _needs(actor, Role.ADMIN))


def _unsupported() -> list[Offer]:
    actions = (CommandAction.RESUME, CommandAction.RETRY, CommandAction.REQUEUE_EVENT_WAIT)
    return [
        Offer(str(action.label).removesuffix(" run"), "off", why_not=UNSUPPORTED_HINTS[action]) for action in actions
    ]
