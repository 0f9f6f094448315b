"""The package of docs/developers.md: installed with pip, named in `ACTION_APPS`, and its action is called by a run."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.action_steps import action_step
from tests.support.factories import expr, make_definition
from tests.support.tenant_driver import TenantDriver
from workflows.models import RunStep

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"^File `([^`]+)`:\n\n```\w+\n(.*?)^```", re.M | re.S)


def install_documented_package(folder: Path) -> Path:
    """Write the files of the documentation, install them with pip, and return the folder of the installed package."""
    files = dict(FILE.findall((ROOT / "docs" / "developers.md").read_text(encoding="utf-8")))
    assert set(files) == {"pyproject.toml", "acme_shop/__init__.py", "acme_shop/workflow_actions.py"}
    for name, text in files.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    target = folder / "installed"
    pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, *pip, str(folder / "source")], check=True, capture_output=True, timeout=240)
    return target


@contextmanager
def temporal_worker_process(env: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "manage.py", "temporal_worker"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


def test_installed_package_adds_its_actions_without_a_change_of_the_portal(
    driver: TenantDriver, settings: Any, tmp_path: Path
) -> None:
    settings.TEMPORAL_TASK_QUEUE = f"own-{driver.tenant.slug}"  # the worker of the test session lacks the action
    package = install_documented_package(tmp_path)
    env = {
        **os.environ,
        "PYTHONPATH": str(package),
        "ACTION_APPS": "acme_shop",
        "TEMPORAL_TASK_QUEUE": settings.TEMPORAL_TASK_QUEUE,
    }
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(quote_bundle()), encoding="utf-8")
    command = [sys.executable, "manage.py", "import_bundle", str(bundle), "--publish", "--tenant", driver.tenant.slug]
    without = subprocess.run(
        command, cwd=ROOT, env={**env, "ACTION_APPS": ""}, capture_output=True, text=True, check=False, timeout=120
    )
    assert without.returncode != 0
    assert "acme.quote" in without.stderr
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)

    log = tmp_path / "worker.log"
    with temporal_worker_process(env, log):
        try:
            good = driver.wait_for_run("SUCCEEDED", id=driver.start({"article": "lamp"}).id)
            bad = driver.wait_for_run("FAILED", id=driver.start({"article": "sofa"}).id)
        except AssertionError as error:
            pytest.fail(f"{error}\n{log.read_text(errors='replace')[-4000:]}")
    assert RunStep.objects.get(run=good).output == {"total": 120}
    assert bad.error_code == "ACME_ARTICLE_UNKNOWN"


def quote_bundle() -> dict[str, Any]:
    step = action_step(action="acme.quote", inputMapping={"article": expr("payload.article"), "pieces": 3})
    definition = make_definition(step)
    dependencies = {"actions": [{"actionId": "acme.quote", "version": 1}]}
    versions = [{"version": 1, "definition": definition}]
    workflow = {"key": "flow", "publishedVersions": versions, "dependencies": dependencies}
    return {"format": "pointsman.workflow-bundle", "formatVersion": 1, "workflows": [workflow]}
