"""The documentation site holds every page, every public package and every config key."""

import importlib.util
import re

import pytest
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.projects.deeplab import add_deeplab_config
from fresh_process import ROOT

from cffm_plugin import add_cffm_config

spec = importlib.util.spec_from_file_location("build_docs", ROOT / "tools" / "build_docs.py")
build_docs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build_docs)


def pages_of(entry):
    if isinstance(entry, str):
        return [entry]
    if isinstance(entry, dict):
        entry = list(entry.values())
    return [page for part in entry for page in pages_of(part)]


def navigation():
    return pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])


def keys_of(cfg, prefix=""):
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_page_of_the_repository_stands_in_the_navigation_once():
    pages = {str(p.relative_to(ROOT)) for pattern in build_docs.PAGES for p in ROOT.glob(pattern)}
    in_navigation = [page for page in navigation() if not page.startswith("reference/")]
    assert sorted(in_navigation) == sorted(pages)


def test_every_package_with_public_names_stands_in_the_navigation():
    reference = {page for page in navigation() if page.startswith("reference/cffm_plugin")}
    assert reference == {f"reference/{name}.md" for name in build_docs.packages()}


def test_every_key_that_the_package_adds_is_in_the_reference_with_a_comment():
    theirs, ours = get_cfg(), get_cfg()
    add_deeplab_config(theirs)
    add_cffm_config(ours)
    source = (ROOT / "cffm_plugin" / "config.py").read_text()
    found = {k.name: k for s in build_docs.config_sections(source) for k in s.keys}
    assert set(found) >= set(keys_of(ours)) - set(keys_of(theirs))
    for key in found.values():
        assert len(key.comment) > 10, key.name


def test_a_key_without_a_comment_of_its_own_shares_that_above_it():
    source = (
        "def _add_some_keys(cfg):\n"
        "    # What it is.\n    cfg.A = CfgNode()\n    cfg.A.W = True\n"
        "    # Two lines\n    # of text.\n    cfg.A.X = 1\n    cfg.A.Y = (2, 3)\n"
        "    # Another.\n    cfg.A.Z = ''\n"
    )
    (section,) = build_docs.config_sections(source)
    assert (section.name, section.comment) == ("A", "What it is.")
    assert [(k.name, k.default, k.comment) for k in section.keys] == [
        ("A.W", "True", "What it is."),
        ("A.X", "1", "Two lines of text."),
        ("A.Y", "(2, 3)", "Two lines of text."),
        ("A.Z", "''", "Another."),
    ]


@pytest.mark.parametrize("repository", ["", "https://example.org/cffm/blob/main"])
def test_links_to_files_that_are_no_pages_lead_to_the_repository_or_become_text(repository):
    page, pages = ROOT / "README.md", [ROOT / "README.md", ROOT / "docs/demo.md"]
    text = "[code](setup.py), [page](docs/demo.md), [web](https://example.org), [here](#top)"
    text = build_docs.LINK.sub(lambda m: build_docs.link(m, page, pages, repository), text)
    code = f"[code]({repository}/setup.py)" if repository else "code"
    assert text == f"{code}, [page](docs/demo.md), [web](https://example.org), [here](#top)"


def test_a_link_that_leads_nowhere_is_an_error_with_page_and_target():
    match = build_docs.LINK.search("[gone](docs/gone.md)")
    with pytest.raises(SystemExit, match=re.escape("README.md: the link to docs/gone.md")):
        build_docs.link(match, ROOT / "README.md", [], "")
