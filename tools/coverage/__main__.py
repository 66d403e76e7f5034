"""Measure how often 95 % intervals hold the true value and 5 % tests reject a true hypothesis.

python -m tools.coverage cells rates --results coverage.jsonl       # cell by cell; can be stopped and continued
python -m tools.coverage table coverage.jsonl --write docs/statistics.md
python -m tools.coverage readers --write docs/statistics.md         # reader studies
python -m tools.coverage readers --why                              # the explanations in docs/statistics.md
"""

import argparse
import sys
from pathlib import Path

from tools.coverage import rare_disease, reader_cohorts, tables


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    cells = commands.add_parser("cells", help="measure intervals and tests by prevalence and number of diseased")
    cells.add_argument("part", choices=rare_disease.PARTS)
    cells.add_argument("--results", type=Path, required=True, help="file of JSON lines; cells in it are skipped")
    cells.add_argument("--cohorts", type=int, default=2000, help="simulated cohorts of a cell (default 2000)")
    cells.add_argument("--diseased", type=int, nargs="+", default=list(rare_disease.DISEASED))
    cells.add_argument("--limit", type=int, default=50_000, help="leave out cells of more subjects (default 50000)")
    cells.add_argument("--seed", type=int, default=15)
    table = commands.add_parser("table", help="write what was measured into a page")
    table.add_argument("results", type=Path, nargs="+")
    table.add_argument("--write", type=Path, help="Markdown file whose table is replaced")
    readers = commands.add_parser("readers", help="measure all methods in reader studies at a prevalence of 1/3")
    reader_cohorts.add_arguments(readers)
    arguments = parser.parse_args()
    if arguments.command == "cells":
        rare_disease.run(
            arguments.part,
            arguments.results,
            arguments.cohorts,
            arguments.seed,
            tuple(arguments.diseased),
            arguments.limit,
        )
        return
    if arguments.command == "table":
        markers = tables.BEGIN, tables.END
        text = tables.summary([row for path in arguments.results for row in rare_disease.read(path)])
    else:
        markers = reader_cohorts.BEGIN, reader_cohorts.END
        text = reader_cohorts.table_of(arguments)
    sys.stdout.write(text + "\n")
    if arguments.write:
        tables.replace_table(arguments.write, text, *markers)


if __name__ == "__main__":
    main()
