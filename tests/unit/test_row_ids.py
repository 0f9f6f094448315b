"""Ids of rows that can be rebuilt: the same row always gets the same id, and ids sort by time."""

import uuid

from workflows.models.fields import new_id, row_id

NOON = 1_700_000_000_000


def test_id_depends_on_all_parts_of_the_row() -> None:
    assert row_id(NOON, "run", "root.steps[0]", "", 1) == row_id(NOON, "run", "root.steps[0]", "", 1)
    assert len({row_id(NOON, "run", "root.steps[0]", "", attempt) for attempt in range(1000)}) == 1000


def test_id_is_a_uuid_of_version_7_that_sorts_by_time() -> None:
    made = row_id(NOON, "a")
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, NOON)
    assert row_id(NOON, "z") < row_id(NOON + 1, "a") < new_id()
