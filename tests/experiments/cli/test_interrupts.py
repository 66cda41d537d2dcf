"""Ctrl-C ends every command with status 130 and one line that names the command to run again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keybed.experiments.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
COMPILING = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
"""Programs that an earlier run compiled are not taken from the cache."""

COMPILE_AND_INTERRUPT = """
import os, signal, sys, threading
import jax, jax.numpy as jnp
from keybed.experiments.cli import stores
from {module} import {name}

def many_products(x):
    for i in range(400):
        x = jnp.sin(x @ x.T) * i
    return x

def compile_for_seconds(options):
    lowered = jax.jit(many_products).lower(jnp.ones((7, 7)))
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    lowered.compile()
    print("compiled before the signal came", file=sys.stderr)

stores._status = compile_for_seconds
sys.argv = ["keybed", "status", "my store"]
sys.exit({name}())
"""


def test_ctrl_c_while_xla_compiles_is_130_and_one_line(tmp_path):
    """Ended by Python itself, the process crashes (−11): XLA's thread goes on with what JAX has freed."""
    script = COMPILE_AND_INTERRUPT.format(module="keybed.__main__", name="run")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=COMPILING, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "keybed: stopped; to begin again: keybed status 'my store'\n")


def test_ctrl_c_in_a_callback_of_the_garbage_collector_is_not_lost():
    script = """
import signal, sys, time
from keybed.__main__ import run
from keybed.experiments.cli import stores

class Collected:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def drop_and_wait(options):
    Collected()
    time.sleep(60)

stores._status = drop_and_wait
sys.argv = ["keybed", "status", "store"]
run()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "keybed: stopped; to begin again: keybed status store\n")


@pytest.mark.parametrize(
    ("module", "printed"),
    [
        ("keybed.experiments.cli.main", "keybed: stopped\n"),
        ("keybed.extract.planning.plan", "keybed: stopped; to begin again: keybed plan maestro store\n"),
    ],
)
def test_ctrl_c_while_a_module_is_imported_is_130_and_one_line(module, printed):
    script = f"""
import signal, sys

class Interrupt:
    def find_spec(self, name, *more):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["keybed", "plan", "maestro", "store"]
from keybed.__main__ import run
run()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, printed)


@pytest.mark.long
@pytest.mark.slow
def test_ctrl_c_at_random_moments_of_phase2(make_store, tmp_path):
    """Imports, tracing, compiling, training, evaluating: one line each time, and the last run goes on to the end."""
    store, draw = make_store(), random.Random(0)
    call = [sys.executable, "-m", "keybed", "phase2", str(store), "--out", str(tmp_path / "my run"), "--seeds", "2"]
    began = time.monotonic()
    assert (
        subprocess.run(
            [*call[:-3], str(tmp_path / "whole"), *call[-2:]], cwd=ROOT, env=COMPILING, capture_output=True
        ).returncode
        == 0
    )
    whole_s, stopped = time.monotonic() - began, 0
    for _ in range(6):
        process = subprocess.Popen(
            call, cwd=ROOT, env=COMPILING, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(draw.uniform(1, 0.8 * whole_s))
        process.send_signal(signal.SIGINT)
        said, printed = process.communicate(timeout=300)
        if process.returncode == -signal.SIGINT:  # a shell shows 130; nothing is left but Python's own end
            assert "report.html" in said
            assert printed == ""
            continue
        assert process.returncode in (0, 130), printed
        if process.returncode:
            stopped += 1
            again = f"keybed: stopped; to go on: keybed phase2 {store} --out '{tmp_path / 'my run'}' --seeds 2\n"
            assert printed in (again, "keybed: stopped\n")
    assert stopped >= 3
    assert subprocess.run(call, cwd=ROOT, env=COMPILING, capture_output=True).returncode == 0


def test_ctrl_c_names_the_command_that_goes_on(monkeypatch, capsys):
    def stop(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("keybed.experiments.cli.stores._derive", stop)
    monkeypatch.setattr("keybed.experiments.cli.stores._verify", stop)
    assert main(["derive", "q u'o/st"]) == 130
    assert capsys.readouterr().err == "keybed: stopped; to go on: keybed derive 'q u'\"'\"'o/st'\n"
    assert main(["verify", "store"]) == 130
    assert capsys.readouterr().err == "keybed: stopped; to begin again: keybed verify store\n"


def test_ctrl_c_is_the_way_to_end_a_watch(monkeypatch, planned_placeholder_store, capsys):
    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", stop)
    assert main(["status", str(planned_placeholder_store), "--watch"]) == 0
    assert capsys.readouterr().err == ""
