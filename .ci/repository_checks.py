"""Check the text of the repository: control characters, secrets, skipped tests, line lengths and docstrings."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Characters that show text in another order than the compiler reads (Trojan Source).
BIDIRECTIONAL = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
SECRET_FILES = re.compile(r"(^|/)(\.env(\..*)?|.*\.(pem|key|p12|pfx)|id_[a-z0-9]+|demo-credentials\.json|secret-key)$")
ALLOWED_FILES = {".env.example"}
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|\bxox[abpr]-[A-Za-z0-9-]{10,}|\bpm_[A-Za-z0-9_-]{40,}"
)
SKIPS = re.compile(r"mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\(")
SKIP_BUDGET = 0
# Ruff checks the line length too. But Ruff accepts lines with `noqa`, and it does not read templates.
LINE_LIMITS = {".py": 120, ".html": 159}
# docs/writing.md: a docstring begins with a verb or with a noun.
DOCSTRING_START = re.compile(r"(Whether|What(?![ -]if)|Who|Whoever|How|One that|All that|The one)\b")
Docstrings = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def tracked() -> list[Path]:
    """Return the files of the repository, and new files that Git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """Return the text of the file, or None for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def unsafe_text(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if BIDIRECTIONAL.search(line):
            yield f"{name}:{number}: bidirectional control character"
        if SECRETS.search(line):
            yield f"{name}:{number}: looks like a secret"


def skipped_tests(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the line of each skipped test."""
    if name.startswith("tests/") and name.endswith(".py"):
        for number, line in enumerate(text.splitlines(), 1):
            if SKIPS.search(line):
                yield f"{name}:{number}", line


def long_lines(name: str, text: str) -> Iterator[str]:
    limit = LINE_LIMITS.get(Path(name).suffix)
    if limit and "/migrations/" not in name:
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > limit:
                yield f"{name}:{number}: {len(line)} characters, the limit is {limit}"


def unclear_docstrings(name: str, text: str) -> Iterator[str]:
    if not name.endswith(".py"):
        return
    for node in ast.walk(ast.parse(text)):
        docstring = ast.get_docstring(node) if isinstance(node, Docstrings) else None
        if docstring and (start := DOCSTRING_START.match(docstring)):
            # A module has no line number.
            yield f"{name}:{getattr(node, 'lineno', 1)}: docstring begins with {start[0]!r} (docs/writing.md)"


def main() -> int:
    problems: list[str] = []
    skips: list[str] = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if SECRET_FILES.search(name) and name not in ALLOWED_FILES:
            problems.append(f"{name}: an environment file or a secret is tracked")
        text = text_of(path)
        if text is None:
            continue
        problems += long_lines(name, text)
        problems += unclear_docstrings(name, text)
        if name == ".ci/repository_checks.py":
            continue  # it contains the patterns themselves
        problems += unsafe_text(name, text)
        for place, line in skipped_tests(name, text):
            skips.append(place)
            if "reason=" not in line:
                problems.append(f"{place}: skipped test without a reason")
    print(f"skipped tests: {len(skips)} (budget {SKIP_BUDGET})")
    if len(skips) > SKIP_BUDGET:
        problems += [f"{place}: skipped test over the budget" for place in skips]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
