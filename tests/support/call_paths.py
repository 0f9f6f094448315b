"""Calls of functions of this repository, read from the source, for tests of tables that name a path through the code.

A function "reaches" a name if its own code refers to the name, or if functions, methods or constants of the same file
do so on its behalf. References count, and not only calls: a function can be passed on or stored in a table.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class SourceFile:
    """Top-level definitions, constants and imports of one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        self.constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        self.definitions = {node.name: node for node in self.tree.body if isinstance(node, Definition)}
        # Local name -> (file, name in it), or (file, "") for an imported module.
        self.imports = dict(self._imports())

    def _imports(self) -> Iterator[tuple[str, tuple[str, str]]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    module = _file_of(f"{node.module}.{alias.name}")
                    found = (module, "") if module else (_file_of(node.module) or "", alias.name)
                    yield alias.asname or alias.name, found

    def function(self, name: str) -> Definition | None:
        """Return the definition of `function` or `Class.method`, or None."""
        owner, _, method = name.rpartition(".")
        if not owner:
            return self.definitions.get(name)
        found = self.definitions.get(owner)
        methods = found.body if isinstance(found, ast.ClassDef) else []
        return next((node for node in methods if isinstance(node, Definition) and node.name == method), None)

    def reached_from(self, name: str) -> set[tuple[str, str]]:
        """Return (file, name) of everything that a function reaches. A method of another file's class has the form
        `Class.method`."""
        found: set[tuple[str, str]] = set()
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            found.add((self.name, current))
            node = self.function(current) or self.constants.get(current)
            if node is None:
                continue
            owner = current.rpartition(".")[0]
            for inner in ast.walk(node):
                waiting += self._own(inner, owner)
                found |= self._foreign(inner)
        return found | self._foreign_methods(found)

    def _own(self, node: ast.AST, owner: str) -> list[str]:
        """Return the names of this file that a node refers to."""
        if isinstance(node, ast.Name) and (node.id in self.definitions or node.id in self.constants):
            return [node.id]
        if isinstance(node, ast.Attribute):
            names = [f"{owner}.{node.attr}", *(f"{name}.{node.attr}" for name in self.definitions)]
            return [name for name in names if self.function(name) is not None]
        return []

    def _foreign(self, node: ast.AST) -> set[tuple[str, str]]:
        if isinstance(node, ast.Name) and node.id in self.imports:
            return {self.imports[node.id]}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.imports:
            module, name = self.imports[node.value.id]
            return {(module, node.attr)} if not name else set()
        return {("", node.attr)} if isinstance(node, ast.Attribute) else set()

    def _foreign_methods(self, found: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """An attribute may be a method of a class that this file imports."""
        attributes = {name for module, name in found if not module}
        return {
            (module, f"{name}.{attribute}")
            for module, name in self.imports.values()
            if module and name[:1].isupper()
            for attribute in attributes
        }

    def text_constant(self, node: ast.AST) -> str | None:
        """Return the text of a literal or of a constant that a node names, here or in an imported module."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.text_constant(self.constants[node.id])
        place = next(iter(self._foreign(node)), None) if isinstance(node, ast.Name | ast.Attribute) else None
        if place is None or not place[0]:
            return None
        source = source_file(place[0])
        value = source.constants.get(place[1])
        return None if value is None else source.text_constant(value)

    def wire_names_of(self, name: str) -> set[str]:
        """Return the texts that the decorators of a function, and of its class, name."""
        nodes = [self.function(name), self.definitions.get(name.partition(".")[0])]
        arguments = [
            argument
            for node in nodes
            if node is not None
            for decorator in node.decorator_list
            if isinstance(decorator, ast.Call)
            for argument in (*decorator.args, *(keyword.value for keyword in decorator.keywords))
        ]
        return {text for argument in arguments if (text := self.text_constant(argument)) is not None}

    def wire_names_sent_by(self, name: str) -> set[str]:
        """Return the texts of the constants that a function reaches."""
        texts = set()
        for module, constant in self.reached_from(name):
            value = source_file(module).constants.get(constant) if module else None
            text = None if value is None else source_file(module).text_constant(value)
            if text is not None:
                texts.add(text)
        return texts


@cache
def source_file(name: str) -> SourceFile:
    """Return the parsed file."""
    return SourceFile(name)


@cache
def _file_of(module: str) -> str | None:
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate.relative_to(ROOT).as_posix()
    return None
