"""The site: it builds strictly, holds every page, and a broken link stops the build."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site():
    """docs/site/build.py as a module."""
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "site" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_the_site_builds_strictly_and_holds_every_page(site, tmp_path):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    site.lay_out(tmp_path / "pages")
    places = {"docs_dir": str(tmp_path / "pages"), "site_dir": str(tmp_path / "site")}
    build(load_config(str(site.CONFIG), strict=True, **places))
    for page in site.pages():
        made = tmp_path / "site" / page.relative_to(ROOT).with_suffix(".html")
        assert made.is_file() or made.with_name("index.html").is_file(), page
    python = (tmp_path / "site" / "reference" / "python.html").read_text()
    assert 'id="keybed.heads.metrics.specific"' in python or 'id="keybed.heads.fit"' in python
    commands = (tmp_path / "site" / "reference" / "command-line.html").read_text()
    assert "keybed phase5 serve" in commands
    page = (tmp_path / "site" / "index.html").read_text()
    assert "fonts.googleapis" not in page
    notebook = (tmp_path / "site" / "docs" / "notebooks" / "first_look.html").read_text()
    assert 'href="../site/notebooks.css"' in notebook
    assert "xr-text-repr-fallback" in (tmp_path / "site" / "docs" / "site" / "notebooks.css").read_text()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("link", "broken"), [("two.md#row", False), ("gone.md", True), ("two.md#gone", True), ("/two.md", True)]
)
def test_a_broken_link_stops_the_build(site, tmp_path, link, broken):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import MkDocsException

    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"[a link]({link})\n")
    (pages / "two.md").write_text("# Two\n\n## Row\n")
    places = {"docs_dir": str(pages), "site_dir": str(tmp_path / "site"), "nav": ["index.md", "two.md"]}
    config = load_config(str(site.CONFIG), strict=True, plugins=[], **places)
    if broken:
        with pytest.raises(MkDocsException, match="in strict mode"):
            build(config)
    else:
        build(config)


def test_a_page_outside_the_navigation_stops_the_build(site, tmp_path):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import MkDocsException

    pages = tmp_path / "pages"
    pages.mkdir()
    for name in ("index.md", "orphan.md"):
        (pages / name).write_text("# A page\n")
    places = {"docs_dir": str(pages), "site_dir": str(tmp_path / "site"), "nav": ["index.md"]}
    with pytest.raises(MkDocsException, match="in strict mode"):
        build(load_config(str(site.CONFIG), strict=True, plugins=[], **places))


def test_without_mkdocs_the_extra_is_named(site, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mkdocs.commands.build", None)
    assert site.main() == 1
    assert "pip install -c constraints.txt '.[docs]'" in capsys.readouterr().err
