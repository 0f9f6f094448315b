"""Test driver for one tenant: sends events, starts runs, and reads rows and histories."""

import json
import subprocess
from typing import Any

from ingress.intake.receive import event_receive
from portal.devstack.servers import Servers
from tests.support.factories import eventually, make_actor
from workflows.models import Event, Run, RunStep
from workflows.services.runs.start import run_start
from workflows.statuses import EventSource
from workflows.temporal import gateway


class TenantDriver:
    """Test driver for one tenant."""

    def __init__(self, tenant: Any, servers: Servers) -> None:
        self.tenant = tenant
        self.actor = make_actor(tenant)
        self._servers = servers

    def send(self, event_type: str, payload: dict[str, Any], **more: Any) -> Event:
        value = {"event_type": event_type, "payload": payload, **more}
        return event_receive(tenant_id=self.tenant.id, value=value, source=EventSource.REST).event

    def start(self, payload: dict[str, Any] | None = None, key: str = "flow") -> Run:
        run_id, _ = run_start(actor=self.actor, definition_key=key, payload=payload or {})
        return Run.objects.get(id=run_id)

    def wait_for_run(self, status: str, **fields: Any) -> Run:
        """Wait until a run of the tenant with these fields has the status, and return the run."""

        def find() -> Run | None:
            return Run.objects.filter(tenant=self.tenant, **fields).filter(status=status).first()

        try:
            return eventually(find)
        except AssertionError as error:
            raise AssertionError(f"no run has the status {status}; the tenant has {self._runs()}") from error

    def _runs(self) -> list[Any]:
        return list(Run.objects.filter(tenant=self.tenant).values_list("status", "error"))

    def steps(self, run: Run) -> list[tuple[str, int, str]]:
        return [(s.step_id, s.attempt, s.status) for s in RunStep.objects.filter(run=run).order_by("projection_seq")]

    def history(self, run: Run) -> list[dict[str, Any]]:
        """Return the history events of a run as the Temporal CLI prints them."""
        shown = subprocess.run(
            [str(self._servers.temporal_cli), "workflow", "show", "--workflow-id", run.temporal_workflow_id,
             "--address", self._servers.temporal_address, "--output", "json", "--no-json-shorthand-payloads"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return list(json.loads(shown.stdout)["events"])

    def history_types(self, run: Run) -> list[str]:
        return [event["eventType"].removeprefix("EVENT_TYPE_") for event in self.history(run)]

    def history_types_until(self, run: Run, last: str) -> list[str]:
        """Wait until `last` is the last history event of a run, and return the types of all its events.

        The rows of a run are written shortly before its workflow continues or ends.
        """

        def find() -> list[str] | None:
            types = self.history_types(run)
            return types if types[-1] == last else None

        return eventually(find, what=f"{last} in Temporal")


def temporal_is_reachable() -> bool:
    try:
        gateway.check_reachable()
    except gateway.TemporalError:
        return False
    return True
