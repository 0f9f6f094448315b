"""Examples from which an author can create a definition. Each file of `example_documents` is one document."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workflows.errors import NotFound

FOLDER = Path(__file__).parent / "example_documents"


@dataclass(frozen=True)
class Example:
    """Example with its name, which is also the id of its document."""

    name: str
    title: str
    description: str
    document: dict[str, Any]


@cache
def examples() -> tuple[Example, ...]:
    """Return all examples, by name."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return tuple(Example(document["id"], document["name"], document["description"], document) for document in documents)


def example_find(name: str) -> Example:
    """Return an example. Errors: NotFound EXAMPLE_NOT_FOUND."""
    found = next((example for example in examples() if example.name == name), None)
    if found is None:
        names = ", ".join(example.name for example in examples())
        raise NotFound(f"there is no example {name[:200]!r}; the examples are {names}", code="EXAMPLE_NOT_FOUND")
    return found
