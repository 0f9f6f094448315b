"""docs/support.md agrees with the code, and the portal shows it. Source: docs/reference/authority.md#control-matrix"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.members import member_of
from workflows.services.runs import control, requests
from workflows.services.runs.control import UNSUPPORTED_HINTS

TEXT = (Path(__file__).parents[2] / "docs" / "support.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [control, requests])
def test_page_lists_all_refusal_codes(module: Any) -> None:
    code = Path(module.__file__).read_text(encoding="utf-8")
    codes = {
        word.strip('"') for line in code.splitlines() if "code=" in line for word in line.split('"') if word.isupper()
    }
    assert codes - {"RUN_NOT_FOUND", "REASON_REQUIRED"}
    assert not {code for code in codes - {"RUN_NOT_FOUND", "REASON_REQUIRED"} if code not in TEXT}


def test_page_lists_all_unsupported_commands() -> None:
    rows = [line.split("|")[1].strip() for line in TEXT.splitlines() if "ACTION_UNSUPPORTED" in line]
    assert rows == ["resume", "retry", "requeue of an event wait"]
    assert len(UNSUPPORTED_HINTS) == len(rows)


def test_portal_shows_page_to_every_member(tenant: Any) -> None:
    page = member_of(tenant, role="viewer").get("/admin/support/").content.decode()
    assert "<td>resume</td>" in page
    assert "How to read a run that is stuck" in page
    assert ".md)" not in page
