""".ci/setup on machines that lack something, played with stand-ins for python, pip, id, sudo and apt-get."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    "sh",
    "grep",
    "cat",
    "sha256sum",
    "cut",
    "dirname",
    "rm",
    "mkdir",
    "chmod",
    "cp",
    "touch",
    "env",
    "echo",
    "test",
    "true",
)

# The interpreter of .venv: notes how pip is called; finds FluidSynth, and torch's index for CPUs, once the files say so.
VENV_PYTHON = """#!/bin/sh
case "$*" in *urlopen*) test -e "$LOGS/torch-index"; exit ;; esac
if [ "$1" = -c ]; then test -e "$LOGS/fluidsynth"; exit; fi
if [ "$3" = config ]; then ! test -e "$LOGS/own-index" || echo "global.extra-index-url='https://mirror.example'"; exit; fi
echo "python $*" >>"$LOGS/calls"
"""
# The machine's interpreter: new enough, and able to make environments once the file says so.
PYTHON = """#!/bin/sh
case "$*" in
  "-m venv .venv")
    test -e "$LOGS/venv-module" || { mkdir -p .venv/bin; exit 1; }
    mkdir -p .venv/bin && cp "$LOGS/venv-python" .venv/bin/python && touch .venv/bin/pip && chmod +x .venv/bin/pip ;;
  *version_info\\[:2\\]*) echo 3.11 ;;
  --version) echo Python 3.11 ;;
esac
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$LOGS/calls"
case "$*" in
  *libfluidsynth3*) touch "$LOGS/fluidsynth" ;;
  *python3-venv*) touch "$LOGS/venv-module" ;;
  *python3.11-venv*) exit 100 ;;
esac
"""


class Machine:
    """A folder with a checkout and a PATH of stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logs, self.bin = folder, folder / "logs", folder / "bin"
        self.logs.mkdir()
        self.bin.mkdir()
        (folder / ".ci").mkdir()
        for name in (".ci/setup", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        self.program("python3", PYTHON)
        venv_python = self.logs / "venv-python"
        venv_python.write_text(VENV_PYTHON)
        venv_python.chmod(0o755)
        self.user(1000)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def user(self, number: int) -> None:
        self.program("id", f"#!/bin/sh\necho {number}\n")

    def has(self, *things: str) -> None:
        for thing in things:
            (self.logs / thing).touch()

    def setup(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "LOGS": str(self.logs), **variables}
        return subprocess.run(["sh", ".ci/setup"], cwd=self.folder, env=environment, capture_output=True, text=True)

    @property
    def calls(self) -> list[str]:
        path = self.logs / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_pip_gets_constraints_and_pip_args_and_a_second_run_nothing(machine):
    machine.has("venv-module", "fluidsynth")
    done = machine.setup(PIP_ARGS="--extra-index-url https://download.example/*")
    assert done.returncode == 0, done.stderr
    install = "python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]"
    fetch = "python -m keybed fetch transkun"
    assert machine.calls == [f"{install} --extra-index-url https://download.example/*", fetch]
    again = machine.setup()
    assert (again.returncode, again.stdout, len(machine.calls)) == (0, "", 2)
    with (machine.folder / "constraints.txt").open("a") as constraints:
        constraints.write("# newer\n")
    assert machine.setup().returncode == 0
    assert machine.calls[2:] == [install, fetch]


def test_root_gets_what_is_missing_from_apt(machine):
    machine.user(0)
    machine.program("apt-get", APT)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    asked = [call for call in machine.calls if call.startswith("apt-get -qq -y install")]
    assert [call.split()[-1] for call in asked] == ["python3.11-venv", "python3-venv", "libfluidsynth3"]


def test_sudo_is_used_only_where_it_asks_nothing(machine):
    machine.has("venv-module")
    machine.program("apt-get", APT)
    machine.program("sudo", "#!/bin/sh\nexit 1\n")
    assert machine.setup().returncode == 1
    assert not [call for call in machine.calls if "apt-get" in call]
    machine.program("sudo", '#!/bin/sh\nshift\nexec "$@"\n')
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert any(call.endswith("libfluidsynth3") for call in machine.calls)


def test_without_root_one_clear_sentence_each(machine):
    done = machine.setup()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "sudo apt-get install python3-venv" in done.stderr
    assert not (machine.folder / ".venv").exists(), "half an environment would mislead the next run"
    machine.has("venv-module")
    done = machine.setup()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "conda install -c conda-forge fluidsynth" in done.stderr
    assert "$CONDA_PREFIX/lib" in done.stderr


@pytest.mark.parametrize(
    ("has", "given", "wanted"),
    [
        ("torch-index", "", "--extra-index-url https://download.pytorch.org/whl/cpu"),
        ("torch-index nvidia-smi", "", ""),
        ("torch-index own-index", "", ""),
        ("", "", ""),
        ("torch-index", "--prefer-binary", "--prefer-binary"),
    ],
)
def test_without_an_nvidia_driver_torch_is_for_cpus_where_its_index_answers(machine, has, given, wanted):
    machine.has("venv-module", "fluidsynth", *has.split())
    if "nvidia-smi" in has:
        machine.program("nvidia-smi", "#!/bin/sh\n")
    done = machine.setup(PIP_ARGS=given)
    assert done.returncode == 0, done.stderr
    assert machine.calls[0].partition("-e .[dev]")[2].strip() == wanted
    assert ("no NVIDIA driver" in done.stdout) == (wanted.startswith("--extra") and not given)


def test_an_old_python_is_refused(machine):
    machine.program("python3", "#!/bin/sh\nexit 1\n")
    done = machine.setup()
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


def test_make_hands_its_variables_on(tmp_path):
    make = shutil.which("make")
    assert make is not None
    shutil.copy(ROOT / "Makefile", tmp_path)
    keybed = tmp_path / ".venv" / "bin" / "keybed"
    keybed.parent.mkdir(parents=True)
    keybed.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    setup = tmp_path / ".ci" / "setup"
    setup.parent.mkdir()
    setup.write_text('#!/bin/sh\nprintf "PIP_ARGS=%s\\n" "$PIP_ARGS"\n')
    keybed.chmod(0o755)
    setup.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]}

    def demo(*variables: str) -> str:
        command = [make, "--no-print-directory", "demo", *variables]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    assert demo() == "PIP_ARGS=\n[demo]"
    shown = demo('MAESTRO=/data/my maestro; "x"', "ROWS=64", "PIP_ARGS=--no-cache-dir -v")
    assert shown == 'PIP_ARGS=--no-cache-dir -v\n[demo][--maestro][/data/my maestro; "x"][--rows][64]'


OLDEST = ("3.11.0", "3.11.2")
"""The least that pyproject.toml asks for, and Debian 12's."""


def test_the_pins_can_be_installed_with_the_oldest_python():
    """By the metadata of the packages that are installed here in the pinned version."""
    packages = {
        re.sub(r"[-_.]+", "-", p.name).lower(): p.metadata for p in importlib.metadata.distributions() if p.name
    }
    seen, refused = 0, []
    for pin in (ROOT / "constraints.txt").read_text().split():
        name, _, version = pin.partition("==")
        installed = packages.get(re.sub(r"[-_.]+", "-", name).lower())
        if installed is not None and installed["Version"].partition("+")[0] == version:
            seen += 1
            wanted = SpecifierSet(installed.get("Requires-Python") or "")
            refused += [f"{pin} needs Python {wanted}" for python in OLDEST if python not in wanted]
    assert seen > 100
    assert refused == []
