"""`/healthz` and `/readyz` (docs/reference/api.md#health)."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.contrib.testing.worker import start_worker
from django.test import Client

from portal.celery import app
from portal.celery_workers import celery_state, redis_client
from portal.devstack.servers import embedded_servers
from portal.health import NO_CELERY_WORKER
from tests.support.factories import eventually
from tests.support.queues import celery_state_reads
from workflows.dispatch_notification import WORK_EVENTS, Target, _notifier


def test_healthz_needs_no_server(database: None) -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}


def test_readyz_names_the_server_that_is_down(
    database: None, temporal_worker: None, settings: Any, tmp_path: Path
) -> None:
    """Stop a Redis server of this test. The Celery worker of the session uses the shared one."""
    with embedded_servers(tmp_path, postgres=False, temporal=False) as own:
        settings.REDIS_URL = own.redis_url
        eventually(lambda: Client().get("/readyz").status_code == 200)
        own.redis.stop()
        response = Client().get("/readyz")
        own.redis.start()
    assert response.status_code == 503
    checks = response.json()["checks"]
    assert (checks["database"], checks["temporal"], checks["worker"]) == ("ok", "ok", "ok")
    assert checks["broker"].startswith("down: ")


def test_entries_of_the_celery_dead_list_are_counted(database: None, settings: Any) -> None:
    settings.CELERY_TASK_DEFAULT_QUEUE = "dead-list-test"
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.lpush("dead-list-test.dead", "not a message", "{}")
    (warning,) = [text for text in Client().get("/readyz").json()["warnings"] if "dead-list-test.dead" in text]
    assert "which are no Celery messages: 2;" in warning
    assert "\npointsman_dead_celery_entries 2\n" in Client().get("/metrics").content.decode()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert "dead_celery" not in Client().get("/metrics").content.decode()
    assert not any("dead-list-test" in text for text in Client().get("/readyz").json()["warnings"])


def test_readyz_is_down_without_a_temporal_worker(database: None, settings: Any) -> None:
    settings.TEMPORAL_TASK_QUEUE = "no-worker-polls-this"
    response = Client().get("/readyz")
    assert (response.status_code, "no Temporal worker polls" in response.json()["checks"]["worker"]) == (503, True)


def test_celery_workers_are_counted_by_their_heartbeats(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count a running worker without a ping. Messages of the portal carry the time of sending, others do not."""
    celery_state_reads("heartbeat-test", monkeypatch)
    assert NO_CELERY_WORKER in Client().get("/readyz").json()["warnings"]
    # The worker sets the level of the root logger. With its default, later tests would miss warnings.
    quiet = {"perform_ping_check": False, "without_heartbeat": False, "loglevel": "info"}
    with start_worker(app, shutdown_timeout=60, **quiet):
        eventually(lambda: celery_state().workers == 1)
        assert NO_CELERY_WORKER not in Client().get("/readyz").json()["warnings"]
    _notifier.add(Target("heartbeat-test", WORK_EVENTS, "a-tenant"), time.monotonic())
    eventually(lambda: celery_state().oldest_seconds is not None)
    assert celery_state().messages == 1
    with redis_client() as client:
        client.lpush("other-producer", "{}", '{"headers": null}', "[]", '{"headers": {"sentAt": "now"}}')
        (stamped,) = client.lrange("heartbeat-test", 0, 0)
        client.rpush("other-producer", json.dumps({**json.loads(stamped), "headers": {"sentAt": time.time() - 90}}))
    celery_state_reads("other-producer", monkeypatch)
    ready, metrics = Client().get("/readyz").json()["warnings"], Client().get("/metrics").content.decode()
    assert any(text.startswith("the oldest Celery message has waited for 9") for text in ready)
    assert "\npointsman_celery_workers 0\n" in metrics
    assert "\npointsman_oldest_celery_message_seconds 9" in metrics
