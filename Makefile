# `make help` lists the targets. Requirements: Python 3.11 or newer, make, and access to the package registries.
# Everything else is installed into .venv or POINTSMAN_HOME.

PYTHON ?= python3
ARGS ?=
# Number of test processes. Each process starts its own PostgreSQL, Redis and Temporal.
WORKERS ?= 2

.DEFAULT_GOAL := run
.PHONY: help run test coverage check format record-histories golden-graphs screenshots clean-local .venv
# A failed installation must not leave the stamp file, or the next `make` would skip it.
.DELETE_ON_ERROR:

INSTALLED := .venv/.installed

help: ## List the targets.
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  %-18s %s\n' "$$target" "$$text"; done
	@printf '\nVariables: ARGS="..." (passed to pytest), WORKERS=N (test processes, 0 for one), PYTHON=path\n'

.venv: $(INSTALLED) ## Install the packages of requirements-dev.txt into .venv.

# The first program that is new enough is used. An older `python3` on the path is skipped.
$(INSTALLED): requirements.txt requirements-dev.txt
	@set -e; \
	new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if ! .venv/bin/python -c "$$new_enough" 2>/dev/null; then \
		for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
			if "$$candidate" -c "$$new_enough" 2>/dev/null; then found="$$candidate"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Python 3.11 or newer is required, found: $$($(PYTHON) --version 2>&1 || true)." >&2; \
			echo "Install it, or give its path: make PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		rm -rf .venv; \
		echo "Creating .venv with $$found"; \
		"$$found" -m venv .venv || { rm -rf .venv; \
			echo "$$found cannot create virtual environments. On Debian and Ubuntu: install python3-venv." >&2; exit 1; }; \
	fi; \
	echo "Installing the packages of requirements-dev.txt"; \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt; \
	touch $@

# `exec` replaces the shell, so that a SIGTERM to make's child reaches the stack.
run: $(INSTALLED) ## Start the portal with demo data on http://127.0.0.1:8000; Ctrl-C stops everything.
	@exec .venv/bin/python manage.py devstack run

test: $(INSTALLED) ## Run all tests against real servers.
	@exec .venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Not part of `test`: on Python 3.11, coverage has no fast way to trace, and the tests need three times the CPU time.
# Browser and acceptance tests are left out, because they measure times.
coverage: ARGS := $(or $(ARGS),tests/unit tests/integration tests/replay tests/temporal)
coverage: $(INSTALLED) ## Run the tests (without browser and acceptance) and print a coverage summary.
	@.venv/bin/coverage erase
	@status=0; .venv/bin/coverage run -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) || status=$$?; \
	.venv/bin/coverage combine --quiet && .venv/bin/coverage report; exit $$status

check: $(INSTALLED) ## Run all static checks.
	@exec .ci/check

format: $(INSTALLED) ## Format the code and the templates, and apply safe fixes.
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .
	@.venv/bin/djlint --reformat --quiet templates || true

record-histories: $(INSTALLED) ## Run every recorded scenario again and store its history; needed after an engine change.
	@exec .venv/bin/python -m pytest tests/replay/recording.py -q

screenshots: $(INSTALLED) ## Take the pictures of docs/pictures again; needs Chromium.
	@exec .venv/bin/python -m pytest tests/browser/screenshots.py -q

golden-graphs: $(INSTALLED) ## Write the golden files of the graph layout again; needed after a change of the layout.
	@WRITE_GOLDEN_GRAPHS=1 .venv/bin/python -m pytest tests/unit/graph -q

clean-local: $(INSTALLED) ## Delete the data of `make run` in .local.
	@.venv/bin/python -c "import pathlib, sys; from portal.devstack.home import running_pid; \
	pid = running_pid(pathlib.Path('.local')); sys.exit(pid and f'The stack is running (pid {pid}). Stop it first.')"
	rm -rf .local
