"""Cost of runs: Temporal actions, history events and bytes per step, and the throughput of one worker process.

    python benchmarks/run_cost.py                 both parts, on its own servers; about ten minutes on two cores
    python benchmarks/run_cost.py --quick         the same with small numbers, as a test of the program
    python benchmarks/run_cost.py --only cost     the first part (or `throughput`)
    python benchmarks/run_cost.py --encrypted     with payload encryption

The exit status is 1 if a goal is missed.

The cost is counted in the real histories of runs (`benchmarks/_histories.py`).

The throughput part compares two workers. Each worker is one process. The workers use the same servers and run
alternately. The first worker is the portal's worker (`manage.py temporal_worker`) with a published definition of ten
`action.call` steps. The second worker runs `StoreTenValues`. This workflow is in this file and is written by hand for
these ten actions.

The two workers have in common:

- the activities: `run_action_activity` with the claim of the invocation, the effect, and start and end of the step row;
  one `write_records` at the end. The two workers therefore write the same rows
- the options of the activities
- the worker's settings, sandbox, converter and connection pool
- the way in which runs are started and awaited, and the input values

The workflow written by hand does not have:

- a definition, the engine, expressions and scopes
- handlers of signals, updates and queries
- summaries for Temporal's UI, checks of sizes, continue-as-new
- records of a failure or a cancel

The rows of the runs are inserted before the time measurement starts. CPU times are per run. `others` is the CPU use of
all other processes of the machine. If `others` is not near 0, only the ratios are meaningful.
"""

# For every run, the sandbox executes the module of the workflow again. This module contains a workflow, so it imports
# nothing heavy at its top.
from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

with workflow.unsafe.imports_passed_through():
    from workflows.temporal import contracts

GOAL_RATIO = 0.7
STEPS = 10
ROUNDS = 3
PORTAL, BY_HAND = "portal", "by hand"
QUEUES = {PORTAL: "bench-portal", BY_HAND: "bench-by-hand"}
BY_HAND_WORKFLOW = "bench-store-ten-values"
NOTE = "Called at noon; the invoice of last month is missing."

# -- The workflow written by hand --------------------------------------------------------------------------------------

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
)


@workflow.defn(name=BY_HAND_WORKFLOW)
class StoreTenValues:
    @workflow.run
    async def run(self, run: dict[str, Any]) -> dict[str, Any]:
        stored = []
        for index in range(STEPS):
            reply = await self._store(run, index)
            if reply.error is not None:
                raise ApplicationError(str(reply.error["message"]), reply.error, type=str(reply.error["category"]))
            stored.append(reply.output)
        await self._end(run)
        return {"stored": stored}

    async def _store(self, run: dict[str, Any], index: int) -> contracts.ActionReply:
        path, seq, now = f"root.steps[{index}]", 3 * index, int(workflow.now().timestamp() * 1000)
        order = run["payload"]["order"]
        request = contracts.ActionRequest(
            run_id=run["run_id"],
            tenant_id=run["tenant_id"],
            step_id=f"store{index}",
            step_name="",
            step_path=path,
            iteration="",
            attempt=1,
            action_id="store.set",
            action_version=1,
            input={
                "namespace": "orders",
                "key": f"{order}-{index}",
                "value": {"order": order, "number": index, "note": run["payload"]["note"]},
            },
            idempotency_key=f"{run['run_id']}/{path}",
            retry_seed=f"{run['run_id']}/{path}",
            retry_wait_id="",
            started_at_ms=now,
            start_seq=seq + 2,
            end_seq=seq + 3,
            records=[self._record(seq + 1, now, "RUNNING", path, index)],
            first_execution_id=workflow.info().first_execution_run_id,
        )
        return await workflow.execute_activity(
            contracts.ACTIVITY_RUN_ACTION,
            request,
            result_type=contracts.ActionReply,
            start_to_close_timeout=timedelta(minutes=15),
            heartbeat_timeout=timedelta(seconds=12),
            retry_policy=RETRY,
        )

    async def _end(self, run: dict[str, Any]) -> None:
        now = int(workflow.now().timestamp() * 1000)
        request = contracts.RecordsRequest(
            run_id=run["run_id"],
            tenant_id=run["tenant_id"],
            records=[self._record(3 * STEPS + 1, now, "SUCCEEDED", "", STEPS)],
            first_execution_id=workflow.info().first_execution_run_id,
        )
        await workflow.execute_activity(
            contracts.ACTIVITY_WRITE_RECORDS,
            request,
            start_to_close_timeout=timedelta(seconds=12),
            retry_policy=RETRY,
        )

    @staticmethod
    def _record(seq: int, now: int, status: str, path: str, done: int) -> dict[str, Any]:
        return {
            "kind": "run",
            "seq": seq,
            "at": now,
            "status": status,
            "state": "",
            "stepPath": path,
            "stepCount": done,
            "failedStepCount": 0,
            "eventCount": 0,
        }


def definition_steps() -> list[dict[str, Any]]:
    """Return the ten actions of `StoreTenValues` as steps of a definition."""
    return [
        {
            "id": f"store{index}",
            "type": "action.call",
            "config": {
                "actionId": "store.set",
                "version": 1,
                "inputMapping": {
                    "namespace": "orders",
                    "key": {"$expr": f"payload.order & '-{index}'"},
                    "value": {"order": {"$expr": "payload.order"}, "number": index, "note": {"$expr": "payload.note"}},
                },
                "saveAs": f"vars.stored{index}",
            },
        }
        for index in range(STEPS)
    ]


# -- Servers and workers -----------------------------------------------------------------------------------------------


@contextmanager
def environment(*, encrypted: bool) -> Iterator[Any]:
    """Start servers and set up Django with them."""
    import base64
    import tempfile

    from portal.devstack.servers import embedded_servers

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-bench-")))
        (home / "static").mkdir()
        servers = stack.enter_context(embedded_servers(home / "servers"))
        os.environ.update(
            DJANGO_SETTINGS_MODULE="portal.settings",
            POINTSMAN_ENV="development",
            POINTSMAN_HOME=str(home),
            **servers.database_environment,
            REDIS_URL=servers.redis_url,
            TEMPORAL_ADDRESS=servers.temporal_address,
            TEMPORAL_TASK_QUEUE=QUEUES[PORTAL],
            TEMPORAL_PAYLOAD_KEYS=f"bench:{base64.b64encode(os.urandom(32)).decode()}" if encrypted else "",
            HTTP_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON='{"*": "payload.ticketId"}',
            LOG_LEVEL="WARNING",
        )
        import django
        from django.core.management import call_command

        django.setup()
        from workflows.tenancy import Scope, enter_scope, use_system_login

        use_system_login()
        enter_scope(Scope(is_system=True))  # the benchmark creates and counts rows of several tenants
        call_command("migrate", interactive=False, verbosity=0)
        yield servers


@contextmanager
def worker(kind: str) -> Iterator[int]:
    """Start a worker as the development stack does. Return its pid as soon as the worker polls its queue."""
    from django.test import override_settings

    from portal.devstack.child import command_tied_to
    from tests.support.factories import eventually
    from workflows.temporal import gateway

    program = ["manage.py", "temporal_worker"] if kind == PORTAL else ["-m", "benchmarks._worker"]
    process = subprocess.Popen(
        command_tied_to(os.getpid(), signal.SIGTERM, [sys.executable, *program], python=sys.executable),
        cwd=ROOT,
        env={**os.environ, "TEMPORAL_TASK_QUEUE": QUEUES[kind], "DATABASE_POOL": "true"},
    )
    try:
        with override_settings(TEMPORAL_TASK_QUEUE=QUEUES[kind]):
            eventually(gateway.count_pollers, what=f"a worker polls {QUEUES[kind]}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


# -- Throughput --------------------------------------------------------------------------------------------------------


class Usage:
    """CPU time of the measured processes and of the machine since the previous call. Units: seconds."""

    def __init__(self, **processes: int) -> None:
        self._processes = processes
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        import psutil

        def used(process: psutil.Process) -> float:
            return sum(process.cpu_times()[:4])  # the sum includes children that have ended

        now = {}
        for name, pid in self._processes.items():
            process = psutil.Process(pid)
            family = [process] if name == "client" else [process, *process.children(recursive=True)]
            now[name] = sum(map(used, family))
        own = psutil.Process().cpu_times()
        now["client"] = own.user + own.system
        times = psutil.cpu_times()
        now["machine"] = sum(times) - times.idle - times.iowait
        now["clock"] = time.monotonic()
        return now

    def since_last_call(self) -> dict[str, float]:
        before, self._before = self._before, self._now()
        used = {name: value - before[name] for name, value in self._before.items()}
        ours = sum(value for name, value in used.items() if name not in ("machine", "clock"))
        return {**used, "others": (used["machine"] - ours) / used["clock"]}


async def drive(inputs: dict[str, Any], *, workflow_name: str, queue: str, in_flight: int) -> float:
    """Execute the runs, and return the seconds from the first start to the last end.

    `in_flight` is the number of runs that are open at the same time.

    Errors: TimeoutError if the runs do not end.
    """
    from workflows.temporal.connection import connect_client

    client = await connect_client()
    slots = asyncio.Semaphore(in_flight)

    async def one(workflow_id: str, argument: Any) -> None:
        async with slots:
            handle = await client.start_workflow(workflow_name, argument, id=workflow_id, task_queue=queue)
            await handle.result()

    start = time.monotonic()
    async with asyncio.timeout(120 + 5 * len(inputs)):
        await asyncio.gather(*(one(workflow_id, argument) for workflow_id, argument in inputs.items()))
    return time.monotonic() - start


def insert_runs(version: Any, kind: str, count: int) -> dict[str, Any]:
    """Insert the rows of the runs. Return the input of each workflow by its workflow id."""
    from workflows.models import Run
    from workflows.models.fields import new_id
    from workflows.projections.transaction import projection_writer
    from workflows.services.runs.launch import workflow_id_of

    runs = []
    for _ in range(count):
        run_id = new_id()
        runs.append(
            Run(
                id=run_id,
                tenant_id=version.tenant_id,
                definition=version.definition,
                definition_version=version,
                definition_key=version.definition.key,
                version=version.version,
                definition_hash=version.definition_hash,
                semantics_version=1,
                trigger_type="manual",
                temporal_workflow_id=workflow_id_of(run_id),
                input={"order": f"O-{run_id.hex[-12:]}", "note": NOTE},
                requested_by=kind,
            )
        )
    with projection_writer("benchmark"):
        Run.objects.bulk_create(runs)
    inputs: dict[str, Any] = {}
    for run in runs:
        common = {"run_id": str(run.id), "tenant_id": str(run.tenant_id), "payload": run.input}
        inputs[run.temporal_workflow_id] = common if kind == BY_HAND else contracts.RunInput(
            definition_key=run.definition_key, version=run.version, definition_text=version.canonical_text,
            definition_hash=run.definition_hash, semantics_version=1, **common,
        )  # fmt: skip
    return inputs


def throughput(servers: Any, *, runs: int, in_flight: int, rounds: int) -> bool:
    """Print runs and steps per second of both workers. Return True if the goal is met."""
    import statistics

    from benchmarks._histories import cost_of_workflows
    from tests.support.factories import make_tenant, publish

    versions = {kind: publish(make_tenant(), *definition_steps(), key="orders") for kind in (PORTAL, BY_HAND)}
    names = {PORTAL: contracts.RUN_WORKFLOW, BY_HAND: BY_HAND_WORKFLOW}
    print(f"\nThroughput: {runs} runs of {STEPS} steps, {in_flight} at a time, alternately, one worker process each")
    print(
        f"{'':10}{'runs/s':>8}{'steps/s':>9}{'worker CPU':>12}{'Temporal':>10}{'PostgreSQL':>12}{'client':>8}"
        f"{'others':>16}"
    )
    speeds: dict[str, list[float]] = {PORTAL: [], BY_HAND: []}
    costs: dict[str, list[float]] = {PORTAL: [], BY_HAND: []}
    with worker(PORTAL) as portal_pid, worker(BY_HAND) as by_hand_pid:
        pids = {PORTAL: portal_pid, BY_HAND: by_hand_pid}
        for round_number in range(rounds + 1):
            for kind in (PORTAL, BY_HAND):
                is_warm_up = round_number == 0
                inputs = insert_runs(versions[kind], kind, min(runs, in_flight) if is_warm_up else runs)
                usage = Usage(
                    worker=pids[kind], idle=pids[PORTAL if kind == BY_HAND else BY_HAND],
                    temporal=servers.temporal.pid, postgres=servers.postgres.pid, redis=servers.redis.pid,
                )  # fmt: skip
                seconds = asyncio.run(drive(inputs, workflow_name=names[kind], queue=QUEUES[kind], in_flight=in_flight))
                if is_warm_up:
                    continue
                used = usage.since_last_call()
                speeds[kind].append(runs / seconds)
                costs[kind].append(used["worker"] / runs)
                shares = [f"{used[name] / runs * 1000:.0f} ms" for name in ("worker", "temporal", "postgres", "client")]
                print(
                    f"{kind:10}{runs / seconds:8.2f}{STEPS * runs / seconds:9.1f}{shares[0]:>12}{shares[1]:>10}"
                    f"{shares[2]:>12}{shares[3]:>8}{used['others']:10.2f} cores",
                    flush=True,
                )
    rows = {kind: rows_of(version) for kind, version in versions.items()}
    if rows[PORTAL] != rows[BY_HAND]:
        raise RuntimeError(f"The two workers wrote different rows: {rows}")
    median = {kind: statistics.median(found) for kind, found in speeds.items()}
    cpu = {kind: statistics.median(found) for kind, found in costs.items()}
    ratio = median[PORTAL] / median[BY_HAND]
    for kind in (PORTAL, BY_HAND):
        print(
            f"median of {kind:8}{median[kind]:8.2f} runs/s{STEPS * median[kind]:9.1f} steps/s{cpu[kind] * 1000:8.0f} ms"
            " of worker CPU a run"
        )
    verdict = "met" if ratio >= GOAL_RATIO else "MISSED"
    print(
        f"ratio of the medians {ratio:.2f}, goal {GOAL_RATIO}: {verdict}; worker CPU {cpu[PORTAL] / cpu[BY_HAND]:.2f} x"
    )
    print(f"Both workers wrote the same rows: {rows[PORTAL]}")
    for kind, version in versions.items():
        run = version.definition.runs.latest("created_at")
        cost, _ = cost_of_workflows([run.temporal_workflow_id])
        print(
            f"history of {kind:8} {cost.actions} actions, {cost.events} events, {cost.bytes / STEPS:.0f} bytes a step"
        )
    return ratio >= GOAL_RATIO


def rows_of(version: Any) -> dict[str, int]:
    """Return the number of rows that the runs of a definition version wrote."""
    from workflows.models import ActionInvocation, DataStoreEntry, Run, RunStep

    return {
        "runs": Run.objects.filter(definition_version=version, status="SUCCEEDED").count(),
        "steps": RunStep.objects.filter(run__definition_version=version, status="SUCCEEDED").count(),
        "invocations": ActionInvocation.objects.filter(tenant=version.tenant_id, status="SUCCEEDED").count(),
        "stored values": DataStoreEntry.objects.filter(tenant=version.tenant_id).count(),
    }


# -- The program -------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of runs, and throughput of one worker.")
    parser.add_argument("--runs", type=int, help="runs of each throughput measurement (200; 30 with --quick)")
    parser.add_argument("--in-flight", type=int, default=40, help="runs that are open at the same time (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small numbers, one round")
    parser.add_argument("--only", choices=["cost", "throughput"])
    parser.add_argument("--encrypted", action="store_true", help="with payload encryption")
    options = parser.parse_args()
    met = []
    with environment(encrypted=options.encrypted) as servers:
        if options.only != "throughput":
            from benchmarks import _histories
            from tests.support.workers import running_celery_worker

            with worker(PORTAL), running_celery_worker():
                met.append(_histories.measure(quick=options.quick))
        if options.only != "cost":
            runs = options.runs or (30 if options.quick else 200)
            rounds = 1 if options.quick else ROUNDS
            met.append(throughput(servers, runs=runs, in_flight=options.in_flight, rounds=rounds))
    print("\nEvery goal is met." if all(met) else "\nNot every goal is met.")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
