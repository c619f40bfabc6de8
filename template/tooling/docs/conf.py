"""How `make docs` builds a site: of the pages in docs/, and of the docstrings in the sources."""

import os
import re

from sphinx.application import Sphinx

project = html_title = os.environ["PROJECT"].strip()
extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # as GitHub has them, so that a link works in both places
default_role = "code"  # what stands between single backticks
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False

# One page for each package, written anew by each build.
apidoc_modules = [
    {
        "path": os.environ["SOURCES"],
        "destination": "_api",
        "automodule_options": {"members", "show-inheritance"},
    }
]
autodoc_member_order = "bysource"
# What a package passes on is told where it is made.
autodoc_default_options = {"ignore-module-all": True}
# Else a field of a dataclass would be told twice.
napoleon_use_ivar = True


def take_files_along(_: Sphinx, _page: str, source: list[str]) -> None:
    """Let a link that leaves docs/ lead to a copy of the file."""
    source[0] = re.sub(r"\]\((\.\./[^)#]*)(#[^)]*)?\)", r"](path:\1)", source[0])


def setup(app: Sphinx) -> None:
    """Look at each page before it is read."""
    app.connect("source-read", take_files_along)
