"""docs/licences.md: a row for every package that is installed, as it stands in it."""

import re
import subprocess
import sys

from fresh_process import ROOT
from locked_requirements import locked_versions

PAGE = ROOT / "docs/licences.md"


def list_licences(*args):
    command = [sys.executable, ROOT / "tools/list_licences.py", *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_page_has_a_row_for_every_installed_package():
    checked = list_licences("--check", PAGE)
    assert checked.returncode == 0, checked.stderr


def test_the_page_lists_what_is_locked_for_linux_in_the_locked_versions():
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([0-9][^ ]*) \|", PAGE.read_text(), re.M)
    linux = locked_versions(
        sys_platform="linux", platform_system="Linux", platform_machine="x86_64"
    )
    assert dict(rows) == linux
    assert len(rows) == len(linux)


def test_a_row_that_is_out_of_date_is_found_and_written_anew(tmp_path):
    page = tmp_path / "licences.md"
    page.write_text(PAGE.read_text().replace("| yacs | 0.1.8 |", "| yacs | 0.1.7 |"))

    stale = list_licences("--check", page)
    assert stale.returncode != 0
    assert "yacs" in stale.stderr and "numpy" not in stale.stderr and "--write" in stale.stderr

    assert list_licences("--write", page).returncode == 0
    assert list_licences("--check", page).returncode == 0


def test_what_stands_above_the_table_stays_and_a_page_without_its_place_is_refused(tmp_path):
    page = tmp_path / "licences.md"
    mark = next(line for line in PAGE.read_text().splitlines() if line.startswith("<!--"))
    page.write_text(f"By hand.\n\n{mark}\nan old table\n")
    assert list_licences("--write", page).returncode == 0
    assert page.read_text().startswith(f"By hand.\n\n{mark}\n| package |")
    assert "old table" not in page.read_text()

    page.write_text("By hand.\n")
    refused = list_licences("--write", page)
    assert refused.returncode != 0 and mark in refused.stderr
    assert page.read_text() == "By hand.\n"
