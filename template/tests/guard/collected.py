"""Finds tests that pytest never collects, because of their names or where they are.

They pass for ever, as nothing runs them.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .places import GUARD, PROJECT, path_in_project
from .watch import Watch

Function = ast.FunctionDef | ast.AsyncFunctionDef

# How the names of what pytest and unittest call begin.
CALLED = ("pytest_", "setup", "teardown", "setUp", "tearDown", "asyncSetUp", "asyncTearDown", "__")


class UncollectedTest(pytest.Item):
    """Stands for a test that was not collected, and fails.

    Args:
        watch: What is told of it.
        line: Where it is.
        options: What pytest makes its nodes of.
    """

    def __init__(self, watch: Watch, line: int, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._watch = watch
        self._line = line

    def runtest(self) -> None:
        """Take note of it."""
        place = f"{path_in_project(str(self.path))}:{self._line}"
        self._watch.found("uncollected-test", f"nothing runs {self.name}, defined at {place}")

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return where it is, for reports."""
        return self.path, self._line - 1, self.name


def uncollected_tests(module: pytest.Module) -> Iterator[tuple[str, int]]:
    """Yield the name and the line of each test of a module that pytest does not collect.

    It looks like a test, and no test file mentions it.
    """
    is_of_tests = path_in_project(str(module.path)).startswith("tests/")
    if not is_of_tests or not _is_in_question(module):
        return
    for node in _like_tests(module, ast.parse(module.path.read_bytes())):
        if node.name not in _mentioned():
            yield node.name, node.lineno


def _is_in_question(module: pytest.Module) -> bool:
    """Return whether its text defines what may be such a test: to parse it takes longer than to read."""
    definitions = re.findall(r"^(\s*)(?:async\s+)?(def|class)\s+(\w+)", _text(module.path), re.M)
    return any(
        name not in _mentioned()
        and (indent.strip("\n") or kind == "class" or not module.funcnamefilter(name))
        for indent, kind, name in definitions
    )


def _like_tests(module: pytest.Module, tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Yield what is not collected and holds what tests hold."""
    for node in tree.body:
        if isinstance(node, Function):
            if not module.funcnamefilter(node.name) and _is_plain(node) and _asserts(node):
                yield node
            yield from _inner_tests(node)
        elif isinstance(node, ast.ClassDef) and not node.bases and not node.decorator_list:
            yield from _like_tests_of_class(module, node)


def _like_tests_of_class(
    module: pytest.Module, node: ast.ClassDef
) -> Iterator[Function | ast.ClassDef]:
    methods = [each for each in node.body if isinstance(each, Function)]
    if module.classnamefilter(node.name):
        for method in methods:
            if not module.funcnamefilter(method.name) and _is_plain(method) and _asserts(method):
                yield method
            yield from _inner_tests(method)
    elif any(module.funcnamefilter(method.name) and _asserts(method) for method in methods):
        yield node


def _inner_tests(function: Function) -> Iterator[Function]:
    """Yield functions within that are named like tests."""
    inner = [node for node in ast.walk(function) if isinstance(node, Function)]
    for node in inner[1:]:
        if node.name.startswith("test") and _is_plain(node) and _asserts(node):
            yield node


def _is_plain(function: Function) -> bool:
    """Return whether nothing else can call it: no decorator, no name that calls for it."""
    return not function.decorator_list and not function.name.startswith(CALLED)


def _asserts(function: Function) -> bool:
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr.startswith(("assert", "raises")))
        for node in ast.walk(function)
    )


@cache
def _mentioned() -> frozenset[str]:
    """Return all words of the files of the tests, but those by which something is defined."""
    words = Counter[str]()
    for file in (PROJECT / "tests").rglob("*.py"):
        if not file.is_relative_to(GUARD):
            text = _text(file)
            words.update(re.split(r"\W+", text))
            words.subtract(re.findall(r"\b(?:def|class) (\w+)", text))
    return frozenset(+words)


def _text(file: Path) -> str:
    return file.read_text("utf-8", errors="replace")
