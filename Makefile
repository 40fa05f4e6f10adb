# Everything is made in .venv; nothing outside this folder is changed, but for missing system packages when root on Debian.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Hundreds of commands and daemons are started: each would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo test check pytest cover bench soak picture lock system clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= 2
# Random runs by the thousand, of lines that the other tests have counted, and what reads sources: counting takes longer than running.
UNCOUNTED := tests/sim/test_many.py tests/sim/test_matrix.py tests/sim/test_slots.py tests/unit/test_house.py
PACKAGES := systemd-container debootstrap iproute2 nftables openssh-client openssh-server pdsh dbus tmux haproxy prometheus
PROGRAMS := systemd-nspawn debootstrap ip nft ssh-keygen sshd pdsh dbus-daemon tmux haproxy prometheus

help: ## what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  \1\t/'

demo: $(READY) system ## the whole story on a local lab of eight hosts
	$(BIN)/tradeops demo

test: check pytest cover ## every check and every test that this machine can run

check: $(READY) ## lint, format, types, import rules, dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n $(JOBS)
	$(BIN)/lint-imports
	$(BIN)/vulture

pytest: $(READY) system
	rm -f .coverage .coverage.*
	# Many of these wait for daemons that they have started: one worker more keeps the cores busy. By name: the longest test is
	# alone in its file, and files with few tests would else come last.
	$(BIN)/pytest -n $$(($(JOBS) + 1)) --no-loadscope-reorder --cov --cov-report= --ignore tests/fleet $(UNCOUNTED:%=--ignore %)
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(UNCOUNTED)
	# Real hosts after the others, and not counted: beside them, or slowed down, they would measure the machine.
	$(BIN)/pytest -n $(JOBS) --no-loadscope-reorder --timeout 600 tests/fleet

# Whole: 90 %. What decides about money, gates and stops: every line, as far as it stands.
cover: $(READY)
	$(BIN)/coverage report --fail-under=90
	@for part in 'tradeops/trader/risk*' 'tradeops/gates/*' 'tradeops/safety/*' 'tradeops/deploy/run*'; do \
		if compgen -G "$$part" >/dev/null; then \
			echo "coverage of $$part, 100 % wanted"; \
			$(BIN)/coverage report --include="$$part,$${part%\*}/*" --fail-under=100; \
		fi; \
	done

bench: $(READY) system ## measurements beside what one would use instead
	$(BIN)/python -m tests.bench

soak: $(READY) ## simulated runs in many more random worlds: SEEDS of them (default 5000)
	TRADEOPS_SOAK_SEEDS="$${SEEDS:-5000}" $(BIN)/pytest -n $(JOBS) --timeout 0 -q tests/sim/test_matrix.py tests/sim/test_slots.py -k "random_worlds or two_writers"

picture: $(READY) system ## take the README's picture anew, from a real deploy on a local lab of eight hosts
	$(BIN)/python -m tests.support.picture

lock: $(READY) ## make both lock files anew from pyproject.toml
	.ci/lock

system:
	@.ci/system $(PACKAGES) -- $(PROGRAMS)

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 with venv found: install it (Debian: apt-get install python3 python3-venv), or set PYTHON=" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean: ## remove what was made here
	rm -rf .venv build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find tradeops tests -name __pycache__ -type d -prune -exec rm -rf {} +
