# Needs Python 3.11 or newer, make, and the package registries. Everything else is installed into .venv or POINTSMAN_HOME.
#
#   make run      the portal with demo data on http://127.0.0.1:8000; Ctrl-C stops everything
#   make test     all tests, on real servers; ARGS="-k name" goes to pytest; WORKERS=0 runs them in one process
#   make check    all static checks
#   make record-histories   plays every recorded run again and keeps its history, after a change of the engine
#   make format   formats and fixes what can be fixed
#   make clean-local   removes the state of `make run` in .local

PYTHON ?= python3
ARGS ?=
# Test processes, each with servers of its own.
WORKERS ?= 2

.DEFAULT_GOAL := run
.PHONY: run test check format record-histories clean-local .venv
# A recipe that fails must not leave a stamp that says it succeeded.
.DELETE_ON_ERROR:

INSTALLED := .venv/.installed

.venv: $(INSTALLED)

# The version is asked of the first program that is new enough, so that an older `python3` does no harm beside a newer one.
$(INSTALLED): requirements.txt requirements-dev.txt
	@set -e; \
	new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if ! .venv/bin/python -c "$$new_enough" 2>/dev/null; then \
		for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
			if "$$candidate" -c "$$new_enough" 2>/dev/null; then found="$$candidate"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version 2>&1 || true)." >&2; \
			echo "Install it, or name it: make PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		rm -rf .venv; \
		echo "Making .venv with $$found"; \
		"$$found" -m venv .venv || { rm -rf .venv; \
			echo "$$found cannot make virtual environments (on Debian and Ubuntu: install python3-venv)." >&2; exit 1; }; \
	fi; \
	echo "Installing the packages of requirements-dev.txt"; \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt; \
	touch $@

# `exec`: make's child is the stack itself, so that a SIGTERM that make passes on arrives there.
run: $(INSTALLED)
	@exec .venv/bin/python manage.py devstack run

test: $(INSTALLED)
	@exec .venv/bin/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: $(INSTALLED)
	@exec .ci/check

record-histories: $(INSTALLED)
	@exec .venv/bin/python -m pytest tests/replay/recording.py -q

format: $(INSTALLED)
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

clean-local: $(INSTALLED)
	@.venv/bin/python -c "import pathlib, sys; from portal.devstack.home import running_pid; \
	pid = running_pid(pathlib.Path('.local')); sys.exit(pid and f'The stack runs (pid {pid}); stop it first.')"
	rm -rf .local
