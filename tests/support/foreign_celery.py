"""Celery application of another team. It imports nothing from the portal and runs in a process of its own."""

import datetime
import decimal
import os
from typing import Any

import redis
from celery import Celery
from celery.signals import worker_ready

URL, QUEUE = os.environ["FOREIGN_REDIS_URL"], os.environ["FOREIGN_QUEUE"]
app = Celery("foreign", broker=URL, backend=URL)
app.conf.update(task_default_queue=QUEUE, broker_connection_retry_on_startup=True)
counters = redis.Redis.from_url(URL)


@worker_ready.connect
def say_ready(**_: Any) -> None:
    counters.set(f"{QUEUE}:ready", "1")


@app.task(name="foreign.count")
def count(key: str, *, step: int = 1) -> dict[str, int]:
    return {"n": counters.incrby(key, step)}


@app.task(name="foreign.fail_once")
def fail_once(key: str) -> str:
    if counters.incr(key) == 1:
        raise LookupError(f"no such order: {key}", 7)
    return "done"


@app.task(name="foreign.gate")
def gate(key: str) -> str:
    """Wait until the test pushes a value to `<key>:open`."""
    counters.incr(key)
    if counters.blpop([f"{key}:open"], timeout=60) is None:
        raise TimeoutError(f"the test pushed nothing to {key}:open within 60 s")
    return "through"


@app.task(name="foreign.times")
def times() -> dict[str, Any]:
    return {
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "price": decimal.Decimal("1.10"),
        "list": [None, 1.5],
    }


@app.task(name="foreign.no_number")
def no_number() -> float:
    return float("nan")
