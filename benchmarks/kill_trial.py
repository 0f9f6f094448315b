"""Traffic with random kills of the programs, and an account of the meaning of every event.

    python benchmarks/kill_trial.py --minutes 60 --seed 1     an hour of traffic; the stack has its own folder and ports
    python benchmarks/kill_trial.py --minutes 2               a test of the program

The program starts the development stack with its production timeouts. It sends starts, follow-ups, task completions and
events near deadlines through all entry points. Meanwhile it kills worker, Temporal, Celery, Redis, PostgreSQL, web,
stream consumer and beat with SIGKILL, or stops one of them for a while. The times and targets come from the seed. The
results also depend on the machine, so two trials with one seed are not identical.

Afterwards the program waits until every event and every run is in its final state. The account has the number of events
by outcome, runs by status, disturbances by program, differences between rows and Temporal, and contradictions: events
and runs whose result is not the one that the acceptance times give (`_trial_account.py`). The exit status is 1 if there
is a contradiction, a difference, or an event that is not in a final state.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

PORTS = ("PORT", "POSTGRES_PORT", "REDIS_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")
SERVERS = (
    "DATABASE_URL", "DATABASE_SYSTEM_URL", "DATABASE_SIGNIN_URL", "DATABASE_OWNER_URL",
    "REDIS_URL", "TEMPORAL_ADDRESS", "TEMPORAL_TASK_QUEUE",
)  # fmt: skip
PROGRESS_SECONDS = 60
START_SECONDS = 600  # on a machine with other work


def prepare_environment(home: Path) -> None:
    """Give this process and the stack the same folder and free ports. Then load Django with the login of system work.

    The account reads the rows of the tenant in the scope of the system, which the application's login cannot enter.
    """
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    os.environ.update({name: str(each.getsockname()[1]) for name, each in zip(PORTS, sockets, strict=True)})
    for each in sockets:
        each.close()
    for name in SERVERS:
        os.environ.pop(name, None)
    os.environ.update(
        POINTSMAN_HOME=str(home),
        DJANGO_SETTINGS_MODULE="portal.settings",
        LOG_LEVEL="WARNING",
        PUBLIC_URL=f"http://127.0.0.1:{os.environ['PORT']}",
    )
    import django

    django.setup()
    from workflows.tenancy import use_system_login

    use_system_login()


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}", flush=True)


def trial(home: Path, *, minutes: float, seed: int, rate: float, settle_minutes: float) -> bool:
    """Run the whole trial. Return True if the account has no errors."""
    from django.db import connection

    from benchmarks._trial_account import Account
    from benchmarks._trial_kills import Kills
    from benchmarks._trial_traffic import Traffic
    from workflows.tenancy import system_scope

    with system_scope():
        traffic = Traffic(random.Random(seed), port=int(os.environ["PORT"]), rate=rate)
        kills = Kills(home, random.Random(seed + 1), say)
        ends_at = time.monotonic() + 60 * minutes
        progress_at = time.monotonic() + PROGRESS_SECONDS
        kills.start()
        while time.monotonic() < ends_at:
            traffic.turn()
            if time.monotonic() > progress_at:
                progress_at += PROGRESS_SECONDS
                say(f"{len(traffic.cases)} cases, {len(traffic.sent)} events, {kills.count()} disturbances")
        kills.stop()
        connection.close()  # PostgreSQL was restarted
        say("the traffic has ended; waiting until everything is settled")
        ends_at = time.monotonic() + 60 * settle_minutes
        account = Account(traffic)
        while time.monotonic() < ends_at:
            traffic.turn(is_ending=True)
            if time.monotonic() > progress_at:
                progress_at = time.monotonic() + PROGRESS_SECONDS / 4
                account = Account(traffic)
                say(f"unsettled: {account.unsettled()}")
                if traffic.is_done() and not account.unsettled():
                    break
        account = Account(traffic)
        account.verify_runs()
        print(f"\nseed {seed}, {minutes:g} minutes, {rate:g} cases per second")
        print(kills.report(), account.report(), sep="\n", flush=True)
        traffic.close()
        return not account.errors()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60, help="minutes of traffic")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.5, help="cases per second; a case has about two events")
    parser.add_argument("--settle-minutes", type=float, default=20, help="longest wait after the traffic")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the stack with its logs and data")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pointsman-trial-"))
    prepare_environment(folder / "home")
    from tests.support.stack import Stack

    stack = Stack(folder / "home")
    stack.env = dict(os.environ)
    say(f"starting the stack in {folder}")
    try:
        stack.start(seconds=START_SECONDS)
        is_good = trial(
            folder / "home", minutes=options.minutes, seed=options.seed, rate=options.rate,
            settle_minutes=options.settle_minutes,
        )  # fmt: skip
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()
    if options.keep or not is_good:
        say(f"the logs and the data are in {folder}")
    else:
        import shutil

        shutil.rmtree(folder)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
