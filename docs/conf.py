"""The site of these pages: `make site` builds it into .docs/, and fails by every warning, such as a dead link."""

import re
from pathlib import Path

from sphinx.application import Sphinx

README = Path(__file__).parent.parent / "README.md"

project = "copier-async"
extensions = ["myst_parser"]
exclude_patterns = ["_static"]
myst_heading_anchors = 4  # as GitHub has them, so that a link works in both places
nitpicky = True
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False


def begin_with_the_readme(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the README before the list of pages: its links start in the folder above, and take files along from there."""
    if page == "index":
        text = re.sub(
            r"\]\((?!https:|#|docs/)([^)#]*)(#[^)]*)?\)",
            r"](path:../\1)",
            README.read_text("utf-8"),
        )
        source[0] = text.replace("](docs/", "](") + source[0]


def setup(app: Sphinx) -> None:
    """Let the first page begin with the README."""
    app.connect("source-read", begin_with_the_readme)
