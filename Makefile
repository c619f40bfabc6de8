# The template's own commands. The gates are those that it gives to projects.
# Its tests are shared out by pytest.ini.
PROCESSES :=
include template/tooling.mk
# No guard watches these tests, and their order is shuffled all the same.
AS_BEFORE :=

.PHONY: new adopt update bench gates-page docs site

# Answers and flags reach the program as they were typed: neither make nor a shell expands them.
override DEST := $(value DEST)
override FLAGS := $(value FLAGS)
export DEST FLAGS

new: $(UV_NEEDED) ## make a project: DEST=../order-hub FLAGS="--defaults -d project_name='Order Hub'"
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed as python3, not $$(python3 --version): put one first on the PATH."; exit 1; }
	@PATH="$$(cd "$$(dirname "$(UV)")" && pwd):$$PATH" python3 new.py

# The programs that `make adopt` needs beside Python, from pyproject.toml.
ADOPT = $(shell sed -n 's/^adopt = \["\(.*\)"\]$$/\1/p' pyproject.toml)
adopt: $(UV_NEEDED) ## let an existing repository take the template on: DEST=../old-repo FLAGS="-d line_length=88"
##- ADVISORY=1         lets the stages that fail today stop nobody
	@PATH="$$(cd "$$(dirname "$(UV)")" && pwd):$$PATH" ADVISORY="$(ADVISORY)" uv tool run --quiet --python '>=3.11' \
	  --from $(COPIER) --with $(ADOPT) python -B adopt.py

# For projects of releases whose own `make update` is Copier's: what bots raised would conflict there.
COPIER = $(shell sed -n 's/^copier = \["\(.*\)"\]$$/\1/p' pyproject.toml)
update: $(UV_NEEDED) ## bring a project of a release up to 0.6.0 to the newest version: DEST=../order-hub
	@uv="$$(cd "$$(dirname "$(UV)")" && pwd)/uv" && cd "$${DEST:?say which project, as in DEST=../order-hub}" && \
	  PYTHONPATH="$(CURDIR)/template" "$$uv" tool run --quiet --python '>=3.11' --from $(COPIER) python -B -m tooling.update \
	  $(if $(PRETEND),--pretend,--format)

bench: $(ENV) ## measure, each number as a ratio within one run, and what schedules find
	@failed=0; for part in daily render "schedules --compare" project fleet; do \
	  $(BIN)/python -m benchmarks.$$part || failed=1; done; exit $$failed

gates-page: $(ENV) ## write docs/gates.md anew from the minimal pairs, and their number into README.md
	@$(BIN)/python -m tests.gates_page

docs: gates-page ## the same, docs/schedules.md from races, the picture and the charts; then build the site
	@$(BIN)/python -m benchmarks.schedules > docs/schedules.md
	@$(BIN)/python -m tests.picture > docs/quality.svg
	@$(BIN)/python -m benchmarks.charts
	@$(MAKE) --no-print-directory site

site: $(ENV) ## build the site of docs/ into .docs/, without a warning
	@$(BIN)/sphinx-build --quiet --fresh-env --write-all --fail-on-warning docs .docs
	@echo "The site is at .docs/index.html."
