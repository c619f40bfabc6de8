"""Repositories as they were before they take the template on: their files by path."""

from textwrap import dedent

CODE = '''
import asyncio


class Stock:
  """Items that are left."""

  def __init__(self, left):
    self.left = left

  async def take(self):
    """Take an item."""
    await asyncio.sleep(0)
    self.left -= 1
    return self.left
'''

PYTEST_STYLE = """
import asyncio

from order_hub import Stock


def test_an_item_is_taken():
  assert asyncio.run(Stock(2).take()) == 1
"""

UNITTEST_STYLE = """
import unittest

import helpers
import order_hub


class StockTest(unittest.IsolatedAsyncioTestCase):
  async def test_an_item_is_taken(self):
    self.assertEqual(await helpers.stock().take(), 1)
"""


# A flat layout, whose metadata are setuptools' own, with tests of unittest that share a module.
FLAT = {
    "README.rst": "Order Hub \n=========\n",
    "setup.py": "from setuptools import setup\n\nsetup()\n",
    "setup.cfg": dedent("""\
        [metadata]
        name = order-hub
        version = 1.2
        description = Keeps orders in step
        author = Ada Lovelace <ada@example.com>
        author_email = ada@example.com

        [options]
        packages = order_hub
        python_requires = >=3.8
        install_requires =
            attrs

        [flake8]
        max-line-length = 120

        [mypy]
        files = order_hub
        """),
    "order_hub/__init__.py": CODE,
    "tests/helpers.py": "import order_hub\n\n\ndef stock():\n  return order_hub.Stock(2)\n",
    "tests/test_stock.py": UNITTEST_STYLE,
    ".gitignore": "__pycache__/\n*.egg-info/\n",
}

# A src layout with settings and commands of its own, some under the names of the template's.
SRC = {
    "README.md": "# Order Hub\n",
    "LICENSE": "All rights reserved.\n",
    "pyproject.toml": dedent("""\
        # Ours.
        [project]
        name = "order-hub"
        version = "2.0"   # by hand
        description = "Keeps orders in step"
        requires-python = ">=3.9"
        authors = [{ name = "Ada Lovelace", email = "ada@example.com" }]
        dependencies = ["attrs"]

        [project.optional-dependencies]
        lint = ["black==24.3.0"]
        test = ["attrs"]

        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"

        [dependency-groups]
        dev = ["iniconfig", "pre-commit<4.7"]
        docs = ["attrs"]

        [tool.ruff.lint]
        select = ["E501"]

        [tool.black]
        line-length = 120
        """),
    "Makefile": dedent("""\
        .PHONY: all docs test
        all: test
        docs:
        \t@echo building our docs
        test:
        \t@echo running our tests
        """),
    "docs/index.md": "# Docs\n",
    ".gitignore": "*.egg-info\n/docs/_build/\n",
    "AGENTS.md": "Ask Ada.\n",
    "src/order_hub/__init__.py": CODE,
    "tests/test_stock.py": PYTEST_STYLE,
}

# One that has settings of pytest, git hooks, CI and editors.
SETTLED = {
    "pyproject.toml": dedent("""\
        [project]
        name = "order-hub"
        version = "2.0"
        requires-python = ">=3.12"

        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"
        """),
    "pytest.ini": dedent("""\
        [pytest]
        addopts = -ra
        markers =
            nightly: runs at night
        testpaths = tests
        """),
    ".pre-commit-config.yaml": dedent("""\
        repos:
        - repo: local
          hooks:
          - id: ours
            name: ours
            entry: "true"
            language: system

        # Theirs.
        ci:
          autofix_prs: false
        """),
    ".github/workflows/ci.yml": "name: Ours\non: push\njobs: {}\n",
    ".editorconfig": "root = true\n",
    ".gitignore": "*.egg-info\n",
    "src/order_hub/__init__.py": CODE,
    "tests/test_stock.py": PYTEST_STYLE,
}
