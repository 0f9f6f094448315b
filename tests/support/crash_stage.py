"""Programs of the portal that are killed at one point after another: `python -m tests.support.crash_stage PLAN`.

This process imports the portal once and forks every program from itself, so that a life costs a tenth of a second. It
connects to nothing and starts no thread: what is forked must begin with nothing open.

Shapes: PLAN is a file of JSON, `{"queue", "stream", "group", "dead", "lives": {"web": [["point", 2], ...], ...}}`: for each
role its lives in turn, each with the point where it is killed and at which visit. When all lives of a role are over, its
programs are started once more and run unharmed. On stdout one line of JSON for what happened: `{"port"}`;
`{"slot", "pid", "point"}` when a life begins; `{"slot", "pid", "code"}` when it has ended.
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

# A worker that asks for the next message while it works: with kombu's own transport about every second seed loses one.
CELERY_POOL, CELERY_TASKS = "threads", 2
# What a program imports when it begins its work.
IMPORTED_LATE = (
    "portal.wsgi", "celery.apps.worker", "celery.app.control", "celery.app.events", "celery.app.log", "celery.concurrency.thread",
    "celery.worker.autoscale", "celery.worker.consumer", "celery.worker.control", "celery.worker.loops", "celery.worker.strategy",
    "encodings.idna",
)  # fmt: skip
# Places for programs at the same time.
SLOTS = {"web": ("web-1", "web-2"), "celery": ("celery-1", "celery-2", "celery-3"), "consumer": ("consumer-1",)}
LEASE_SECONDS = 2
SWEEP_SECONDS = 1
KEY_SECONDS = 1
UNSTARTED_SECONDS = 2
CLAIM_SECONDS = 0.5
BROKER = {"visibility_timeout": 2, "unacked_restore_interval": 0.5, "unacked_mutex_expire": 2, "taken_seconds": 2}


class Stage:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.points = {point.title: point for point in points()}
        self.lives = {role: list(plan["lives"].get(role, ())) for role in SLOTS}
        self.living: dict[int, str] = {}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.setblocking(False)

    def run(self) -> NoReturn:
        from django.db import connection

        signal.signal(signal.SIGTERM, lambda *_: self._end())
        assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose the threads"
        assert connection.connection is None, "a fork would share the connection"
        gc.freeze()
        say(port=self.listener.getsockname()[1])
        for role in SLOTS:
            self._fill(role)
        while True:
            pid, status = os.wait()
            slot = self.living.pop(pid)
            say(slot=slot, pid=pid, code=os.waitstatus_to_exitcode(status))
            self._fill(slot.split("-")[0])

    def _fill(self, role: str) -> None:
        """Start the next lives. At their end an unharmed program would only take the work from those that are to die."""
        free = [slot for slot in SLOTS[role] if slot not in self.living.values()]
        for slot in free:
            if self.lives[role]:
                self._start(slot, *self.lives[role].pop(0))
            elif free == list(SLOTS[role]):
                self._start(slot, "", 0)

    def _start(self, slot: str, name: str, number: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._live(slot, self.points.get(name), number, parent)
        self.living[pid] = slot
        say(slot=slot, pid=pid, point=name)

    def _live(self, slot: str, point: Point | None, number: int, parent: int) -> NoReturn:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(signal.SIGKILL, parent)
            os.dup2(2, 1)
            warnings.simplefilter("ignore")
            random.seed()
            if point is not None:
                point.kill_at(number)
            {"web": self._web, "celery": self._celery, "consumer": self._consumer}[slot.split("-")[0]](slot)
        except BaseException:  # noqa: BLE001  told to the test by its exit code
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)

    def _end(self) -> NoReturn:
        for pid in self.living:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    # -- The programs -------------------------------------------------------------------------------------------------

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
            hostname=f"{slot}@crash", pool=CELERY_POOL, concurrency=CELERY_TASKS, queues=[self.plan["queue"]], loglevel="WARNING", quiet=True,
            redirect_stdouts=False, without_mingle=True, without_gossip=True, without_heartbeat=True,
        ).start()  # fmt: skip

    def _consumer(self, slot: str) -> None:
        from django.conf import settings

        from ingress.stream.consumer import EventStream, StreamLimits
        from ingress.stream.group import StreamGroup, StreamNames, stream_client

        names = StreamNames(self.plan["stream"], self.plan["group"], self.plan["dead"])
        # A name that is kept finds its entries at once; those of a name that is gone are taken over after a time.
        name = random.choice([slot, f"{slot}-{os.getpid()}"])
        limits = StreamLimits(batch=20, claim_seconds=CLAIM_SECONDS, max_deliveries=5, keep_seconds=0)
        group = StreamGroup(stream_client(settings.REDIS_URL), names, name)
        EventStream(group=group, limits=limits, stop=threading.Event()).consume_events()


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """The portal logs what matters."""


def say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def hurry() -> None:
    """Recovery in seconds instead of minutes."""
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
    # In every life both would check the whole portal, and the second would refuse these timeouts.
    DjangoWorkerFixup.validate_models = lambda self: None
    worker_init.disconnect(celery.refuse_worker)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from django.urls import get_resolver

    for module in IMPORTED_LATE:
        importlib.import_module(module)
    _ = get_resolver().url_patterns  # views and serializers
    hurry()

    Stage(json.loads(Path(sys.argv[1]).read_text())).run()


if __name__ == "__main__":
    main()
