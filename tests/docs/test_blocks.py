"""Every command and Python block of the pages runs, each in a folder of its own, or its page says why it is not run.

Names that stand for a user's files (PLACES) are made there before. A block is left out by a comment before it in the page:

    <!-- not run: REASON -->                      the whole block
    <!-- not run, keybed extend: REASON -->       its commands that begin so
    <!-- no block of this page is run: REASON -->

Whether commands parse is tested for all of them (tests/test_readme.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE_DOCS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "slurm/README.md", "experiments/FINDINGS.md")
PAGES = [*OUTSIDE_DOCS, *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
TUTORIAL = "docs/tutorial.md"
RUN_LANGUAGES = ("bash", "console", "sh", "python")
PAGE_MARK = re.compile(r"<!-- no block of this page is run: (.+) -->")
MARK = re.compile(r"<!-- not run(?:, ([^:]+))?: (.+) -->")
PROGRAMS = ("keybed", "python", "pip", "pipx", "make", "sbatch", "podman", "git")
SLOW = re.compile(r"keybed (?!status|info|verify)|python -m|keybed\.(fit|score|open_run)\b")
"""What a slow block has in it: commands that render, train or score."""
LONG = re.compile(r"keybed phase[34]|--limit 60|python -m keybed\.experiments\.audits")
"""What a block of minutes has in it."""

ADDED = {
    "keybed phase2": "--epochs 1 --seeds 2",
    "keybed phase3": "--epochs 1 --ablation-seeds 1 --ablation-folds 2 --override 'a small store'",
    "keybed phase4": "--epochs 1 --seeds 1 --override 'a small store'",
    "keybed curve": "--epochs 1 --draws 1",
    "keybed sensitivity": "--segments 8",
    "keybed phase5 ingest": "--replicates 100",
    "python -m keybed.experiments.audits.expressive_families": "--quick",
}
"""Options added to a command, so that it ends soon and goes on after the NO-GO that a small store gives."""


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its fence, `marks` are (beginning of a command or "", reason)."""

    page: str
    line: int
    language: str
    text: str
    marks: tuple[tuple[str, str], ...] = ()

    @property
    def runs(self) -> bool:
        return self.language in RUN_LANGUAGES and not any(not beginning for beginning, _ in self.marks)

    def commands(self) -> list[str]:
        """The commands of a shell block, without comments and `$ `, long ones on one line."""
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in self.text.replace("\\\n", " ").splitlines())
        return [re.sub(r" +", " ", line).removeprefix("$ ") for line in lines if line]

    def steps(self) -> list[str]:
        """The commands that are run, with the options of ADDED."""
        left_out = tuple(beginning for beginning, _ in self.marks)
        kept = [command for command in self.commands() if not (left_out and command.startswith(left_out))]
        return [" ".join([c, *(more for b, more in ADDED.items() if c.startswith(b))]) for c in kept]


def parse(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page, each with the marks before it."""
    found: list[Block] = []
    whole = [("", mark[1]) for mark in PAGE_MARK.finditer(text)]
    marks: list[tuple[str, str]] = []
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if mark := MARK.fullmatch(line):
            marks.append((mark[1] or "", mark[2]))
        elif fence := re.fullmatch(r"```(\w*)", line):
            body = []
            for _, inner in lines:
                if inner == "```":
                    break
                body.append(inner + "\n")
            found.append(Block(page, number, fence[1], "".join(body), (*whole, *marks)))
            marks = []
        elif line and marks:
            raise AssertionError(f"{page}:{number}: a mark that is followed by no block")
    return found


def blocks(page: str) -> list[Block]:
    return parse(page, (ROOT / page).read_text(encoding="utf-8"))


ALL = [block for page in PAGES for block in blocks(page)]


def run(steps: list[str], folder: Path, language: str = "bash") -> None:
    """Run commands, or one Python text, in `folder`, each in a process of its own."""
    executables = folder.parent / "bin"
    executables.mkdir(exist_ok=True)
    keybed = executables / "keybed"
    keybed.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m keybed "$@"\n')
    keybed.chmod(0o755)
    env = {**os.environ, "PATH": f"{executables}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(ROOT)
    shell = [sys.executable, "-W", "error", "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    for step in steps:
        done = subprocess.run([*shell, step], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"


# What the pages' names stand for.

Make = Callable[[pytest.FixtureRequest, Path], object]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A composed corpus in MAESTRO's layout."""
    from keybed.extract.demo.corpus import write_demo_corpus

    return write_demo_corpus(tmp_path_factory.mktemp("composed") / "corpus", seed=0)


@pytest.fixture(scope="module")
def filled(keybed, composed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled store of 64 rows with the two baselines."""
    path = tmp_path_factory.mktemp("filled") / "store"
    keybed("plan", composed, path, "--encoders", "logmel,expressive", "--limit", "16")
    keybed("extract", path)
    return path


@pytest.fixture(scope="module")
def other(keybed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled store of another corpus, planned in the same way."""
    from keybed.extract.demo.corpus import write_demo_corpus

    folder = tmp_path_factory.mktemp("other")
    corpus = write_demo_corpus(folder / "corpus", n_pieces=4, seed=1)
    keybed("plan", corpus, folder / "store", "--encoders", "logmel,expressive", "--limit", "4")
    keybed("extract", folder / "store")
    return folder / "store"


@pytest.fixture(scope="module")
def finished(keybed, filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Phase 2 on the filled store."""
    path = tmp_path_factory.mktemp("finished") / "phase2"
    keybed("phase2", filled, "--out", path, *ADDED["keybed phase2"].split())
    return path


def _copy(fixture: str) -> Make:
    return lambda request, target: shutil.copytree(request.getfixturevalue(fixture), target)


def _midi(number: int) -> Make:
    def make(request: pytest.FixtureRequest, target: Path) -> None:
        shutil.copy(sorted(request.getfixturevalue("composed").rglob("*.mid*"))[number], target)

    return make


def _sound(request: pytest.FixtureRequest, target: Path) -> None:
    """The sound of PIECE.mid."""
    import pretty_midi
    import soundfile

    midi = sorted(request.getfixturevalue("composed").rglob("*.mid*"))[0]
    soundfile.write(target, 0.5 * pretty_midi.PrettyMIDI(str(midi)).fluidsynth(fs=24000), 24000)


def _folder_of_music(request: pytest.FixtureRequest, target: Path) -> None:
    """A folder per piece, with its MIDI files."""
    for number, midi in enumerate(sorted(request.getfixturevalue("composed").rglob("*.mid*"))[:8]):
        piece = target / f"piece {number // 2}"
        piece.mkdir(parents=True, exist_ok=True)
        shutil.copy(midi, piece / f"take {number % 2 + 1}.mid")


def _list(request: pytest.FixtureRequest, target: Path) -> None:
    """A CSV with columns of other names."""
    lines = ["work,file"]
    for number, midi in enumerate(sorted(request.getfixturevalue("composed").rglob("*.mid*"))[:8]):
        shutil.copy(midi, target.parent / f"{number}.mid")
        lines.append(f"Piece {number},{number}.mid")
    target.write_text("\n".join(lines) + "\n")


def _ratings(request: pytest.FixtureRequest, target: Path) -> None:
    """A rating in two dimensions of every file of "my recordings"."""
    lines = [f"piece {n // 2}/take {n % 2 + 1}.mid,{1 + n % 7},{7 - n % 5}" for n in range(8)]
    target.write_text("file,note_accuracy,tone_quality\n" + "\n".join(lines) + "\n")


def _model(request: pytest.FixtureRequest, target: Path) -> None:
    request.getfixturevalue("keybed")("pack", request.getfixturevalue("finished"), target)


def _set(request: pytest.FixtureRequest, target: Path) -> None:
    """A small rating set that every rater has finished."""
    from keybed.experiments.listening.app.database import Database
    from keybed.experiments.listening.app.rating_set import read_set
    from keybed.experiments.listening.app.ratings import Rating
    from keybed.store.format.vocabulary import DIMENSIONS

    request.getfixturevalue("keybed")("phase5", "select", request.getfixturevalue("filled"), "--out", target, "--trial")
    rating_set = read_set(target)
    database = Database(rating_set.database)
    for rater, order in rating_set.orders.items():
        for position in range(1, len(order) + 1):
            scores = {name: 10 * (position + k) % 100 for k, name in enumerate(DIMENSIONS)}
            database.save(rater, position, Rating(f"save-{position:08}", 1, scores, True, 10.0, 1))


PLACES: dict[str, Make] = {
    "MAESTRO_DIR": lambda request, target: target.symlink_to(request.getfixturevalue("composed")),
    "STORE": _copy("filled"),
    "STORE_A": _copy("filled"),
    "STORE_B": _copy("other"),
    "RUN/phase2": _copy("finished"),
    "RUN/phase3": lambda request, target: run(
        ["keybed phase3 STORE --after RUN/phase2 --out RUN/phase3 " + ADDED["keybed phase3"]], target.parents[1]
    ),
    "RUN/phase4": _copy("finished"),
    "RUN": _copy("finished"),
    "PIECE.mid": _midi(0),
    "PIECE.wav": _sound,
    "TAKE1.mid": _midi(0),
    "TAKE2.mid": _midi(1),
    "model.keybed": _model,
    "my recordings": _folder_of_music,
    "list.csv": _list,
    "ratings.csv": _ratings,
    "CONSENT.txt": lambda request, target: target.write_text("I take part of my own free will.\n"),
    "SET": _set,
}


def made(block: Block) -> set[str]:
    """Names that a block's own commands make."""
    text = "\n".join(command for command in block.commands() if "--dry-run" not in command)
    outputs = re.findall(r"--out (\S+)", text)
    outputs += re.findall(r"^keybed plan (?:\"[^\"]*\"|\S+) (\S+)", text, re.MULTILINE)
    outputs += re.findall(r"^keybed pack \S+ (\S+)", text, re.MULTILINE)
    return set(outputs)


def needed(block: Block) -> list[str]:
    """Names of PLACES that a block uses and does not make; of names that begin alike, the longest."""
    used = block.text if block.language == "python" else "\n".join(block.steps())
    longest_first = "|".join(re.escape(name) for name in sorted(PLACES, key=len, reverse=True))
    names = dict.fromkeys(re.findall(rf"(?<![\w/.-])({longest_first})(?!\w|\.\w)", used))
    return [name for name in names if not any(m == name or m.startswith(f"{name}/") for m in made(block))]


# The tests.


def test_blocks_commands_and_marks_are_read():
    text = (
        "# A page\n\n<!-- not run, keybed b: weights -->\n```bash\nkeybed plan A B   # a comment\nkeybed b --x\n"
        "$ keybed c \\\n    --y\n# only a comment\n```\n\n<!-- not run: needs a cluster -->\n\n```bash\nkeybed d\n```\n"
    )
    first, second = parse("page.md", text)
    assert (first.line, first.runs, second.runs) == (4, True, False)
    assert first.commands() == ["keybed plan A B", "keybed b --x", "keybed c --y"]
    assert first.steps() == ["keybed plan A B", "keybed c --y"]
    assert made(first) == {"B"}
    with pytest.raises(AssertionError, match=r"page\.md:3"):
        parse("page.md", "<!-- not run: why -->\n\nprose\n\n```bash\nkeybed\n```\n")
    assert not parse("page.md", "<!-- no block of this page is run: hours -->\n```bash\nkeybed\n```\n")[0].runs


@pytest.mark.parametrize("page", PAGES)
def test_a_block_with_commands_names_its_language(page):
    for block in blocks(page):
        shell = any(command.split()[0] in PROGRAMS for command in block.commands())
        assert block.language or not shell, f"{page}:{block.line}: commands in a block without a language"


@pytest.mark.parametrize("page", PAGES)
def test_every_mark_leaves_something_out(page):
    for block in blocks(page):
        for beginning, _ in block.marks:
            assert not beginning or any(c.startswith(beginning) for c in block.commands()), (
                page,
                block.line,
                beginning,
            )


@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL])
def test_names_of_a_block_that_runs_are_known(page):
    """A name in capitals is a file that a test makes, or one that the block makes."""
    for block in blocks(page):
        if block.runs and block.language != "python":
            ran = re.sub(r"'[^']*'|--\S+", "", "\n".join(block.steps()))
            names = set(re.findall(r"(?<![\w/.-])[A-Z][A-Z_\d]+(?:/\w+)?\b", ran))
            known = {*PLACES, *made(block)}
            assert {name for name in names if not any(k == name or k.startswith(name) for k in known)} == set(), page


def _case(block: Block) -> object:
    text = block.text if block.language == "python" else "\n".join(block.steps())
    marks = [*([pytest.mark.slow] if SLOW.search(text) else []), *([pytest.mark.long] if LONG.search(text) else [])]
    return pytest.param(block, id=f"{block.page}:{block.line}", marks=marks)


@pytest.mark.parametrize("block", [_case(block) for block in ALL if block.runs and block.page != TUTORIAL])
def test_a_block_runs(block: Block, request: pytest.FixtureRequest, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in needed(block):
        (folder / name).parent.mkdir(exist_ok=True)
        PLACES[name](request, folder / name)
    if block.language != "python":
        run(block.steps(), folder)
    elif SLOW.search(block.text):
        run([block.text], folder, "python")
    else:
        read_in_this_process(block, folder)


def read_in_this_process(block: Block, folder: Path) -> None:
    """Run a Python block that only reads, without starting an interpreter."""
    import zarr

    pipeline = "codec_pipeline.path"
    with pytest.MonkeyPatch.context() as patch, zarr.config.set({pipeline: zarr.config.get(pipeline)}):
        patch.chdir(folder)
        exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {})


@pytest.mark.slow
@pytest.mark.long
def test_the_tutorial_runs(composed: Path, tmp_path: Path):
    """All of it in one folder, with a demo of 8 segments in place of 24, and batches that 20 training rows fill."""
    folder = tmp_path / "folder"
    folder.mkdir()
    shorter = {
        "24-segments": "8-segments",
        "make demo": "keybed demo --rows 32",
        ". .venv/bin/activate": "true",
        'part["validation"], 32)': 'part["validation"], 16)',
        "batch_rows=32": "batch_rows=16",
    }
    text = (ROOT / TUTORIAL).read_text(encoding="utf-8")
    assert all(old in text for old in shorter)
    for old, new in shorter.items():
        text = text.replace(old, new)
    for block in parse(TUTORIAL, text):
        if block.runs:
            run([block.text] if block.language == "python" else block.commands(), folder, block.language)
