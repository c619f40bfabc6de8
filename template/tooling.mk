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
TOOLING := $(dir $(lastword $(MAKEFILE_LIST)))
ENV := .venv/.ready

# pre-commit works from the root of a repository, so only there are hooks and file checks possible.
IN_REPOSITORY := $(wildcard .git)

.DEFAULT_GOAL := help
.PHONY: help setup git-hooks format format-check lint typecheck test coverage quality check hooks pitfalls clean
.PHONY: gate-format gate-isort gate-black gate-ruff gate-house-rules gate-flake8-async gate-file-checks gate-mypy gate-pytest

help: ## list the targets
	@test -z "$$PROJECT" || printf '%s\n' "$$PROJECT"
	@awk '/^##@ / { group = "\n" substr($$0, 5) "\n" } /^##- / { print "     " substr($$0, 4) } \
	  match($$0, /^[a-z][a-z-]*:.* ## /) { printf "%smake %-13s %s\n", group, \
	  substr($$0, 1, index($$0, ":") - 1), substr($$0, RSTART + RLENGTH); group = "" }' \
	  $(TOOLING)tooling.mk $(firstword $(MAKEFILE_LIST))

##@ To begin

setup: $(ENV) git-hooks ## make the environment and install the git hooks

# Hooks that cannot be installed stop no work: pre-commit says why, and CI runs the same gates.
git-hooks: $(ENV)
	@$(if $(ADVISORY),echo "No git hooks yet: they would stop what ADVISORY lets pass: $(ADVISORY).",\
	  $(if $(IN_REPOSITORY),$(BIN)/pre-commit install || echo "The git hooks are not installed.",\
	  echo "No git hooks: this folder is not the root of a git repository. Run 'git init', then 'make setup'."))

##@ Every day

# Formats first, so that the other stages all see the same files.
quality: $(ENV) ## format, then lint, typecheck and test: every stage, even when one fails
##- V=1                shows all that the stages print
	@$(STAGES) $@ format=format then $(LINT) $(TYPECHECK) test=pytest

# Without requires-python, as where setup.cfg says it, uv locks for the Python that runs, and no two agree.
check: SYNC_FLAGS = $(if $(wildcard uv.lock),$(if $(shell grep -s '^requires-python' pyproject.toml),--locked))
check: $(ENV) ## the same gates, changing no file that git sees: what CI runs
	@$(STAGES) $@ $(FORMAT_CHECK) $(LINT) $(TYPECHECK) test=pytest

##@ One stage

format: $(ENV) ## format with isort and black, writing
	@$(CHANGED) --named '\.pyi?$$' format $(BIN)/isort --quiet --filter-files; sorted=$$?; \
	  $(BIN)/black --quiet . && exit $$sorted

format-check: $(ENV)
	@$(STAGES) $@ $(FORMAT_CHECK)

lint: $(ENV) ## lint with ruff, the house rules and flake8-async, and check the files; reading only
	@$(STAGES) $@ $(LINT)

typecheck: $(ENV) ## check the types with mypy
	@$(STAGES) $@ $(TYPECHECK)

# The guard has options of its own. A project that was adopted may keep settings that do not load it yet.
GUARD = $(shell grep -ls tests.guard.plugin pytest.ini pytest.toml pyproject.toml setup.cfg tox.ini)
# A whole run shares the tests out among processes; PROCESSES=1 where they share something outside.
# What is not there as a path is taken for a part of the tests' names.
PROCESSES ?= auto
WHOLE = $(if $(and $(GUARD),$(PROCESSES)),--processes=$(PROCESSES))
CHOSEN = $(if $(wildcard $(firstword $(subst ::, ,$(T)))),"$(T)",-k "$(T)")
# The guard runs every async test in that many shuffled schedules, 1 unless told. With CANCEL it runs
# each once more for each place where it waits, and cancels it there, which covers nothing new.
SCHEDULES = $(if $(GUARD),$(if $(SEEDS),--seeds=$(SEEDS)) $(if $(CANCEL),--cancel --no-cov))
# Without the guard, the settings are a project's own: no plugin that came with the tools changes its run.
AS_BEFORE = $(if $(GUARD),,-p no:randomly -W "ignore:The configuration option")
PYTEST = $(strip $(BIN)/pytest $(AS_BEFORE) $(SCHEDULES) \
  $(if $(T),$(CHOSEN),$(if $(LAST),--last-failed,$(if $(CANCEL),,$(WHOLE)))) $(ARGS))

test: $(ENV) ## run the tests, with coverage
##- T=tests/clients    runs some: those of a folder, a file, path::test, or by a part of their names
##- LAST=1             runs what failed last; all, if nothing did
##- SEEDS=10           tries more schedules
##- CANCEL=1           cancels calls wherever they wait
##- PROCESSES=1        runs all in one process; they are shared out else
##- ARGS=--pdb         gives pytest more options
	$(PYTEST)

coverage: $(ENV) ## the same, and write the HTML report
	$(PYTEST) --cov-report=term --cov-report=html
	@echo "The report is in htmlcov/index.html."

##@ Now and then

hooks: $(ENV) ## run every git hook over all files
	@$(if $(IN_REPOSITORY),,echo "Hooks need a git repository: run 'git init' and commit first."; exit 1;) \
	  $(BIN)/pre-commit run --all-files; commit=$$?; \
	  $(BIN)/pre-commit run --all-files --hook-stage pre-push && exit $$commit

pitfalls: $(ENV) ## show the five classic pitfalls of async code, and what the gates say of each
	@PYTHONPATH=. $(BIN)/python -P -m tests.guard.pitfalls

clean: ## remove what the targets made
	rm -rf .venv .uv .logs .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* htmlcov build dist .docs docs/_api
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "The git hooks stay: the next target that needs the environment makes it again."

# The stages of a target, and the gates of each, which run side by side.
STAGES = MAKE_COMMAND="$(MAKE_COMMAND)" PYTHONPATH="$(TOOLING).$${PYTHONPATH:+:$$PYTHONPATH}" \
  $(BIN)/python -P -m tests.guard.stages $(if $(V),--verbose) $(if $(ADVISORY),--advisory="$(ADVISORY)")
# Gates that look at each file by itself leave those alone that have not changed since they passed.
CHANGED = $(BIN)/python -P $(TOOLING)tests/guard/changed.py
FORMAT_CHECK := format-check=isort,black
LINT := lint=ruff,house-rules,flake8-async,file-checks
TYPECHECK := typecheck=mypy

gate-format: format

gate-isort:
	@$(CHANGED) --named '\.pyi?$$' isort $(BIN)/isort --check-only --filter-files

gate-black:
	@$(BIN)/black --check .

gate-ruff:
	@$(BIN)/ruff check --output-format=concise .

# The guard's own files, which take these two as long as a small project does, are checked in the template.
THEIRS := ^(?!tests/guard/).*
gate-house-rules:
	@$(CHANGED) --named '$(THEIRS)\.pyi?$$' house-rules $(BIN)/ast-grep scan --error=unused-suppression --report-style=medium

# It takes long for a file: only those with a handler that may catch a cancellation, or that goes on in
# the next line. ruff has its other rules.
FLAKE8_ASYNC := $(BIN)/flake8-async --enable=ASYNC103,ASYNC104
HANDLERS := except *[*]? *(:|[(][^)]*$$|.*(BaseException|[Cc]ancelled))
gate-flake8-async:
	@$(CHANGED) --named '$(THEIRS)\.py$$' --holding '$(HANDLERS)' flake8-async $(FLAKE8_ASYNC)

gate-file-checks:
	@$(if $(IN_REPOSITORY),$(CHANGED) --tracked file-checks $(BIN)/pre-commit run --hook-stage manual --files,\
	  echo "No file checks: this folder is not the root of a git repository.")

gate-mypy:
	@$(BIN)/mypy $(TYPED)

gate-pytest:
	@$(PYTEST) --quiet --no-header

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
