"""`index`: makes the index of the archive's DICOM headers, or brings it up to date."""

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from diagchd_batch.cli.console import duration, moment, print_json, print_pairs, say
from diagchd_batch.cli.options import AddressOption, ConfigArgument, JsonOption, SetOption
from diagchd_batch.cli.silence import LINE_INTERVAL_S
from diagchd_batch.escaping import for_console
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.studies.header_index.stored_index import IndexHead

_TERMINAL_INTERVAL_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(index)


def index(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the DICOM headers of the archive into an index in the private tree, or bring the index up to date.

    Only headers that are new or have changed are read. The same command again goes on after an interruption.

    Exit codes: 0 done, 1 failed (resumable), 2 usage or configuration, 3 done with headers that cannot be read,
    130/143 interrupted (resumable).

    Example: diagchd-batch index job.yaml
    """
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.process.interrupts import RunInterrupted
    from diagchd_batch.runs.index import IndexMessages, index_archive

    job = load_job(config, overrides, os.environ)
    if cluster := cluster_address(address, os.environ):
        _index_on_cluster(job, cluster, as_json)
        return
    interval_s = _TERMINAL_INTERVAL_S if sys.stderr.isatty() else LINE_INTERVAL_S
    try:
        head = index_archive(job, os.environ, IndexMessages(say, interval_s)).head
    except RunInterrupted as interruption:
        say(f"interrupted ({interruption}); what was read stays, and the same command goes on")
        raise typer.Exit(interruption.exit_code) from None
    _print(head, as_json)
    raise typer.Exit(ExitCode.FAILED_INPUTS if head.counts.n_failed else ExitCode.DONE)


def _index_on_cluster(job: "JobConfig", address: str, as_json: bool) -> None:
    from diagchd_batch.process.interrupts import RunInterrupted, interruptible
    from diagchd_batch.runs.index import index_on_cluster

    try:
        with interruptible():
            exit_code, head = index_on_cluster(job, os.environ, address, write_log=_pass_on, say=say)
    except RunInterrupted as interruption:
        say(f"detached ({interruption}); what the cluster has begun goes on, and the same command follows it")
        raise typer.Exit(interruption.exit_code) from None
    if head is not None:
        _print(head, as_json)
    raise typer.Exit(exit_code)


def _print(head: "IndexHead", as_json: bool) -> None:
    if as_json:
        print_json(head.summary())
    else:
        print_pairs(_pairs(head))


def _pass_on(log: str) -> None:
    print(for_console(log), end="", file=sys.stderr, flush=True)


def _pairs(head: "IndexHead") -> list[tuple[str, Any]]:
    counts = head.counts
    speed = f", {head.headers_per_s:,.0f} headers/s" if head.headers_per_s else ""
    pairs: list[tuple[str, Any]] = [
        ("objects", f"{counts.n_objects:,}"),
        ("new", f"{counts.n_new:,}"),
        ("changed", f"{counts.n_changed:,}"),
        ("vanished", f"{counts.n_vanished:,}"),
        ("headers read", f"{counts.n_read:,} in {duration(head.seconds)}{speed}"),
    ]
    if counts.n_taken_over:
        pairs.append(("taken over", f"{counted(counts.n_taken_over, 'header')} that an interrupted update had read"))
    pairs += [(f"kind {kind}", f"{n:,}") for kind, n in counts.kinds.items()]
    pairs.append(("as of", moment(head.updated_at)))
    return pairs
