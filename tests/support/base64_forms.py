"""Forms in which a secret word can appear in stored bytes."""

import base64


def encoded_forms(word: str) -> list[str]:
    """Return the word, and its base64 form at each of the three alignments.

    The characters of the base64 form that depend on the bytes around the word are left out.
    """
    found = [word]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + word.encode()).decode().rstrip("=")
        found.append(encoded[(0, 2, 3)[shift] : len(encoded) - (1 if (shift + len(word)) % 3 else 0)])
    return found
