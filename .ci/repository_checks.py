"""Checks of the repository as text: bidirectional controls, tracked secrets, and tests that are skipped without a reason."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Characters that make text read otherwise than it runs (Trojan Source).
BIDIRECTIONAL = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
SECRET_FILES = re.compile(r"(^|/)(\.env(\..*)?|.*\.(pem|key|p12|pfx)|id_[a-z0-9]+|demo-credentials\.json|secret-key)$")
ALLOWED_FILES = {".env.example"}
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[abpr]-[A-Za-z0-9-]{10,}"
    r"|\bpm_[A-Za-z0-9_-]{40,}"
)
SKIPS = re.compile(r"mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\(")
SKIP_BUDGET = 0


def tracked() -> list[Path]:
    """Files of the repository, and those that would be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def main() -> int:
    problems: list[str] = []
    skips: list[str] = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if SECRET_FILES.search(name) and name not in ALLOWED_FILES:
            problems.append(f"{name}: an environment file or a secret is tracked")
        text = text_of(path)
        if text is None or name == ".ci/repository_checks.py":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if BIDIRECTIONAL.search(line):
                problems.append(f"{name}:{number}: a bidirectional control character")
            if SECRETS.search(line):
                problems.append(f"{name}:{number}: looks like a secret")
            if name.startswith("tests/") and name.endswith(".py") and SKIPS.search(line):
                skips.append(f"{name}:{number}")
                if "reason=" not in line:
                    problems.append(f"{name}:{number}: a skipped test without a reason")
    print(f"skipped tests: {len(skips)} of a budget of {SKIP_BUDGET}")
    if len(skips) > SKIP_BUDGET:
        problems += [f"{place}: skipped over the budget" for place in skips]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
