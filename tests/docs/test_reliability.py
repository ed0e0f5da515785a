"""docs/reliability.md promises nothing that no test holds."""

import re

from fresh_process import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+) \| (.+) \| `(\S+\.py)`: `(test_\w+)` \|$", PAGE, re.MULTILINE)


def test_every_row_names_a_test_that_exists():
    assert len(ROWS) >= 40
    for fault, _, file, test in ROWS:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"def {test}\(", source), f"{fault}: {file} has no {test}"


def test_no_fault_stands_twice_and_their_number_stands_at_the_top():
    assert len({fault for fault, *_ in ROWS}) == len(ROWS)
    (number,) = re.findall(r"the test that holds it: (\d+) of them", PAGE)
    assert int(number) == len(ROWS)
