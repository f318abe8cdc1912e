"""Which rows of a catalogue of faults the tests bring about.

    python scripts/faults.py ../shared/faults.md S

A row is a line of a table, `| S07 | what happens | what is required |`. A test that brings it about has the row's id in
its name: `test_S07_a_refused_set_of_tags_stays`, or several: `test_S03_S14_...`. Exit code 1 where a row of the section
that is named has no test.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
ROW = re.compile(r"^\| ([A-Z]\d\d)\*? \| ([^|]*) \|", re.MULTILINE)
TEST = re.compile(r"def test_((?:[A-Z]\d\d_)+)(\w+)")


def main() -> int:
    """Print a row's id, what happens, and its tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("section", nargs="?", default="", help="a letter: only those rows")
    given = parser.parse_args()
    tests, bare = tests_by_row(), []
    for row, what in ROW.findall(given.catalogue.read_text()):
        if not row.startswith(given.section):
            continue
        print(f"{row} {what.strip()}")
        print("".join(f"    {test}\n" for test in tests[row]) or "    no test\n", end="")
        bare += [] if tests[row] else [row]
    return 1 if given.section and bare else 0


def tests_by_row() -> dict[str, list[str]]:
    """The tests that name a row: file and sentence."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for rows, sentence in TEST.findall(path.read_text()):
            for row in rows.rstrip("_").split("_"):
                found[row].append(f"{path.relative_to(TESTS)}: {sentence.replace('_', ' ')}")
    return found


if __name__ == "__main__":
    sys.exit(main())
