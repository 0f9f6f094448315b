"""Headings and links of Markdown pages, and text files of the repository, for tests of the documentation."""

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.M)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


@cache
def text_files() -> tuple[Path, ...]:
    """Return the text files that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and _is_text(path))


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings by GitHub's rules."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    anchors = []
    for heading in _HEADING.findall(text):
        plain = _LINK.sub(lambda link: link.group(0).split("](")[0].lstrip("["), heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        anchors.append(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return frozenset(anchors)


def links_of(page: Path) -> list[str]:
    """Return the targets of the links and images of a page that lead to files or headings of the repository."""
    text = _INLINE_CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    targets = [*_LINK.findall(text), *_IMAGE.findall(text)]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def leads_nowhere(target: str, *, base: Path, page: Path | None = None) -> str | None:
    """Return the reason why `path`, `path#anchor` or `#anchor` leads nowhere, or None.

    `base` is the folder that the path starts from. `page` is the page of a bare anchor.
    """
    name, _, anchor = target.partition("#")
    path = (base / name).resolve() if name else page
    if path is None or not path.exists():
        return "there is no such file"
    if anchor and path.suffix == ".md" and anchor not in anchors_of(path):
        return f"{path.relative_to(ROOT)} has no heading #{anchor}"
    return None


def _is_text(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True
