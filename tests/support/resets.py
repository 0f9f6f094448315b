"""Resets of runs with the Temporal CLI."""

import subprocess

from portal.devstack.servers import Servers
from tests.support.tenant_driver import TenantDriver
from workflows.models import Run


def reset(driver: TenantDriver, servers: Servers, run: Run, *options: str) -> None:
    """Reset a run to the end of its first workflow task, which is before the first wait opened."""
    first = next(e for e in driver.history(run) if e["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED")
    done = subprocess.run(
        [str(servers.temporal_cli), "workflow", "reset", "--workflow-id", run.temporal_workflow_id, "--event-id",
         str(first["eventId"]), "--reason", "a test", "--address", servers.temporal_address, *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
