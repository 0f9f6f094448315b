"""Many events and waits that meet at random: several tenants with the same keys and the same event ids, every door, and
workers that route and deliver meanwhile. In threads of one process; Temporal is a stand-in that takes every signal."""

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connections
from django.db.models import F

from ingress.dispatch.routing import event_route
from ingress.dispatch.work import events_work
from ingress.intake.receive import Receipt, events_receive
from ingress.publish import publish_event
from ingress.stream.consumer import stream_events_receive
from ingress.stream.group import Entry
from ingress.tasks import consume_event
from tests.support.border import Signals, analyze, make_runs
from tests.support.events import open_wait
from tests.support.scopes import as_system
from workflows.models import Event, EventDelivery, Run, Tenant
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import EventSource

NAMES = ("REPLIED", "PAID")
CHAOS_SECONDS = 0.002
WORK_PAUSE_SECONDS = 0.05  # so that they find more than one event, as a rule
REPEATED = 0.25
Meet = tuple[uuid.UUID, str, uuid.UUID]  # tenant, event id, wait
Action = Callable[[random.Random], None]


@dataclass(frozen=True)
class Group:
    """So many events and as many waits under one name and one key, in every tenant."""

    number: int
    size: int

    @property
    def name(self) -> str:
        return NAMES[self.number % 2]

    @property
    def key(self) -> str:
        return f"K-{self.number // 2}"  # so two groups have one key, under different names

    @property
    def event_ids(self) -> list[str]:
        return [f"e-{self.number}-{index}" for index in range(self.size)]


class Trials:
    """`sizes`: how many groups there are of each size."""

    def __init__(self, tenants: list[Tenant], sizes: dict[int, int], *, signals: Signals, seed: int) -> None:
        self.tenants, self.signals = tenants, signals
        self.counts: Counter[str] = Counter()
        self.waits: dict[uuid.UUID, tuple[Run, Group]] = {}
        self._random = random.Random(seed)
        in_order = [size for size, count in sizes.items() for _ in range(count)]
        self._random.shuffle(in_order)
        self.groups = [Group(number, size) for number, size in enumerate(in_order)]
        self._actions = iter(self._plan())
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def run(self, *, actors: int, workers: int) -> None:
        analyze()
        with ThreadPoolExecutor(actors + workers) as threads:
            working = [threads.submit(_alone, self._work, seed) for seed in range(workers)]
            acting = [threads.submit(_alone, self._act, seed) for seed in range(workers, workers + actors)]
            try:
                for actor in acting:
                    actor.result()
            finally:
                self._is_over.set()
            for worker in working:
                worker.result()
        for tenant in self.tenants:
            while events_work(tenant_id=tenant.id).has_more:
                pass

    def _act(self, chance: random.Random) -> None:
        while True:
            with self._lock:
                action = next(self._actions, None)
            if action is None:
                return
            time.sleep(chance.random() * CHAOS_SECONDS)
            action(chance)

    def _work(self, chance: random.Random) -> None:
        while not self._is_over.is_set():
            events_work(tenant_id=chance.choice(self.tenants).id, seconds=0.1)
            time.sleep(chance.random() * WORK_PAUSE_SECONDS)

    # -- What happens, and about when ----------------------------------------------------------------------------------

    def _plan(self) -> list[Action]:
        """The actions of one group fall together, those of its neighbours between them, and repeats a little later."""
        timed: list[tuple[float, Action]] = []
        chance = self._random
        for tenant in self.tenants:
            runs = iter(make_runs(tenant, sum(group.size for group in self.groups)))
            for group in self.groups:
                at = partial(chance.uniform, group.number, group.number + 2)
                timed += [(at(), partial(self._open, tenant, next(runs), group)) for _ in range(group.size)]
                for event_ids in self._chunks(group.event_ids):
                    send = partial(self._send, tenant, group, event_ids)
                    timed.append((at(), send))
                    if chance.random() < REPEATED:
                        timed.append((at() + chance.random(), send))
        timed.sort(key=lambda action: action[0])
        return [action for _, action in timed]

    def _chunks(self, event_ids: list[str]) -> Iterator[list[str]]:
        while event_ids:
            count = self._random.randint(1, 4)
            yield event_ids[:count]
            event_ids = event_ids[count:]

    def _open(self, tenant: Tenant, run: Run, group: Group, _: random.Random) -> None:
        wait = open_wait(tenant, run=run, name=group.name, key=group.key)
        wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(wait.id))
        with self._lock:
            self.waits[wait.id] = (run, group)

    def _send(self, tenant: Tenant, group: Group, event_ids: list[str], chance: random.Random) -> None:
        about = {"event_type": group.name, "workflow_correlation_key": group.key, "payload": {"tenant": tenant.slug}}
        door = chance.choice(list(DOORS))
        DOORS[door](tenant, [{**about, "event_id": event_id} for event_id in event_ids])
        with self._lock:
            self.counts[f"sent through {door}"] += len(event_ids)
        if chance.random() < 0.2:  # beside the workers, who may have it in hand
            event = Event.objects.filter(tenant=tenant, event_id=event_ids[0]).values_list("id", flat=True).first()
            if event is not None:  # else it lies in the outbox
                event_route(event)

    # -- What must have come of it -------------------------------------------------------------------------------------

    def faults(self) -> dict[str, list[Any]]:
        """By their kind; none of any kind, when the border holds."""
        slugs = {tenant.id: tenant.slug for tenant in self.tenants}
        due = {
            (run.tenant_id, event_id, wait_id): run
            for wait_id, (run, group) in self.waits.items()
            for event_id in group.event_ids
        }
        rows = EventDelivery.objects.filter(tenant__in=slugs)
        made = Counter(rows.values_list("tenant_id", "event__event_id", "wait_id"))
        due_signals = {(run.temporal_workflow_id, event_id, str(wait)) for (_, event_id, wait), run in due.items()}
        sent = Counter((to, signal.eventId, signal.waitId) for to, signal in self.signals.sent)
        owner = {str(wait_id): slugs[run.tenant_id] for wait_id, (run, _) in self.waits.items()}
        events = Event.objects.filter(tenant__in=slugs)
        self.counts.update(
            pairs=len(due), events=events.count(), waits=len(self.waits), deliveries=sum(made.values()),
            signals=sum(sent.values()),
        )  # fmt: skip
        return {
            "lost": [*(due.keys() - made.keys()), *(due_signals - sent.keys())],
            "double": [*_more_than_once(made), *_more_than_once(sent)],
            "without cause": [*(made.keys() - due.keys()), *(sent.keys() - due_signals)],
            "across tenants": [
                *rows.exclude(event__tenant=F("tenant"), wait__tenant=F("tenant"), run__tenant=F("tenant")),
                *(signal for _, signal in self.signals.sent if signal.payload["tenant"] != owner[signal.waitId]),
            ],
            "outcome": [event for event in events if (event.outcome, event.occupies_id) != ("routing", True)],
        }


@as_system
def _alone(play: Callable[[random.Random], None], seed: int) -> None:
    """On the connections of this thread, which end with it."""
    try:
        play(random.Random(seed))
    finally:
        connections.close_all()


def _more_than_once(counts: Counter[Any]) -> list[Any]:
    return [item for item, count in counts.items() if count > 1]


# -- Doors -------------------------------------------------------------------------------------------------------------


def _rest(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    _all_stored(events_receive(tenant_id=tenant.id, values=values, source=EventSource.REST))


def _celery(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    for value in values:
        consume_event({**value, "tenant": tenant.slug})


def _stream(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    entries = [Entry(f"{number}-0", _fields(tenant, value)) for number, value in enumerate(values)]
    _all_stored(list(stream_events_receive(stream="trials", entries=entries).values()))


def _fields(tenant: Tenant, value: dict[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    texts = {**value, "tenant": tenant.slug, "payload_json": json.dumps(value["payload"])}
    del texts["payload"]
    return tuple((name.encode(), text.encode()) for name, text in texts.items())


def _outbox(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    for value in values:
        publish_event(
            value["event_type"], value["payload"], tenant=tenant, event_id=value["event_id"],
            correlation_key=value["workflow_correlation_key"],
        )  # fmt: skip


def _all_stored(results: list[Any]) -> None:
    assert all(isinstance(result, Receipt) for result in results), results


DOORS = {"REST": _rest, "Celery": _celery, "stream": _stream, "outbox": _outbox}
