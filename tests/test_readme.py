"""Every page: commands parse, links, files and modules exist, Python examples fit the package, prose stays readable."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from keybed.experiments.cli.main import parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "slurm/README.md",
        "experiments/FINDINGS.md",
    )
] + sorted((ROOT / "docs").glob("*.md"))
PROSE_COLUMNS = 100
SPECIFIC_R = "specific r (partial correlation given the other six scores)"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _blocks(page: Path, *languages: str) -> list[str]:
    """Fenced code blocks marked as one of these languages ("" for none)."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", _text(page), re.DOTALL | re.MULTILINE)
    return [block for language, block in fenced if language in languages]


def _commands(program: str) -> list[tuple[str, str]]:
    commands = []
    for page in PAGES:
        for block in _blocks(page, "", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split(" #")[0].strip()
                if command.startswith(program + " "):
                    commands.append((str(page.relative_to(ROOT)), command))
    return commands


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) outside code blocks, tables and pictures."""
    in_code = False
    for number, line in enumerate(_text(page).splitlines(), 1):
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith(("|", "![")):
            yield number, line


@every_page
def test_every_page_is_there(page):
    assert page.is_file()


@pytest.mark.parametrize(("page", "command"), _commands("keybed"))
def test_every_keybed_command_parses(page, command):
    options = parser().parse_args(shlex.split(command)[1:])
    assert callable(options.run), page


def _inline_commands() -> list[tuple[str, str]]:
    """`keybed …` in running text and tables, where options stand without what they need beside them."""
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", _text(page), flags=re.DOTALL | re.MULTILINE)
        commands = re.findall(r"`keybed ([^`]+)`", text)
        found += [(str(page.relative_to(ROOT)), re.sub(r"\s+", " ", c).replace("…", "")) for c in commands]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "command"), _inline_commands())
def test_a_command_in_running_text_has_the_options_that_it_names(page, command):
    words, at = command.split(), parser().filled()
    while words and words[0] in at.commands():
        at = at.commands()[words.pop(0)].filled()
    assert not at.commands() or not words or words[0].startswith(("-", "COMMAND")), (page, command)
    known = {option for action in at._actions for option in action.option_strings}
    named = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert named <= known, (page, command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_of_modules_that_are_run_exist(page):
    """`python -m keybed.… --flag`: the module spells the flag in its parser."""
    for block in _blocks(page, "", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"python -m (keybed[\w.]+)(.*)", line.split(" #")[0]):
                source = _text(ROOT.joinpath(*match[1].split(".")).with_suffix(".py"))
                unknown = [flag for flag in re.findall(r"--[\w-]+", match[2]) if f'"{flag}"' not in source]
                assert unknown == [], line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_batch_files_that_are_submitted_exist(page):
    for script in re.findall(r"sbatch [^\n`]*?(slurm/\w+\.sbatch)", _text(page)):
        assert (ROOT / script).is_file(), script


def test_the_way_through_is_told_in_full():
    shown = {shlex.split(command)[1] for page, command in _commands("keybed") if page in ("README.md", "docs/store.md")}
    assert {"plan", "extract", "status", "verify", "sensitivity", "phase2"} <= shown
    short = {shlex.split(command)[1] for page, command in _commands("keybed") if page == "README.md"}
    assert {"plan", "extract", "verify", "phase2"} <= short


@pytest.mark.parametrize(("page", "command"), _commands("make"))
def test_every_make_target_exists(page, command):
    target = shlex.split(command)[1]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (page, command)


@every_page
def test_every_module_and_test_that_is_run_exists(page):
    for module in re.findall(r"python -m (keybed[\w.]*)", _text(page)):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for file in re.findall(r"pytest (tests/[\w/]+\.py)", _text(page)):
        assert (ROOT / file).is_file(), file


def _anchors(page: Path) -> set[str]:
    """What `#…` may name: headings as GitHub spells them, and ids."""
    headings = re.findall(r"^#+ (.+)$", _text(page), re.MULTILINE)
    spelt = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return spelt | set(re.findall(r'id="([\w-]+)"', _text(page)))


@every_page
def test_every_relative_link_resolves(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", _text(page)):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", _text(page)):
        assert anchor in _anchors(page.parent / target if target else page), f"{page.name} links to {target}#{anchor}"


@every_page
def test_every_named_file_exists(page):
    folders = r"(?:experiments|slurm|store|heads|extract|tests|docs|\.ci)"
    named = set(re.findall(rf"`({folders}/[\w/]+(?:\.\w+)?)`", _text(page)))
    assert named or page not in (ROOT / "README.md", ROOT / "ARCHITECTURE.md")
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("folder", ["store", "extract", "experiments"])
def test_the_table_of_folders_lists_the_rooms_in_order(folder):
    """ARCHITECTURE.md against ORDER in tests/test_import_graph.py, which the import graph is held to."""
    tree = ast.parse((ROOT / "tests" / "test_import_graph.py").read_text())
    (order,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER"
    )
    (row,) = re.findall(rf"^\| `{folder}/` \|[^|]*\|([^|]*)\|$", _text(ROOT / "ARCHITECTURE.md"), re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", row)) == ast.literal_eval(order)[folder]


def test_every_extra_that_pip_is_told_of_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for page in PAGES for name in re.findall(r"'\.\[(\w+)\]'", _text(page))}
    assert {"extract", "heads", "all"} <= named <= set(extras)


@every_page
def test_prose_lines_are_short(page):
    assert [number for number, line in _prose(page) if len(line) > PROSE_COLUMNS] == []


@every_page
def test_specific_r_is_explained_at_first_use(page):
    text = re.sub(r"\s+", " ", "\n".join(line for _, line in _prose(page)).replace("*", ""))
    first = re.search(r"specific r\b", text, re.IGNORECASE)
    assert first is None or text[first.start() :].lower().startswith(SPECIFIC_R)


def _names(block: str) -> Iterator[str]:
    """Dotted names of the package that a Python example uses, calls of what it imports included."""
    tree = ast.parse(block)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                top = a.name.partition(".")[0]  # `import keybed.heads` binds `keybed`
                names |= {a.asname or top: a.name if a.asname else top} if top == "keybed" else {}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "keybed":
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    yield from names.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if dotted.split(".")[0] in names and "(" not in dotted:
                first, _, rest = dotted.partition(".")
                yield f"{names[first]}.{rest}"


def _exists(dotted: str) -> bool:
    parts = dotted.split(".")
    thing = importlib.import_module(parts[0])
    for i, part in enumerate(parts[1:], 1):
        if not hasattr(thing, part):
            try:
                importlib.import_module(".".join(parts[: i + 1]))
            except ImportError:
                return False
        thing = getattr(thing, part)
    return True


def test_names_in_an_example_are_seen():
    block = "import keybed\nfrom keybed import heads\nkeybed.open('S').rows()\nheads.metrics.pearson"
    assert set(_names(block)) == {"keybed", "keybed.heads", "keybed.open", "keybed.heads.metrics"} | {
        "keybed.heads.metrics.pearson"
    }
    assert _exists("keybed.open")
    assert not _exists("keybed.opens")
    assert not _exists("keybed.heads.metrics.pearsons")


@every_page
def test_python_examples_compile_and_their_names_exist(page):
    blocks = _blocks(page, "python")
    assert blocks or page != ROOT / "README.md"
    for block in blocks:
        compile(block, str(page), "exec")
        assert [name for name in _names(block) if not _exists(name)] == []


def test_the_readme_shows_the_public_face():
    used = {name for block in _blocks(ROOT / "README.md", "python") for name in _names(block)}
    used |= set(re.findall(r"`(keybed\.\w+)`", (ROOT / "README.md").read_text()))
    assert {"keybed.open", "keybed.fit", "keybed.HeadConfig", "keybed.RidgeProbe"} <= used


def test_the_example_encoder_fits_the_real_interfaces():
    """docs/adding-an-encoder.md: describe's signature, which is MuQ's, and every function named."""
    from keybed.extract.encoders import registry
    from keybed.extract.encoders.muq import spec as muq

    text = _text(ROOT / "docs" / "adding-an-encoder.md")
    (documented,) = re.findall(r"`describe\(\*, ([\w, *]+)\)", text)
    assert documented.replace("*", "").split(", ") == list(inspect.signature(muq.describe).parameters)
    assert "_build_toy(spec, file) -> Encoder`" in text
    assert list(inspect.signature(registry._build_muq).parameters) == ["spec", "file"]
    named = set(re.findall(r"\b(pooling|pretrained|device|audio_check|waveforms|sequences)\.(\w+)", text))
    assert len(named) >= 9
    for module, name in sorted(named):
        (path,) = (ROOT / "extract" / "encoders").rglob(f"{module}.py")
        source = path.read_text()
        assert re.search(rf"^(def {name}\(|class {name}\b|{name} = )", source, re.MULTILINE), (module, name)


def test_the_citation_file_is_valid():
    """The fields that CFF 1.2.0 requires, and a version that is the package's own."""
    text = _text(ROOT / "CITATION.cff")
    fields = dict(re.findall(r"^([\w-]+): *(.*)$", text, re.MULTILINE))
    assert {"cff-version", "message", "title", "authors", "abstract", "date-released", "references"} <= set(fields)
    dated = f"## {fields['version']} ({fields['date-released']})"
    assert dated in _text(ROOT / "CHANGELOG.md").splitlines(), "the version in CITATION.cff is that of the changelog"
    assert fields["cff-version"] == "1.2.0"
    assert re.search(r"^authors:\n  - name: The Keybed developers$", text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (fields["version"], fields["license"]) == (project["version"], project["license"])
