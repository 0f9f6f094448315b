"""Many events and waits that meet in random order, in threads of one process.

Several tenants use the same correlation keys and event ids. Events arrive through every entry point while workers route
and deliver. A replacement for Temporal accepts every signal.
"""

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
from ingress.stream.group import Entry
from ingress.stream.storing import stream_events_receive
from ingress.tasks import consume_event
from tests.support.events import open_wait
from tests.support.race_scenario import RecordedSignals, analyze_tables, insert_runs
from tests.support.system_scope import in_system_scope
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, Run, Tenant
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import DeliveryStatus, EventSource

NAMES = ("REPLIED", "PAID")
MAX_DELAY_SECONDS = 0.002
WORK_PAUSE_SECONDS = 0.05  # long enough that a worker usually finds more than one event
REPEATED = 0.25  # share of the requests that are sent twice
Action = Callable[[random.Random], None]


@dataclass(frozen=True)
class Group:
    """`size` events and `size` waits with one event name and one correlation key, in every tenant."""

    number: int
    size: int

    @property
    def name(self) -> str:
        return NAMES[self.number % 2]

    @property
    def key(self) -> str:
        return f"K-{self.number // 2}"  # two groups share a key under different event names

    @property
    def event_ids(self) -> list[str]:
        return [f"e-{self.number}-{index}" for index in range(self.size)]


class RandomRaces:
    """Races of all groups in all tenants. `sizes` gives the number of groups for each group size."""

    def __init__(self, tenants: list[Tenant], sizes: dict[int, int], *, signals: RecordedSignals, seed: int) -> None:
        self.tenants, self.signals = tenants, signals
        self.counts: Counter[str] = Counter()
        self.waits: dict[uuid.UUID, tuple[Run, Group]] = {}
        self._random = random.Random(seed)
        group_sizes = [size for size, count in sizes.items() for _ in range(count)]
        self._random.shuffle(group_sizes)
        self.groups = [Group(number, size) for number, size in enumerate(group_sizes)]
        self._actions = iter(self._plan())
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def run(self, *, actors: int, workers: int) -> None:
        """Execute all actions in `actors` threads while `workers` threads route and deliver."""
        analyze_tables()
        with ThreadPoolExecutor(actors + workers) as threads:
            working = [threads.submit(_with_own_connections, self._work, seed) for seed in range(workers)]
            acting = [
                threads.submit(_with_own_connections, self._act, seed) for seed in range(workers, workers + actors)
            ]
            try:
                for actor in acting:
                    actor.result()
            finally:
                self._is_over.set()
            for worker in working:
                worker.result()
        for tenant in self.tenants:
            while events_work(tenant_id=tenant.id).has_more or self._filter_signalled(tenant):
                pass

    def _act(self, rng: random.Random) -> None:
        while True:
            with self._lock:
                action = next(self._actions, None)
            if action is None:
                return
            time.sleep(rng.random() * MAX_DELAY_SECONDS)
            action(rng)

    def _work(self, rng: random.Random) -> None:
        while not self._is_over.is_set():
            tenant = rng.choice(self.tenants)
            events_work(tenant_id=tenant.id, seconds=0.1)
            self._filter_signalled(tenant)
            time.sleep(rng.random() * WORK_PAUSE_SECONDS)

    def _filter_signalled(self, tenant: Tenant) -> int:
        """Record the verdict `filtered` on every signalled event, so that each wait tries all events of its key."""
        sent = EventDelivery.objects.filter(tenant=tenant, status=DeliveryStatus.SENT)
        ids = dict(sent.values_list("id", "wait_id"))
        touched = Event.objects.filter(id__in=EventDelivery.objects.filter(id__in=ids).values("event_id"))
        with deliveries_changing(touched):
            EventDelivery.objects.filter(id__in=ids).update(status=DeliveryStatus.FILTERED)
        for wait_id in set(ids.values()):
            wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(wait_id))
        return len(ids)

    # -- Plan ----------------------------------------------------------------------------------------------------------

    def _plan(self) -> list[Action]:
        """Return all actions in order.

        The actions of one group are close together and mixed with those of the next groups. Repeats come later.
        """
        timed: list[tuple[float, Action]] = []
        rng = self._random
        for tenant in self.tenants:
            runs = iter(insert_runs(tenant, sum(group.size for group in self.groups)))
            for group in self.groups:
                at = partial(rng.uniform, group.number, group.number + 2)
                timed += [(at(), partial(self._open, tenant, next(runs), group)) for _ in range(group.size)]
                for event_ids in self._chunks(group.event_ids):
                    send = partial(self._send, tenant, group, event_ids)
                    timed.append((at(), send))
                    if rng.random() < REPEATED:
                        timed.append((at() + rng.random(), send))
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

    def _send(self, tenant: Tenant, group: Group, event_ids: list[str], rng: random.Random) -> None:
        about = {"event_type": group.name, "workflow_correlation_key": group.key, "payload": {"tenant": tenant.slug}}
        entry_point = rng.choice(list(ENTRY_POINTS))
        ENTRY_POINTS[entry_point](tenant, [{**about, "event_id": event_id} for event_id in event_ids])
        with self._lock:
            self.counts[f"sent through {entry_point}"] += len(event_ids)
        if rng.random() < 0.2:  # a worker may have claimed the event at the same time
            event = Event.objects.filter(tenant=tenant, event_id=event_ids[0]).values_list("id", flat=True).first()
            if event is not None:  # None: the event is still in the outbox
                event_route(event)

    # -- Check ---------------------------------------------------------------------------------------------------------

    def errors(self) -> dict[str, list[Any]]:
        """Return the errors of each kind. All lists are empty if every event reached every wait exactly once."""
        slugs = {tenant.id: tenant.slug for tenant in self.tenants}
        due = {
            (run.tenant_id, event_id, wait_id): run
            for wait_id, (run, group) in self.waits.items()
            for event_id in group.event_ids
        }
        rows = EventDelivery.objects.filter(tenant__in=slugs)
        created = Counter(rows.values_list("tenant_id", "event__event_id", "wait_id"))
        due_signals = {(run.temporal_workflow_id, event_id, str(wait)) for (_, event_id, wait), run in due.items()}
        sent = Counter((to, signal.eventId, signal.waitId) for to, signal in self.signals.sent)
        owner = {str(wait_id): slugs[run.tenant_id] for wait_id, (run, _) in self.waits.items()}
        events = Event.objects.filter(tenant__in=slugs)
        self.counts.update(
            pairs=len(due), events=events.count(), waits=len(self.waits), deliveries=sum(created.values()),
            signals=sum(sent.values()),
        )  # fmt: skip
        return {
            "lost": [*(due.keys() - created.keys()), *(due_signals - sent.keys())],
            "double": [*_more_than_once(created), *_more_than_once(sent)],
            "without cause": [*(created.keys() - due.keys()), *(sent.keys() - due_signals)],
            "across tenants": [
                *rows.exclude(event__tenant=F("tenant"), wait__tenant=F("tenant"), run__tenant=F("tenant")),
                *(signal for _, signal in self.signals.sent if signal.payload["tenant"] != owner[signal.waitId]),
            ],
            "outcome": [
                (e, e.outcome) for e in events if e.outcome not in ("buffered", "unmatched") or not e.occupies_id
            ],
        }


@in_system_scope
def _with_own_connections(function: Callable[[random.Random], None], seed: int) -> None:
    """Call the function in this thread, and close the database connections of the thread afterwards."""
    try:
        function(random.Random(seed))
    finally:
        connections.close_all()


def _more_than_once(counts: Counter[Any]) -> list[Any]:
    return [item for item, count in counts.items() if count > 1]


# -- Entry points ------------------------------------------------------------------------------------------------------


def _rest(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    _assert_stored(events_receive(tenant_id=tenant.id, values=values, source=EventSource.REST))


def _celery(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    for value in values:
        consume_event({**value, "tenant": tenant.slug})


def _stream(tenant: Tenant, values: list[dict[str, Any]]) -> None:
    entries = [Entry(f"{number}-0", _fields(tenant, value)) for number, value in enumerate(values)]
    _assert_stored(list(stream_events_receive(stream="trials", entries=entries).values()))


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


def _assert_stored(results: list[Any]) -> None:
    assert all(isinstance(result, Receipt) for result in results), results


ENTRY_POINTS = {"REST": _rest, "Celery": _celery, "stream": _stream, "outbox": _outbox}
