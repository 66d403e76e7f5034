"""Measure how often 95 % intervals hold the true value and 5 % tests reject a true hypothesis.

python -m tools.coverage measure --minutes 60     # continue the study by cell, the cheapest cells first
python -m tools.coverage remaining                # what the rest needs
python -m tools.coverage render                   # write docs/statistics.md and the table of the report's cautions
python -m tools.coverage readers --write docs/statistics.md         # reader studies
python -m tools.coverage readers --why                              # the explanations in docs/statistics.md

Results by cell are kept in tools/coverage/results.jsonl. Commit it with what `render` writes.
"""

import argparse
import sys
from pathlib import Path

from tools.coverage import caution_table, rare_disease, reader_cohorts, results, tables

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure", help="measure cells that are missing or too short")
    measure.add_argument("--minutes", type=float, required=True, help="stop after this time")
    measure.add_argument("--part", choices=rare_disease.PARTS, nargs="+", default=list(rare_disease.PARTS))
    remaining = commands.add_parser("remaining", help="print which cells are missing, and the core hours they need")
    for command in (measure, remaining):
        command.add_argument("--results", type=Path, default=results.RESULTS, help="file (default: the committed one)")
    measure.add_argument("--diseased", type=int, nargs="+", default=list(rare_disease.DISEASED))
    measure.add_argument("--prevalence", type=float, nargs="+", default=list(rare_disease.PREVALENCES))
    commands.add_parser("render", help="write the tables of docs/statistics.md and of the report's cautions")
    readers = commands.add_parser("readers", help="measure all methods in reader studies at a prevalence of 1/3")
    reader_cohorts.add_arguments(readers)
    arguments = parser.parse_args()
    if arguments.command == "measure":
        cells = [
            cell
            for cell in results.all_cells()
            if cell.part in arguments.part
            and cell.diseased in arguments.diseased
            and cell.prevalence in arguments.prevalence
        ]
        for run in results.continue_study(arguments.results, arguments.minutes, cells):
            cell = run.cell
            print(
                f"{cell.part}, {cell.diseased} of {cell.subjects}, AUC {cell.auc:g}, repeat scans {cell.clustered}: "
                f"{run.cohorts} cohorts from {run.first} in {run.seconds:.0f} s",
                flush=True,
            )
    elif arguments.command == "remaining":
        print(results.remaining_table(results.read(arguments.results)))
    elif arguments.command == "render":
        runs = results.read()
        tables.replace_table(PAGE, tables.page_text(runs), tables.BEGIN, tables.END)
        caution_table.FILE.write_text(caution_table.file_text(runs), encoding="utf-8")
    else:
        text = reader_cohorts.table_of(arguments)
        sys.stdout.write(text + "\n")
        if arguments.write:
            tables.replace_table(arguments.write, text, reader_cohorts.BEGIN, reader_cohorts.END)


if __name__ == "__main__":
    main()
