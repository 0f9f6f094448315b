"""Words for keys of JSON objects, for labels of fields and of values."""

import re


def words_of(key: str) -> str:
    """Return a key as words: `payOutOn` becomes `Pay out on`. A key with other characters stays unchanged."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key) or key.isupper():
        return key
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", key).split()
    return " ".join(
        [parts[0][:1].upper() + parts[0][1:], *(part if part.isupper() else part.lower() for part in parts[1:])]
    )
