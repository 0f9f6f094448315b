"""Forms in which a secret word can appear in stored bytes."""

import base64


def spellings(word: str) -> list[str]:
    """The word in clear, and the part of its base64 that is the same whatever stands around it, at each alignment."""
    found = [word]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + word.encode()).decode().rstrip("=")
        found.append(encoded[(0, 2, 3)[shift] : len(encoded) - (1 if (shift + len(word)) % 3 else 0)])
    return found
