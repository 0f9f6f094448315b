"""A reset of a run with the Temporal CLI."""

import subprocess

from portal.devstack.servers import Servers
from tests.support.desk import Desk
from workflows.models import Run


def reset(desk: Desk, servers: Servers, run: Run, *options: str) -> None:
    """To the end of the first workflow task: before the first wait was opened."""
    first = next(e for e in desk.history(run) if e["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED")
    done = subprocess.run(
        [str(servers.temporal_cli), "workflow", "reset", "--workflow-id", run.temporal_workflow_id, "--event-id",
         str(first["eventId"]), "--reason", "a test", "--address", servers.temporal_address, *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
