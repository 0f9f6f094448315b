"""The docs name every setting, error code and command, and no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("portal", "ingress", "workflows")
# Where a code is given a name: as an argument, an attribute, or the first field of a problem.
CODE = re.compile(
    r"""(?:code\s*(?::\s*str)?\s*=\s*|Problem\(\s*|yield\s*\(\s*|error_body\(\s*|exceptions\.\w+:\s*)["']([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|CONFLICT)["']"""
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    from portal import settings  # noqa: F401  reads them all
    from portal.env import DECLARED

    rows = dict(re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) \|", text("README.md"), re.M))
    assert set(rows) == set(DECLARED)
    changed_by_tests = {"PUBLIC_URL", "TEMPORAL_UI_URL"}
    for name, declared in DECLARED.items():
        if name not in changed_by_tests and declared.default:
            assert f"`{declared.default}`" in rows[name], name


def test_every_error_code_is_documented() -> None:
    from workflows.engine.expressions import errors

    used = {code for path in sources() for code in CODE.findall(path.read_text(encoding="utf-8"))}
    used |= {value for value in vars(errors).values() if isinstance(value, str) and value.startswith("EXPRESSION_")}
    documented = set(re.findall(r"^\| `([A-Z][A-Z_0-9]+)` \|", text("docs/errors.md"), re.M))
    assert len(used) > 60
    assert used - documented == set()
    assert {code for code in documented if not _is_used(code)} == set()


def _is_used(code: str) -> bool:
    return any(f'"{code}"' in path.read_text(encoding="utf-8") for path in sources())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_command_is_documented(package: str) -> None:
    folder = ROOT / package / "management" / "commands"
    documented = text("docs/developers.md")
    for path in folder.glob("*.py") if folder.exists() else ():
        if path.stem != "__init__":
            assert f"manage.py {path.stem}" in documented, path.stem


def test_the_way_of_one_event_names_files_and_functions_that_exist() -> None:
    table = text("README.md").split("## The way of one event")[1].split("##")[0]
    for line in table.splitlines():
        columns = [column.strip() for column in line.split("|")][1:-1]
        if len(columns) != 3 or not columns[1].startswith("`"):
            continue
        files = [ROOT / name for name in re.findall(r"`([^`]+)`", columns[1])]
        assert all(path.exists() for path in files), line
        code = "".join(_code(path) for path in files)
        for name in re.findall(r"`(?:\w+\.)?(\w+)[^`]*`", columns[2]):
            assert f"def {name}" in code, f"{name} in {columns[1]}"


def _code(path: Path) -> str:
    return path.read_text() if path.is_file() else "".join(inner.read_text() for inner in path.rglob("*.py"))


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
