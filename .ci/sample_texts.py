"""Print 30 texts of the repository, chosen at random: docstrings, messages, screen texts and paragraphs of the docs.

    .venv/bin/python .ci/sample_texts.py [--seed 13] [--count 30]

A reader who does not know the code marks each text that needs a second reading (docs/writing.md).
"""

import argparse
import ast
import random
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("portal", "ingress", "workflows")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--count", type=int, default=30)
    options = parser.parse_args()
    kinds = [list(docstrings()), list(messages()), list(screen_texts()), list(paragraphs())]
    chosen = random.Random(options.seed)  # noqa: S311  not for secrets
    for number in range(options.count):
        place, text = chosen.choice(kinds[number % len(kinds)])
        print(f"{number + 1}. [{place}]\n{textwrap.indent(text, '   ')}\n")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.splitlines()]


def python_trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in tracked(*(f"{package}/*.py" for package in PACKAGES)):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def docstrings() -> Iterator[tuple[str, str]]:
    for path, tree in python_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path}: {getattr(node, 'name', 'module')}", text


def messages() -> Iterator[tuple[str, str]]:
    """Yield the messages of errors and refusals. A message is a string of at least six words in a call."""
    for path, tree in python_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for value in node.args:
                    text = ast.unparse(value) if isinstance(value, ast.JoinedStr | ast.BinOp) else literal(value)
                    if len(text.split()) >= 6:
                        yield f"{path}:{node.lineno}", text


def literal(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def screen_texts() -> Iterator[tuple[str, str]]:
    for path in tracked("templates/*.html"):
        text = re.sub(r"\{%.*?%\}|\{#.*?#\}", "\n", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for part in re.split(r"<[^>]*>|\n\s*\n", text):
            words = " ".join(part.split())
            if len(words.split()) >= 6 and "{" not in words.replace("{{", "").replace("}}", ""):
                yield str(path.relative_to(ROOT)), words


def paragraphs() -> Iterator[tuple[str, str]]:
    for path in tracked("docs/*.md", "README.md"):
        for part in path.read_text(encoding="utf-8").split("\n\n"):
            if len(part.split()) >= 8 and not part.startswith(("    ", "|", "```", "#")):
                yield str(path.relative_to(ROOT)), part


if __name__ == "__main__":
    main()
