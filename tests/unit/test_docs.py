"""The docs name every setting, error code and command, and no others.

Links and citations are checked in `test_citations.py`, the tables of the README in `test_event_path.py`.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("portal", "ingress", "workflows")
# Places where the code names an error code: an argument, an attribute, or the first field of a problem.
CODE = re.compile(
    r"(?:code\s*(?::\s*str)?\s*=\s*|Problem\(\s*|yield\s*\(\s*|error_body\(\s*|exceptions\.\w+:\s*)"
    r"""["']([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|CONFLICT)["']"""
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]


def test_readme_lists_every_setting_with_default_and_meaning() -> None:
    from portal import settings  # noqa: F401  reads all settings
    from portal.env import DECLARED

    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) \| (.*) \|$", text("README.md"), re.M)
    assert [name for name, _, _ in rows] == list(DECLARED)
    changed_by_tests = {"PUBLIC_URL", "TEMPORAL_UI_URL"}
    for name, default, meaning in rows:
        declared = DECLARED[name]
        assert meaning.startswith(declared.meaning), name  # a link may follow
        if name not in changed_by_tests and declared.default:
            assert f"`{declared.default}`" in default, name


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
