"""Check or write the column of tests in docs/reliability.md.

    python scripts/faults.py            # exit 1 where the document and the tests differ
    python scripts/faults.py --write    # bring the document up to the tests
    python scripts/faults.py --show     # print each row, its outcome, and the names of its tests

The name of a test begins with the ids of the rows that it covers: `test_S03_S14_a_second_event_costs_no_model_call`.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "docs/reliability.md"
TEST = re.compile(r"def (test_((?:[A-Z]\d\d_)+)\w+)")
ROW = re.compile(r"^(\| ([A-Z]\d\d) \|.*\|.*\|)[^|]*\|$", re.MULTILINE)


def main() -> int:
    """Compare the document with the tests, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the column of tests")
    parser.add_argument("--show", action="store_true", help="print the rows with their tests")
    given = parser.parse_args()
    tests, text = find_tests(), CATALOGUE.read_text()
    unknown = sorted(set(tests) - {row for _, row in ROW.findall(text)})
    updated = ROW.sub(lambda row: f"{row[1]} {format_tests(tests[row[2]])} |", text)
    if given.show:
        show_rows(text, tests)
    if given.write:
        CATALOGUE.write_text(updated)
    elif updated != text:
        print(f"{CATALOGUE.name} does not match the tests. Run scripts/faults.py --write.", file=sys.stderr)
        return 1
    for row in unknown:
        print(f"{CATALOGUE.name} has no row {row}, which {', '.join(tests[row])} name.", file=sys.stderr)
    return 1 if unknown else 0


def show_rows(text: str, tests: defaultdict[str, list[str]]) -> None:
    """Print each row: its id, the outcome that is required, its tests."""
    for row, name in ROW.findall(text):
        outcome = row.split("|")[3].strip()
        print(f"{name}  {outcome}")
        print("".join(f"      {test}\n" for test in tests[name]) or "      none\n", end="")


def find_tests() -> defaultdict[str, list[str]]:
    """The tests of each row, as `folder/file.py: name`."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, rows in TEST.findall(path.read_text()):
            for row in rows.rstrip("_").split("_"):
                found[row].append(f"{path.relative_to(ROOT / 'tests')}: {name}")
    return found


def format_tests(tests: list[str]) -> str:
    """A cell of the table."""
    return "<br>".join(f"`{test}`" for test in tests) or "none"


if __name__ == "__main__":
    sys.exit(main())
