"""Likeness of two correlation keys: the reason, the order and the marks."""

import pytest

from workflows.key_likeness import MAX_VARIANTS, UNLIKE, Parts, key_likeness, key_variants

WANTED = "TCK-4471"


def shown(parts: Parts) -> str:
    """Return the key with its marked characters in brackets."""
    return "".join(f"[{text}]" if differs else text for text, differs in parts)


@pytest.mark.parametrize(
    ("key", "why", "marked", "wanted_marked"),
    [
        ("TCK-4471", "The key is the same", "TCK-4471", "TCK-4471"),
        ("tck-4471", "Only upper and lower case differ", "[tck]-4471", "[TCK]-4471"),
        (" TCK-4471 ", "Only white space differs", "[ ]TCK-4471[ ]", "TCK-4471"),
        ("TCK\u200b-4471", "Only white space differs", "TCK[\u200b]-4471", "TCK-4471"),
        ("\u202eTCK-4471", "Only white space differs", "[\u202e]TCK-4471", "TCK-4471"),
        ("ＴＣＫ-4471", "Only the Unicode form differs", "[ＴＣＫ]-4471", "[TCK]-4471"),
        ("TCK-004471", "Only leading zeros differ", "TCK-[00]4471", "TCK-4471"),
        ("TCK4471", "Only punctuation differs", "TCK4471", "TCK[-]4471"),
        ("tck 4471", "Only upper and lower case and punctuation differ", "[tck ]4471", "[TCK-]4471"),
        ("TCK-447l", "The keys look alike: a letter is in the place of a digit", "TCK-447[l]", "TCK-447[1]"),
        ("TCK-4417", "Two digits are swapped", "TCK-44[17]", "TCK-44[71]"),
        ("TKC-4471", "Two characters are swapped", "T[KC]-4471", "T[CK]-4471"),
        ("TCK-4472", "One digit differs", "TCK-447[2]", "TCK-447[1]"),
        ("TCX-4471", "One character differs", "TC[X]-4471", "TC[K]-4471"),
        ("TCK-471", "One character is missing", "TCK-471", "TCK-4[4]71"),
        ("TCK-44715", "One character is extra", "TCK-4471[5]", "TCK-4471"),
        ("4471", "The beginning is missing", "4471", "[TCK-]4471"),
        ("TCK-4471-refund", "The end is extra", "TCK-4471[-refund]", "TCK-4471"),
        ("INV-4471", "The digits are the same, the other characters differ", "[INV]-4471", "[TCK]-4471"),
        ("TCK-4589", "Another key", "TCK-4589", "TCK-4471"),
        ("TCK-4498", "Another key", "TCK-4498", "TCK-4471"),
        ("SMS-1", "Another key", "SMS-1", "TCK-4471"),
        ("TCK-98712", "Another key", "TCK-98712", "TCK-4471"),
        ("---", "Another key", "---", "TCK-4471"),
        ("", "Another key", "", "TCK-4471"),
    ],
)
def test_difference_is_named_and_marked(key: str, why: str, marked: str, wanted_marked: str) -> None:
    found = key_likeness(key, WANTED)
    assert (found.why, shown(found.parts), shown(found.wanted_parts)) == (why, marked, wanted_marked)
    assert found.is_alike == (why != "Another key")


@pytest.mark.parametrize(
    ("key", "wanted", "why"),
    [
        ("PAYMENT-4498", "PAYMENT-4471", "Two digits differ"),
        ("PAYMENT-449", "PAYMENT-447", "One digit differs"),
        ("PAYMENT-5598", "PAYMENT-4471", "Another key"),
        ("PAYMENT-2026-004598", "PAYMENT-2026-004471", "Three digits differ"),
    ],
)
def test_more_characters_may_differ_in_a_longer_key(key: str, wanted: str, why: str) -> None:
    assert key_likeness(key, wanted).why == why


def test_most_alike_key_comes_first() -> None:
    ordered = ["TCK-4471", "tck-4471", "TCK-447l", "TCK-4417", "TCK-4472", "4471", "INV-4471", "TCK-4589"]
    ranks = [key_likeness(key, WANTED).rank for key in ordered]
    assert ranks == sorted(set(ranks))
    assert ranks[-1] == UNLIKE


@pytest.mark.parametrize(("key", "wanted"), [("A", "B"), ("", "T"), ("---", "!!!"), ("T-1", "X-9"), ("007", "B-9")])
def test_short_or_empty_keys_are_not_alike(key: str, wanted: str) -> None:
    assert not key_likeness(key, wanted).is_alike


def test_long_keys_are_compared_and_marked_as_a_whole() -> None:
    found = key_likeness("a" * 500 + "x" * 499, "a" * 500 + "y" * 500)
    assert (found.why, len(found.parts)) == ("Another key", 1)
    found = key_likeness("START" + "x" * 900, "x" * 900)
    assert (found.why, shown(found.parts)[:12]) == ("The beginning is extra", "[START]xxxxx")


def test_variants_are_the_keys_that_a_search_by_equality_can_find() -> None:
    variants = key_variants(" tck-0071 ")
    assert {"tck-0071", "TCK-0071", "tck-71", "tck0071", "tck-0017"} <= set(variants)
    assert {"PO-4471", "P0-447l"} & set(key_variants("PO-447l")) == {"PO-4471"}
    assert len(key_variants("k" * 900 + "12" * 50)) <= MAX_VARIANTS
    assert key_variants("") == []
