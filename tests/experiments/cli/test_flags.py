"""Flags come from the configurations: each default stands once, each field has a flag or says why it has none."""

import argparse
import ast
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from keybed.experiments.cli.flags import add_options, config_from, options_of
from keybed.experiments.cli.main import parser
from keybed.experiments.curve.config import CurveConfig
from keybed.experiments.hearing.config import ListenConfig
from keybed.experiments.listening.config import IngestConfig, SelectConfig, ServeConfig
from keybed.experiments.percepiano.config import HeadPlan, PercepianoConfig
from keybed.experiments.phases.config import (
    CompareConfig,
    DemoConfig,
    Phase2Config,
    Phase3Config,
    Phase4Config,
    WindowCheckConfig,
)
from keybed.experiments.scoring.config import PackConfig, ScoreConfig
from keybed.experiments.sensitivity.config import SensitivityConfig
from keybed.extract.config import ExpectConfig, ExportConfig, ExtendConfig, ExtractConfig, JoinConfig, PlanConfig
from keybed.store.check.verify import VerifyConfig
from keybed.store.derive.derive import DeriveConfig
from keybed.store.option import NoOption
from keybed.store.publish.publish import PublishConfig

ROOT = Path(__file__).resolve().parents[3]
A, B = Path("a"), Path("b")
COMMANDS = {
    "plan a b": PlanConfig(A, B),
    "extend a --encoders muq": ExtendConfig(A, ("muq",)),
    "expect a --out b": ExpectConfig(A, B),
    "extract a": ExtractConfig(A),
    "export a b": ExportConfig(A, B),
    "verify a": VerifyConfig(A),
    "derive a": DeriveConfig(A),
    "sensitivity a --out b": SensitivityConfig(A, B),
    "phase2 a --out b": Phase2Config(A, B),
    "phase3 a --after b --out b": Phase3Config(A, B, B),
    "phase4 a --after b --out b": Phase4Config(A, B, B),
    "compare a b": CompareConfig((A, B)),
    "window-check a b --out b": WindowCheckConfig((A, B), B),
    "curve a --out b": CurveConfig(A, B),
    "demo": DemoConfig(),
    "join a b --out a": JoinConfig((A, B), A),
    "listen a --out b": ListenConfig(A, B),
    "score a b --run b": ScoreConfig((A, B), B),
    "pack a b": PackConfig(A, B),
    "publish a hf://datasets/x/y": PublishConfig(A, "hf://datasets/x/y"),
    "phase5 select a --out b": SelectConfig(A, B),
    "phase5 serve a": ServeConfig(A),
    "phase5 ingest a": IngestConfig(A),
    "phase5 percepiano a --out b": PercepianoConfig(A, B),
}
"""What somebody types who gives no option → the configuration that must come out."""
FROM_OTHER_FLAGS = {
    "PlanConfig": {"weights", "revisions", "rates"},
    "ExtendConfig": {"weights", "revisions", "rates"},
    "ExtractConfig": {"paths"},
    "ExportConfig": {"paths"},
    "PercepianoConfig": {"heads"},
    "ListenConfig": {"paths"},
    "ScoreConfig": {"paths"},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_options_the_dataclass_defaults_come_out(command):
    config = COMMANDS[command]
    assert config_from(type(config), parser().parse_args(command.split())) == config


def test_a_seed_may_be_0():
    """The default of `expect`, so that it can be named."""
    arguments = parser().parse_args(["expect", "a", "--out", "b", "--seed", "0"])
    assert config_from(ExpectConfig, arguments) == ExpectConfig(A, B)


def test_head_plan_defaults_come_out():
    assert config_from(HeadPlan, parser().parse_args(["phase5", "percepiano", "a", "--out", "b"])) == HeadPlan()


@pytest.mark.parametrize("config", [*map(type, COMMANDS.values()), HeadPlan], ids=lambda config: config.__name__)
def test_every_field_has_a_flag_or_a_reason(config):
    options = {field.name: option for field, _, option in options_of(config)}
    assert list(options) == [field.name for field in fields(config)]
    without = {name for name, option in options.items() if isinstance(option, NoOption)}
    assert without == FROM_OTHER_FLAGS.get(config.__name__, set())
    for option in options.values():
        assert option.reason if isinstance(option, NoOption) else option.help


def test_the_walk_covers_every_config_of_the_command_line():
    imported = set()
    for path in (ROOT / "experiments" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported |= {alias.name for alias in node.names if alias.name.endswith(("Config", "Plan"))}
    assert imported <= {type(config).__name__ for config in COMMANDS.values()} | {"HeadPlan"}


def test_no_default_is_written_in_the_command_line():
    for path in (ROOT / "experiments" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                path.name != "flags.py"
                and isinstance(node, ast.Call)
                and getattr(node.func, "attr", "") == "add_argument"
            ):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert given.get("default", "[]") == "[]", (path.name, ast.unparse(node))


def test_types_and_limits_of_flags():
    options = parser().parse_args(
        [
            "phase4",
            "s",
            "--after",
            "r",
            "--out",
            "o",
            "--no-ablations",
            "--memory-gib",
            "0.5",
            "--seeds",
            "2",
            "--override",
            "why",
        ]
    )
    assert config_from(Phase4Config, options) == Phase4Config(
        Path("s"), Path("r"), Path("o"), override="why", ablations=False, memory_gib=0.5, seeds=2
    )
    options = parser().parse_args(["extract", "s", "--shards", "3,17-19", "--workers", "0"])
    assert config_from(ExtractConfig, options) == ExtractConfig(Path("s"), shards=(3, 17, 18, 19), workers=0)
    for wrong in ("phase2 s --out o --epochs 0", "phase2 s --out o --seeds two", "plan m s --dtype float16"):
        with pytest.raises(SystemExit):
            parser().parse_args(wrong.split())


def test_a_field_that_says_nothing_is_refused():
    from dataclasses import make_dataclass

    with pytest.raises(TypeError, match=r"Bare\.width"):
        add_options(argparse.ArgumentParser(), make_dataclass("Bare", [("width", int, 3)]))


HEAVY = ("torch", "jax", "matplotlib", "sklearn", "scipy", "keybed.experiments.phases.phase2", "zarr")


@pytest.fixture(scope="module")
def loaded_by_help() -> dict[str, list[str]]:
    """Which of HEAVY a fresh interpreter holds after the help of each command; one interpreter asks for all of them in turn."""
    asked = {
        command: [word for word in command.split() if word not in ("a", "b", "--out", "--after", "--run")]
        for command in ("", *COMMANDS)
    }
    script = (
        "import json, sys\nfrom keybed.experiments.cli.main import main\nloaded = {}\n"
        f"for command, words in {asked!r}.items():\n"
        "    try:\n        main([*words, '--help'])\n    except SystemExit as end:\n        assert end.code == 0\n"
        f"    loaded[command] = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print(json.dumps(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_no_heavy_library_and_no_phase(command, loaded_by_help):
    assert loaded_by_help[command] == []
