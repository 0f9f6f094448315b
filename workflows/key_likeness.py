"""Likeness of two correlation keys: how nearly the key of an event is the key of a wait. Pure.

A small difference is usually a mistake of a sender or of a correlation path. So near misses are shown in the order of
their likeness, with the differing characters marked.

Source: docs/reference/events.md#near-misses
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

# A part of a key, and True if the other key does not have this part.
Parts = tuple[tuple[str, bool], ...]

SAME, UNLIKE = 0, 100
MAX_DISTANCE = 3
# Several changes are small only in a long key. Two of four digits are another number.
CHARACTERS_PER_CHANGE = 6
MAX_VARIANTS = 60
# Longer differences are marked as a whole, because the comparison of their characters is slow.
_MAX_COMPARED = 64
_LOOK_ALIKES = str.maketrans("oOlI|", "00111")
_LETTER_BESIDE_DIGIT = re.compile(r"(?<=\d)[oOlI|]+|[oOlI|]+(?=\d)")


@dataclass(frozen=True)
class Likeness:
    """Likeness of a key to the wanted key.

    `rank` is `SAME` for equal keys, and `UNLIKE` for keys that have nothing in common. A smaller rank is more alike.
    `why` is a sentence about the difference, without the keys. `parts` are the parts of the key, and `wanted_parts` are
    the parts of the wanted key.
    """

    rank: int
    why: str
    parts: Parts
    wanted_parts: Parts

    @property
    def is_alike(self) -> bool:
        return self.rank < UNLIKE


def key_likeness(key: str, wanted: str) -> Likeness:
    """Compare the key of an event with the key of a wait."""
    if key == wanted:
        return Likeness(SAME, "The key is the same", _unmarked(key), _unmarked(wanted))
    for rank, find in enumerate(_COMPARISONS, start=1):
        why = find(key, wanted)
        if why:
            return Likeness(rank, why, *_marked(key, wanted, is_swap=find is _swap))
    return Likeness(UNLIKE, "Another key", _unmarked(key), _unmarked(wanted))


def uncommon_length(key: str, wanted: str) -> int:
    """Return the length of the longer key without the beginning and the end that both keys have.

    A cheap estimate of the likeness, for many keys. A small change gives a small number. Characters that look alike
    count as the same.
    """
    key, wanted = key.translate(_LOOK_ALIKES), wanted.translate(_LOOK_ALIKES)
    common = _common_start(key, wanted) + _common_start(key[::-1], wanted[::-1])
    return max(len(key), len(wanted)) - common


def key_variants(key: str) -> list[str]:
    """Return other keys that are almost this key, for a search with equality. At most `MAX_VARIANTS`.

    They differ in upper and lower case, in white space, in leading zeros, in punctuation, in two swapped characters, or
    in letters beside a digit that look like digits.
    """
    text = key.strip()
    found = [
        text,
        text.upper(),
        text.lower(),
        unicodedata.normalize("NFKC", text),
        _without_zeros(text),
        _letters(text),
        _LETTER_BESIDE_DIGIT.sub(lambda found: found[0].translate(_LOOK_ALIKES), text),
    ]
    found += [f"{text[:at]}{text[at + 1]}{text[at]}{text[at + 2 :]}" for at in range(min(len(text), MAX_VARIANTS) - 1)]
    return [variant for variant in dict.fromkeys(found) if variant and variant != key][:MAX_VARIANTS]


# -- Forms in which keys are the same --------------------------------------------------------------------------------


def _without_space(text: str) -> str:
    """Remove white space, and characters that are not visible, for example a zero-width space."""
    return "".join(char for char in text if not char.isspace() and unicodedata.category(char) not in ("Cf", "Cc"))


def _without_zeros(text: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


# They are applied in this order.
_FORMS: dict[str, Callable[[str], str]] = {
    "the Unicode form": lambda text: unicodedata.normalize("NFKC", text),
    "white space": _without_space,
    "upper and lower case": str.casefold,
    "leading zeros": _without_zeros,
    "punctuation": _letters,
}


def _in_form(text: str, names: list[str]) -> str:
    for name in names:
        text = _FORMS[name](text)
    return text


def _one_form(key: str, wanted: str) -> str:
    for name in _FORMS:
        form = _in_form(key, [name])
        if form and form == _in_form(wanted, [name]):
            return f"Only {name} differ{'' if name.endswith(('case', 'zeros')) else 's'}"
    return ""


def _several_forms(key: str, wanted: str) -> str:
    names = list(_FORMS)
    form = _in_form(key, names)
    if not form or form != _in_form(wanted, names):
        return ""
    for name in _FORMS:
        fewer = [other for other in names if other != name]
        if _in_form(key, fewer) == _in_form(wanted, fewer):
            names = fewer
    return f"Only {', '.join(names[:-1])} and {names[-1]} differ"


# -- Other differences -----------------------------------------------------------------------------------------------


def _look_alike(key: str, wanted: str) -> str:
    is_same = len(key) == len(wanted) and key.translate(_LOOK_ALIKES) == wanted.translate(_LOOK_ALIKES)
    return "The keys look alike: a letter is in the place of a digit" if is_same else ""


def _swap(key: str, wanted: str) -> str:
    at = _common_start(key, wanted)
    pair = wanted[at : at + 2]
    if key != f"{wanted[:at]}{pair[::-1]}{wanted[at + 2 :]}":
        return ""
    return f"Two {'digits' if pair.isdigit() else 'characters'} are swapped"


def _one_change(key: str, wanted: str) -> str:
    return _changes(key, wanted, min(1, max(len(key), len(wanted)) // 2))


def _part(key: str, wanted: str) -> str:
    """Compare keys of which one is the start or the end of the other."""
    short, long = sorted((key, wanted), key=len)
    if len(short) < 3 or len(short) == len(long):
        return ""
    where = "beginning" if long.endswith(short) else "end" if long.startswith(short) else ""
    if not where:
        return ""
    return f"The {where} is {'missing' if short == key else 'extra'}"


def _same_digits(key: str, wanted: str) -> str:
    digits = re.sub(r"\D", "", key)
    is_same = len(digits) >= 3 and digits == re.sub(r"\D", "", wanted)
    return "The digits are the same, the other characters differ" if is_same else ""


def _more_changes(key: str, wanted: str) -> str:
    return _changes(key, wanted, min(MAX_DISTANCE, max(len(key), len(wanted)) // CHARACTERS_PER_CHANGE))


def _changes(key: str, wanted: str, most: int) -> str:
    distance = _distance(key, wanted, most)
    if distance > most:
        return ""
    pairs = [pair for pair in zip(key, wanted, strict=False) if pair[0] != pair[1]]
    is_digits = len(key) == len(wanted) and all(one.isdigit() and other.isdigit() for one, other in pairs)
    what = ("digit" if is_digits else "character") + ("s" if distance > 1 else "")
    verb = {distance: "extra", -distance: "missing"}.get(len(key) - len(wanted))
    count = ("One", "Two", "Three")[distance - 1]
    if verb is None:
        return f"{count} {what} differ{'' if distance > 1 else 's'}"
    return f"{count} {what} {'are' if distance > 1 else 'is'} {verb}"


_COMPARISONS = (_one_form, _several_forms, _look_alike, _swap, _one_change, _part, _same_digits, _more_changes)


def _distance(key: str, wanted: str, most: int) -> int:
    """Return the number of inserted, removed and replaced characters, or a number above `most`.

    Cost: the length of the keys times `most`, because only changes near the diagonal are compared.
    """
    if abs(len(key) - len(wanted)) > most:
        return most + 1
    row, far = {column: column for column in range(min(most, len(wanted)) + 1)}, most + 1
    for line, char in enumerate(key, start=1):
        before, row = row, {0: line} if line <= most else {}
        for column in range(max(1, line - most), min(len(wanted), line + most) + 1):
            replaced = before.get(column - 1, far) + (char != wanted[column - 1])
            row[column] = min(replaced, before.get(column, far) + 1, row.get(column - 1, far) + 1)
        if min(row.values(), default=far) > most:
            return far
    return row.get(len(wanted), far)


# -- Marks -----------------------------------------------------------------------------------------------------------


def _unmarked(text: str) -> Parts:
    return ((text, False),) if text else ()


def _common_start(key: str, wanted: str) -> int:
    at = 0
    while at < min(len(key), len(wanted)) and key[at] == wanted[at]:
        at += 1
    return at


def _marked(key: str, wanted: str, *, is_swap: bool) -> tuple[Parts, Parts]:
    start = _common_start(key, wanted)
    end = min(_common_start(key[::-1], wanted[::-1]), len(key) - start, len(wanted) - start)
    middle, other = key[start : len(key) - end], wanted[start : len(wanted) - end]
    head, tail = key[:start], key[len(key) - end :]
    if is_swap or max(len(middle), len(other)) > _MAX_COMPARED:
        spans = [(middle, other, True)]
    else:
        spans = list(_spans(middle, other))
    ours = [(head, False), *((mine, differs) for mine, _, differs in spans), (tail, False)]
    theirs = [(head, False), *((its, differs) for _, its, differs in spans), (tail, False)]
    return tuple(part for part in ours if part[0]), tuple(part for part in theirs if part[0])


def _spans(middle: str, other: str) -> Iterator[tuple[str, str, bool]]:
    for kind, first, last, other_first, other_last in SequenceMatcher(
        None, middle, other, autojunk=False
    ).get_opcodes():
        yield middle[first:last], other[other_first:other_last], kind != "equal"
