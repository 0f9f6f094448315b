"""Small program for the supervisor: `small_program.py NAME [KIND]`. It prints one line for each thing that happens.

Kinds: `forking` starts a child that does not notice its parent's death, as pool workers do. `stubborn` ignores SIGTERM.
`dying` ends at once.
"""

import os
import signal
import subprocess
import sys
import time

name, kind = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else "")


def say(text: str) -> None:
    print(f"{name} {text}", flush=True)


def stop(signum: int, frame: object) -> None:
    say(f"stops on {signal.Signals(signum).name}")
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "stubborn" else stop)
say(f"runs as {os.getpid()}")
if kind == "dying":
    sys.exit(1)
if kind == "forking":
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say(f"has worker {worker.pid}")
while True:
    time.sleep(600)
