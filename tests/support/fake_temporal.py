"""Replacement for Temporal in tests of bulk jobs: it records requests, has outages, and kills workers."""

from typing import Any

import pytest

from tests.support.bulk_jobs import WorkerKilled
from workflows.temporal import gateway


class FakeTemporal:
    """Replacement for the gateway that records the requests.

    With the outage "down" the server is unreachable, with "silent" it does not respond. `killed_before` and
    `killed_after` are the number of the request at which the worker is killed.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.outage = ""
        self.killed_before = self.killed_after = 0

    def request(self, name: str, **call: Any) -> str:
        if self.outage == "down":
            raise gateway.TemporalUnreachable("connect error: connection refused")
        if self.outage == "silent":
            raise gateway.TemporalTimeout("no response in time")
        if len(self.requests) + 1 == self.killed_before:
            self.killed_before = 0
            raise WorkerKilled
        self.requests.append(f"{name} {call.get('request_id') or call['workflow_id']}")
        if len(self.requests) == self.killed_after:
            self.killed_after = 0
            raise WorkerKilled
        return "temporal-run-id"


def replace_temporal(monkeypatch: pytest.MonkeyPatch) -> FakeTemporal:
    """Send the requests of this test to a new `FakeTemporal`."""
    server = FakeTemporal()
    monkeypatch.setattr(gateway, "cancel_run", lambda **call: server.request("cancel", **call))
    monkeypatch.setattr(gateway, "terminate_run", lambda **call: server.request("terminate", **call))
    monkeypatch.setattr(gateway, "start_run", lambda run, **call: server.request("start", **call))
    monkeypatch.setattr(gateway, "check_reachable", lambda: server.outage == "down" and server.request("check"))
    return server
