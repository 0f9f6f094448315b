"""Citations and links lead to a file and a heading of this repository."""

import re
from pathlib import Path

from tests.support.markdown import ROOT, anchors_of, leads_nowhere, links_of, text_files

# A path is no citation if the text before it makes it a part of a longer path or address.
CITATION = re.compile(r"(?<![\w/.-])docs/[\w./-]+\.md(?:#[\w-]+)?")
# A file or folder of the repository in back quotes.
NAMED_FILE = re.compile(r"`((?:portal|ingress|workflows|tests|benchmarks|templates|docs|\.ci)/[\w./-]+)`")
# Documents outside the repository, cited by section.
OUTSIDE = re.compile(r"\b(?:PRODUCT|LANGUAGE|ARCHITECTURE)(?:\.md)?,? (?:sections? )?\d")


def test_every_citation_of_the_docs_leads_to_a_file_and_a_heading() -> None:
    broken: list[str] = []
    found = 0
    for path in text_files():
        for citation in CITATION.findall(path.read_text(encoding="utf-8")):
            found += 1
            reason = leads_nowhere(citation, base=ROOT)
            if reason:
                broken.append(f"{_name(path)}: {citation}: {reason}")
    assert found > 100
    assert not broken, "\n".join(sorted(set(broken)))


def test_every_link_between_pages_leads_to_a_file_and_a_heading() -> None:
    pages = [path for path in text_files() if path.suffix == ".md"]
    broken = [
        f"{_name(page)}: {target}: {reason}"
        for page in pages
        for target in links_of(page)
        if (reason := leads_nowhere(target, base=page.parent, page=page))
    ]
    assert len(pages) > 20
    assert not broken, "\n".join(broken)


def test_every_file_that_a_page_names_exists() -> None:
    missing = [
        f"{_name(page)}: {named}"
        for page in text_files()
        if page.suffix == ".md"
        for named in NAMED_FILE.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / named).exists()
    ]
    assert not missing, "\n".join(missing)


def test_the_list_of_loose_modules_is_complete() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("### Loose modules")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `((?:workflows|ingress)/\w+\.py)` \|", section, re.M)
    loose = [_name(path) for package in ("workflows", "ingress") for path in (ROOT / package).glob("*.py")]
    assert sorted(listed) == sorted(name for name in loose if not name.endswith("__init__.py"))


def test_no_file_cites_a_document_outside_the_repository() -> None:
    citing = [_name(path) for path in text_files() if OUTSIDE.search(path.read_text(encoding="utf-8"))]
    assert not citing


def test_anchors_are_made_as_github_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Expressions, literals, secrets\n## What if\n## What if\n```\n# no heading\n```\n## `a_b` [link](x)\n"
    )
    assert anchors_of(page) == {"expressions-literals-secrets", "what-if", "what-if-1", "a_b-link"}


def test_a_missing_file_and_a_missing_heading_are_found() -> None:
    assert leads_nowhere("none.md", base=ROOT / "docs") == "there is no such file"
    assert leads_nowhere("README.md#none", base=ROOT) == "README.md has no heading #none"
    assert leads_nowhere("docs/architecture.md#packages", base=ROOT) is None


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
