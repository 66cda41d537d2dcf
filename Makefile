# Everything a new user needs: each target does its own set-up, once (.ci/setup, .venv).
#   make demo [MAESTRO=dir] [ROWS=n]    make test    make test-slow    make lint    make format    make docs
# PIP_ARGS=… is handed to pip, PYTHON=… picks the interpreter.
SLOW ?= none
# Two processes: more would each make the shared stores again.
PARALLEL ?= -n 2 --dist loadgroup
export PIP_ARGS PYTHON MAESTRO ROWS SLOW

.PHONY: help setup demo test test-slow lint format docs
help:
	@sed -n 's/^# \{0,1\}//p' Makefile

setup:
	@.ci/setup

demo: setup
	@.venv/bin/keybed demo $${MAESTRO:+--maestro "$$MAESTRO"} $${ROWS:+--rows "$$ROWS"}

test: setup
	@.venv/bin/python -m pytest $(PARALLEL) --slow "$$SLOW"

test-slow: setup
	@.venv/bin/python -m pytest $(PARALLEL) --slow all

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

docs: setup
	@.venv/bin/python docs/site/build.py
