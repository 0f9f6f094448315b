"""Supervisor of portal programs that are killed at crash points: `python -m tests.support.crash_supervisor PLAN`.

The supervisor imports the portal once and forks every program, so that a start takes 0.1 s. It opens no connection and
starts no thread, because a forked program must begin with nothing open.

Shapes:
- PLAN is a JSON file: `{"queue", "stream", "group", "dead", "kills": {"web": [["point", 2], ...], ...}}`.
  `kills` lists for each role the programs to start, one after the other. Each entry is the crash point, and the visit
  of the point that kills the program. After the last entry, the programs of the role start once more without a point.
- stdout has one JSON line for each change: `{"port"}`, `{"slot", "pid", "point"}` when a program starts, and
  `{"slot", "pid", "code"}` when it has ended.
"""

import gc
import importlib
import json
import os
import random
import signal
import socket
import sys
import threading
import traceback
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django

from portal.devstack.child import die_with_parent
from tests.support.crash_points import Point, points

# Such a worker requests the next message while it works. With kombu's own transport, about every second seed then loses
# a message.
CELERY_POOL, CELERY_TASKS = "threads", 2
# Modules that a program imports only when it starts to work. The supervisor imports them before it forks.
IMPORTED_LATE = (
    "portal.wsgi", "celery.apps.worker", "celery.app.control", "celery.app.events", "celery.app.log",
    "celery.concurrency.thread", "celery.worker.autoscale", "celery.worker.consumer", "celery.worker.control",
    "celery.worker.loops", "celery.worker.strategy", "encodings.idna",
)  # fmt: skip
# Programs of each role that run at the same time.
SLOTS = {"web": ("web-1", "web-2"), "celery": ("celery-1", "celery-2", "celery-3"), "consumer": ("consumer-1",)}
LEASE_SECONDS = 2
SWEEP_SECONDS = 1
KEY_SECONDS = 1
UNSTARTED_SECONDS = 2
CLAIM_SECONDS = 0.5
BROKER = {"visibility_timeout": 2, "unacked_restore_interval": 0.5, "unacked_mutex_expire": 2, "taken_seconds": 2}


class Supervisor:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.points = {point.title: point for point in points()}
        self.kills = {role: list(plan["kills"].get(role, ())) for role in SLOTS}
        self.slots: dict[int, str] = {}  # slots of the running processes, by process id
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.setblocking(False)

    def run(self) -> NoReturn:
        from django.db import connection

        signal.signal(signal.SIGTERM, lambda *_: self._end())
        assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose the threads"
        assert connection.connection is None, "a fork would share the connection"
        gc.freeze()
        report(port=self.listener.getsockname()[1])
        for role in SLOTS:
            self._fill(role)
        while True:
            pid, status = os.wait()
            slot = self.slots.pop(pid)
            report(slot=slot, pid=pid, code=os.waitstatus_to_exitcode(status))
            self._fill(slot.split("-")[0])

    def _fill(self, role: str) -> None:
        """Start the next programs of a role.

        The programs without a crash point start only when all slots are free. Earlier they would take the work that
        leads the other programs to their crash points.
        """
        free = [slot for slot in SLOTS[role] if slot not in self.slots.values()]
        for slot in free:
            if self.kills[role]:
                self._start(slot, *self.kills[role].pop(0))
            elif free == list(SLOTS[role]):
                self._start(slot, "", 0)

    def _start(self, slot: str, name: str, visit: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_program(slot, self.points.get(name), visit, parent)
        self.slots[pid] = slot
        report(slot=slot, pid=pid, point=name)

    def _run_program(self, slot: str, point: Point | None, visit: int, parent: int) -> NoReturn:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(signal.SIGKILL, parent)
            os.dup2(2, 1)
            warnings.simplefilter("ignore")
            random.seed()
            if point is not None:
                point.kill_at(visit)
            {"web": self._web, "celery": self._celery, "consumer": self._consumer}[slot.split("-")[0]](slot)
        except BaseException:  # noqa: BLE001  the exit code reports it to the test
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)

    def _end(self) -> NoReturn:
        for pid in self.slots:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    # -- Programs ------------------------------------------------------------------------------------------------------

    def _web(self, slot: str) -> None:
        from portal.wsgi import application

        server = WSGIServer(self.listener.getsockname(), QuietHandler, bind_and_activate=False)
        server.socket.close()
        server.socket = self.listener
        server.server_name, server.server_port = self.listener.getsockname()
        server.setup_environ()
        server.set_app(application)
        server.serve_forever()

    def _celery(self, slot: str) -> None:
        from portal.celery import app

        app.Worker(
            hostname=f"{slot}@crash", pool=CELERY_POOL, concurrency=CELERY_TASKS, queues=[self.plan["queue"]],
            loglevel="WARNING", quiet=True, redirect_stdouts=False, without_mingle=True, without_gossip=True,
            without_heartbeat=True,
        ).start()  # fmt: skip

    def _consumer(self, slot: str) -> None:
        from django.conf import settings

        from ingress.stream.consumer import EventStream, StreamLimits
        from ingress.stream.group import StreamGroup, StreamNames, stream_client

        names = StreamNames(self.plan["stream"], self.plan["group"], self.plan["dead"])
        # A consumer with the old name finds its entries at once. With a new name, it claims them after a time.
        name = random.choice([slot, f"{slot}-{os.getpid()}"])
        limits = StreamLimits(batch=20, claim_seconds=CLAIM_SECONDS, max_deliveries=5, keep_seconds=0)
        group = StreamGroup(stream_client(settings.REDIS_URL), names, name)
        EventStream(group=group, limits=limits, stop=threading.Event()).consume_events()


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because the portal has its own request log."""


def report(**change: Any) -> None:
    os.write(1, json.dumps(change).encode() + b"\n")


def shorten_timeouts() -> None:
    """Let the portal recover from a crash within seconds instead of minutes."""
    from celery.fixups.django import DjangoWorkerFixup
    from celery.signals import worker_init

    from ingress import tasks
    from ingress.dispatch import delivery
    from portal import celery
    from workflows import dispatch_notification
    from workflows.services.runs import unstarted

    delivery.LEASE = timedelta(seconds=LEASE_SECONDS)
    tasks.SWEEP_BUDGET_SECONDS = SWEEP_SECONDS
    dispatch_notification.KEY_SECONDS = KEY_SECONDS
    unstarted.UNSTARTED_AFTER = timedelta(seconds=UNSTARTED_SECONDS)
    celery.app.conf.broker_transport_options = {**celery.app.conf.broker_transport_options, **BROKER}
    # Both would run the system checks of the portal at every start. `refuse_worker` would also refuse these timeouts.
    DjangoWorkerFixup.validate_models = lambda self: None
    worker_init.disconnect(celery.refuse_worker)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from django.urls import get_resolver

    for module in IMPORTED_LATE:
        importlib.import_module(module)
    _ = get_resolver().url_patterns  # imports views and serializers
    shorten_timeouts()

    Supervisor(json.loads(Path(sys.argv[1]).read_text())).run()


if __name__ == "__main__":
    main()
