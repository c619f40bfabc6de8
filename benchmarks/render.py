"""What a copy costs: CPU of `copier copy` over that of a template of one file, in one run.

Each round copies every template once, so that a busy machine slows all of them; medians are compared.
The limits are those of the product: 1.7 with all examples, 1.5 with none. Most of the cost is Copier's own
for each file: it starts a git and compiles every part of the path. So the ratio is also shown for a
template of as many files of one line at the same paths, which asks nothing.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.helpers import EXAMPLES

ROUNDS = 9
LIMITS = {"all examples": 1.7, "no examples": 1.5}


def main() -> int:
    """Print the ratios and return 1 if one is above its limit, else 0."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        project = folder / "template"
        run("git", "clone", "--quiet", str(root), str(project))
        one_file = folder / "one-file"
        one_file.mkdir()
        (one_file / "README.md.jinja").write_text("# {{ _copier_conf.dst_path }}\n")
        commit(one_file)
        copies = {
            "one file": [str(one_file)],
            "all examples": [
                f"--data=examples=[{','.join(EXAMPLES)}]",
                str(project),
            ],
            "no examples": ["--data=examples=[]", str(project)],
        }
        for name in LIMITS:
            rendered = folder / f"first {name}"
            cpu_of_copy(copies[name], rendered)
            plain = folder / f"plain {name}"
            write_plain(rendered, plain)
            copies[f"plain {name}"] = [str(plain)]
        seconds: dict[str, list[float]] = {name: [] for name in copies}
        for number in range(ROUNDS):
            for name, arguments in copies.items():
                target = folder / f"{name} {number}"
                seconds[name].append(cpu_of_copy(arguments, target))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: medians[name] / medians["one file"] for name in medians}
    for name, limit in LIMITS.items():
        print(
            f"{name}: {ratios[name]:.2f} times the CPU of one file (limit {limit}); "
            f"as many plain files take {ratios[f'plain {name}']:.2f} times"
        )
    return int(any(ratios[name] > LIMITS[name] for name in LIMITS))


def write_plain(rendered: Path, template: Path) -> None:
    """Write a template of files of one line at the paths of a project."""
    for file in rendered.rglob("*"):
        if file.is_file():
            path = template / file.relative_to(rendered)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("one line\n")
    commit(template)


def commit(template: Path) -> None:
    """Make a repository of a template."""
    run("git", "init", "--quiet", str(template))
    run("git", "-C", str(template), "add", "--all", "--force")
    run("git", "-C", str(template), "commit", "--quiet", "--message=A template")


def cpu_of_copy(arguments: list[str], target: Path) -> float:
    """Return the CPU seconds, user and system, of one copy with all the processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    copy = [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", "--vcs-ref=HEAD"]
    run(*copy, *arguments, str(target))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(*command: str) -> None:
    """Run a command; raise CalledProcessError if it fails."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
