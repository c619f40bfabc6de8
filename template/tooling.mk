# The targets that every project has: environment, gates and stages. This file comes from the template
# and is changed by an update; your own targets go into Makefile. GNU make 3.81 and newer.
UV_VERSION := 0.13.8

# uv comes from the PATH, or else from the package index into .uv, which then holds nothing but uv.
UV := $(shell command -v uv 2>/dev/null || echo .uv/$(UV_VERSION)/uv)
UV_NEEDED := $(filter .uv/%,$(UV))

# The environment is this folder's own, whatever else is activated.
unexport VIRTUAL_ENV
export UV_PROJECT_ENVIRONMENT := .venv
BIN := .venv/bin
ENV := .venv/.ready

# pre-commit works from the root of a repository, so only there are hooks and file checks possible.
IN_REPOSITORY := $(wildcard .git)

# It takes files, not folders, and long for each: only for those with a handler that may catch a
# cancellation, or that goes on in the next line. ruff has its other rules.
FLAKE8_ASYNC := $(BIN)/flake8-async --enable=ASYNC103,ASYNC104
HANDLERS := except *[*]? *(:|[(][^)]*$$|.*(BaseException|[Cc]ancelled))

.DEFAULT_GOAL := help
.PHONY: help setup git-hooks format format-check lint typecheck test coverage quality check hooks clean

help: ## list the targets
	@test -z "$$PROJECT" || printf '%s\n\n' "$$PROJECT"
	@sed -n 's/^\([a-z][a-z-]*\):.* ## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  awk -F '|' '{ printf "make %-13s %s\n", $$1, $$2 }'

setup: $(ENV) git-hooks ## make the environment and install the git hooks

# Hooks that cannot be installed stop no work: pre-commit says why, and CI runs the same gates.
git-hooks: $(ENV)
	@$(if $(IN_REPOSITORY),$(BIN)/pre-commit install || echo "The git hooks are not installed.",\
	  echo "No git hooks: this folder is not the root of a git repository. Run 'git init', then 'make setup'.")

format: $(ENV) ## format with isort and black, writing
	$(BIN)/isort .
	$(BIN)/black .

format-check: $(ENV)
	$(BIN)/isort --check-only --diff .
	$(BIN)/black --check --diff .

lint: $(ENV) ## lint with ruff, the house rules and flake8-async, and check the files; reading only
	$(BIN)/ruff check .
	$(BIN)/ast-grep scan --error=unused-suppression --report-style=medium .
	@echo "$(FLAKE8_ASYNC)"; find . -path './.?*' -prune -o -name '*.py' \
	  -exec grep -qE '$(HANDLERS)' {} \; -exec $(FLAKE8_ASYNC) {} +
	@$(if $(IN_REPOSITORY),$(BIN)/pre-commit run --all-files --hook-stage manual,\
	  echo "No file checks: this folder is not the root of a git repository.")

typecheck: $(ENV) ## check the types with mypy
	$(BIN)/mypy

# The guard runs every async test in that many shuffled schedules, 1 unless told. With CANCEL it runs
# each once more for each place where it waits, and cancels it there, which covers nothing new.
SCHEDULES := $(strip $(if $(SEEDS),--seeds=$(SEEDS)) $(if $(CANCEL),--cancel --no-cov))

test: $(ENV) ## run the tests with coverage; SEEDS=10 for more schedules, CANCEL=1 to cancel calls, ARGS for pytest
	$(BIN)/pytest $(SCHEDULES) $(ARGS)

coverage: $(ENV) ## the same, and write the HTML report
	$(BIN)/pytest $(SCHEDULES) --cov-report=term --cov-report=html $(ARGS)
	@echo "The report is in htmlcov/index.html."

# Formats first, so that the other stages all see the same files.
quality: $(ENV) ## format, then lint, typecheck and test: every stage, even when one fails
	@$(call start-stages,quality); $(call run-stages,format); $(call run-stages,lint typecheck test); $(end-stages)

# Caches and reports go to a temporary folder, so that the project's own stays as it is.
check: SYNC_FLAGS = $(if $(wildcard uv.lock),--locked)
check: $(ENV) ## the same gates, writing nothing: what CI runs
	@$(call start-stages,check); export PYTHONDONTWRITEBYTECODE=1 RUFF_NO_CACHE=true; \
	  export MYPY_CACHE_DIR="$$logs/mypy" COVERAGE_FILE="$$logs/coverage"; \
	  export PYTEST_ADDOPTS="$$PYTEST_ADDOPTS -o \"cache_dir=$$logs/pytest\""; \
	  $(call run-stages,format-check lint typecheck test); $(end-stages)

hooks: $(ENV) ## run every git hook over all files
	@$(if $(IN_REPOSITORY),,echo "Hooks need a git repository: run 'git init' and commit first."; exit 1;) \
	  $(BIN)/pre-commit run --all-files; commit=$$?; \
	  $(BIN)/pre-commit run --all-files --hook-stage pre-push && exit $$commit

clean: ## remove what the targets made
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* htmlcov build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "The git hooks stay: the next target that needs the environment makes it again."

# The stages of a target run side by side. Each writes into a log of its own, so that their output does
# not mix; the logs are then shown one after another, and the last line names every stage that failed.
start-stages = logs=$$(mktemp -d) || exit 1; trap 'rm -rf "$$logs"' EXIT; trap 'exit 130' INT TERM; \
  target=$(1); ran=; failed=
run-stages = echo "$$target: $(1) ..."; \
  $(MAKE) --no-print-directory -k -j4 LOGS="$$logs" $(addprefix stage-,$(1)) >"$$logs/make" 2>&1; \
  for stage in $(1); do \
    printf '\n== %s\n' "$$stage"; sed '/^make.*: \*\*\* /d' "$$logs/$$stage.log" || cat "$$logs/make"; \
    ran="$$ran $$stage"; test -e "$$logs/$$stage.passed" || failed="$$failed $$stage"; \
  done
end-stages = echo; if test -z "$$failed"; then echo "$$target passed:$$ran"; \
  else echo "$$target FAILED in:$$failed"; exit 1; fi

stage-%:
	@$(MAKE) --no-print-directory $* >"$(LOGS)/$*.log" 2>&1 && touch "$(LOGS)/$*.passed"

# Hooks know the path of the environment that installed them, so they are renewed with it.
# The stamp says what the environment was made for: a moved folder or another Python needs a new one,
# and so does an environment without a stamp, which an interrupted run left behind.
MADE_FOR := $(strip $(CURDIR) $(UV_PYTHON))
export MADE_FOR
ifneq ($(strip $(shell cat $(ENV) 2>/dev/null)),$(MADE_FOR))
$(ENV): remove-environment
endif
.PHONY: remove-environment
remove-environment:
	@rm -rf .venv

$(ENV): pyproject.toml $(wildcard uv.lock .python-version) $(UV_NEEDED)
	@echo "Setting up the environment in .venv ..."
	@said=$$("$(UV)" sync --quiet $(SYNC_FLAGS) 2>&1); failed=$$?; \
	  test -z "$$said" || printf '%s\n' "$$said" >&2; test $$failed -eq 0 || { \
	  echo "The environment could not be set up; uv says why above. It needs Python as pyproject.toml asks,"; \
	  echo "the package index, and an up-to-date uv.lock ('make setup' brings it up to date)."; \
	  case "$$said" in *wheel*|*"ailed to build"*) $(older-python);; esac; exit 1; }
	@! grep -qs pre-commit "$$(git rev-parse --git-path hooks 2>/dev/null)/pre-commit" || \
	  $(BIN)/pre-commit install >/dev/null
	@printf '%s\n' "$$MADE_FOR" > $(ENV)

# A new Python comes before the wheels of all packages do.
older-python = "$$("$(UV)" python find)" -c 'import re, sys; new = sys.version_info.minor; \
  lowest = re.search(r"(?m)^requires-python = .*?3[.](\d+)", open("pyproject.toml").read()); \
  lowest and new > int(lowest[1]) and print( \
  f"A package that has no wheel for Python 3.{new} yet may have one for 3.{new - 1}: take that Python by\n" \
  f"UV_PYTHON=3.{new - 1} in the environment, or by a file .python-version that says 3.{new - 1}.")'

.uv/$(UV_VERSION)/uv:
	@echo "uv is not on the PATH: installing uv $(UV_VERSION) into .uv ..."
	@rm -rf .uv; python3 -m venv .uv/venv && .uv/venv/bin/python -m pip install -qq uv==$(UV_VERSION) && \
	  mkdir -p $(@D) && mv .uv/venv/bin/uv $@ && rm -rf .uv/venv || { rm -rf .uv; \
	  echo "uv $(UV_VERSION) could not be installed: python3 needs its venv module and the package index."; exit 1; }
