"""Package names: none hides another module, and every project name gives a valid one."""

import re

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

from tests.conftest import Render
from tests.helpers import PYTHONS, ROOT, available_python, read_toml, read_yaml, run

NAMES = (
    jinja2.Environment(  # noqa: S701 - nothing here is HTML
        loader=jinja2.FileSystemLoader(ROOT),
        extensions=[AnsibleCoreFiltersExtension],
        undefined=jinja2.StrictUndefined,
    )
    .get_template("names.jinja")
    .module
)
RESERVED: set[str] = set(vars(NAMES)["reserved_names"])
PACKAGE_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


def default_package_name(project_name: str) -> str:
    return str(vars(NAMES)["default_package_name"](project_name)).strip()


@pytest.mark.parametrize(
    ("project_name", "package_name"),
    [
        ("Order Hub", "order_hub"),
        ("order-hub", "order_hub"),
        ("Café Zürich 2", "cafe_zuerich_2"),
        ("Cafe\N{COMBINING ACUTE ACCENT}s", "cafes"),
        ("Łódź Ørsted Ñandú", "lodz_oersted_nandu"),
        ("3D Printer", "d_printer"),
        ("  O'Brien & Sons  ", "o_brien_sons"),
        ("日本語", "async_project"),
        ("42 — !", "async_project"),
        ("JSON", "json_project"),
        ("Test", "test_project"),
        ("class", "class_project"),
        ("aiohttp", "aiohttp_project"),
        ("x" * 80, "x" * 42),
        ("x" * 41 + " yz", "x" * 41),
    ],
)
def test_a_package_name_is_made_from_the_project_name(project_name: str, package_name: str) -> None:
    assert default_package_name(project_name) == package_name


@given(st.text(max_size=80))
@settings(max_examples=1000, deadline=None)
def test_every_project_name_gives_a_package_name_that_is_accepted(project_name: str) -> None:
    name = default_package_name(project_name)

    assert PACKAGE_NAME.fullmatch(name)
    assert len(name) <= 50
    assert name not in RESERVED


@pytest.mark.parametrize("python", PYTHONS)
def test_the_standard_library_of_every_python_is_reserved(python: str) -> None:
    if not available_python(python):
        pytest.skip(f"there is no Python {python} here")
    code = (
        "import sys, keyword; print(*sys.stdlib_module_names, *keyword.kwlist, *keyword.softkwlist)"
    )
    names = run([f"python{python}", "-c", code], ROOT).stdout.split()

    assert "asyncio" in names
    assert {name for name in names if PACKAGE_NAME.fullmatch(name)} <= RESERVED


@pytest.mark.slow
def test_everything_that_a_project_installs_is_reserved(render_project: Render) -> None:
    project = render_project()
    assert run("make setup", project).returncode == 0
    code = (
        "import importlib.metadata as m\n"
        # No module can have the name of a folder of stubs, which holds a hyphen.
        "print(*(name for name in m.packages_distributions() if '-' not in name))\n"
        "print(*(d.name for d in m.distributions()))"
    )
    names = run([".venv/bin/python", "-c", code], project).stdout.lower().replace("-", "_").split()

    # What other systems and Pythons install is in the lock alone.
    locked = {
        package["name"].replace("-", "_") for package in read_toml(project / "uv.lock")["package"]
    }

    own = {read_yaml(project / ".copier-answers.yml")["package_name"]}
    assert "aiohttp" in names
    # mypyc names its modules by a hash, which no project is called.
    kept = {name for name in names if PACKAGE_NAME.fullmatch(name) and "__mypyc" not in name}
    assert (kept | locked) - own <= RESERVED


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("json", "json_project"),
        ("match", "match_project"),
        ("pytest", "pytest_project"),
        ("pytest_", "pytest_project"),
        ("pre__commit", "pre__commit_project"),
        ("tests", "tests_project"),
        ("con", "con_project"),
    ],
)
def test_a_reserved_name_is_refused_with_another_to_type(
    name: str, other: str, render_small: Render
) -> None:
    with pytest.raises(ValueError, match=f"type e.g. {other}: {name} is taken"):
        render_small(package_name=name)


def test_a_trailing_underscore_tells_a_name_from_a_keyword(render_small: Render) -> None:
    assert render_small(package_name="class_").exists()
