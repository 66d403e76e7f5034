"""Puts the sections together and writes the file."""

from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diagchd_batch.report.sections import accuracy, agreement, closing, run
from diagchd_batch.report.source import Source, read_source
from diagchd_batch.results import layout
from diagchd_batch.storage import Storage

_SECTIONS = (
    run.flow,
    run.run,
    accuracy.headline,
    accuracy.roc,
    accuracy.calibration,
    accuracy.confusion,
    agreement.agreement,
    agreement.segmentation,
    accuracy.subgroups,
    accuracy.worst_cases,
    run.quality,
    run.cohort,
    agreement.comparison,
    closing.reporting,
    closing.definitions,
    closing.versions,
    closing.limits,
)


def write_report(output: Storage, run_id: str) -> str:
    """Writes a run's report from its metrics tables and returns its key.

    The same tables give the same bytes. Raises UsageError where the run has no record or was not evaluated.
    """
    key = layout.report_file(run_id)
    output.replace(key, render(read_source(output, run_id)).encode())
    return key


def render(source: Source) -> str:
    """The whole HTML document."""
    environment = Environment(
        loader=PackageLoader("diagchd_batch.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = resources.files("diagchd_batch.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        record=source.record, sections=[section(source) for section in _SECTIONS], style=Markup(style), markup=Markup
    )
