"""What the async guard costs: CPU of a project's tests with it over that without, in one run.

Run it in a rendered project, by the project's own Python. Rounds alternate, so that a busy machine slows
both. The least of each is compared, as in `timeit`: other work on the machine only adds, by more than the
guard itself. The limit is that of the product, for one schedule: 1.15.
"""

import resource
import subprocess
import sys

ROUNDS = 5
LIMIT = 1.15

WITH = ["--seeds=0"]
# Without the plugin its settings are unknown, which the project's pytest.ini makes an error.
WITHOUT = [
    "-pno:tests.guard.plugin",
    "-ostrict_config=false",
    "-Wignore::pytest.PytestConfigWarning",
]


def main() -> int:
    """Print the ratio and return 1 if it is above the limit, else 0."""
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(ROUNDS):
        seconds["with"].append(cpu_of_tests(WITH))
        seconds["without"].append(cpu_of_tests(WITHOUT))
    ratio = min(seconds["with"]) / min(seconds["without"])
    verdict = "" if ratio <= LIMIT else "  TOO MUCH"
    print(
        f"tests with the guard over without, one schedule: {ratio:.2f} (at most {LIMIT}){verdict}"
    )
    return int(ratio > LIMIT)


def cpu_of_tests(options: list[str]) -> float:
    """Return the CPU seconds of the project's tests, those of what they start included.

    Raises:
        subprocess.CalledProcessError: A test failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "-pno:randomly", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
