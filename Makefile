# Each target does its own set-up, once (.ci/setup, .venv). `make` alone lists the targets.
SLOW ?= none
# Three processes keep two cores busier than two do, since many tests wait; each more makes the shared stores once more.
PARALLEL ?= -n 3 --dist loadfile
export PIP_ARGS PYTHON MAESTRO ROWS SLOW

.PHONY: help setup demo test test-slow lint format schemas docs
help: ## list the targets (bare `make` does the same)
	@echo "make TARGET [VARIABLE=value]; each target first sets .venv up, once"
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14
	@echo "variables: PYTHON=python3.12 picks the interpreter, PIP_ARGS=… is handed to pip"

setup: ## make .venv with everything that Keybed, its tests and its pages need
	@.ci/setup

demo: setup ## compose a corpus, encode it, train, write a report, in minutes [MAESTRO=dir] [ROWS=n]
	@.venv/bin/keybed demo $${MAESTRO:+--maestro "$$MAESTRO"} $${ROWS:+--rows "$$ROWS"}

test: setup ## run the fast tests
	@.venv/bin/python -m pytest $(PARALLEL) --slow "$$SLOW"

test-slow: setup ## run all tests, slow ones too
	@.venv/bin/python -m pytest $(PARALLEL) --slow all

lint: setup ## check style and types (ruff, mypy)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup ## format the code (ruff)
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

docs: setup ## build the pages as a site: build/docs/index.html
	@.venv/bin/python docs/site/build.py

schemas: setup ## write docs/schemas from the result dataclasses
	@.venv/bin/python -m keybed.experiments.reports.schemas docs/schemas
