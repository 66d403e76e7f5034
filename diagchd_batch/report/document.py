"""Puts the sections together and writes the file."""

from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diagchd_batch import output_layout
from diagchd_batch.model.caution import trained_on_phantoms
from diagchd_batch.report.sections import cases, closing, scores
from diagchd_batch.report.sections.agreement import agreement
from diagchd_batch.report.sections.cohort import cohort
from diagchd_batch.report.sections.comparison import comparison
from diagchd_batch.report.sections.flow import flow
from diagchd_batch.report.sections.headline import headline
from diagchd_batch.report.sections.reporting import reporting
from diagchd_batch.report.sections.run import run
from diagchd_batch.report.sections.segmentation import segmentation
from diagchd_batch.report.sections.subgroups import subgroups
from diagchd_batch.report.source import Source, read_source
from diagchd_batch.storage import Store

_SECTIONS = (
    flow,
    run,
    headline,
    scores.roc,
    scores.calibration,
    scores.confusion,
    agreement,
    scores.arms,
    segmentation,
    subgroups,
    cases.worst_cases,
    cases.quality,
    cohort,
    comparison,
    reporting,
    closing.definitions,
    closing.versions,
    closing.limits,
)


def write_report(output: Store, run_id: str) -> str:
    """Writes a run's report from its metrics tables and returns its key.

    The same tables give the same bytes. Raises UsageError where the run has no record or was not evaluated.
    """
    key = output_layout.report_file(run_id)
    output.replace(key, render(read_source(output, run_id)).encode())
    return key


def render(source: Source) -> str:
    """The whole HTML document."""
    environment = Environment(
        loader=PackageLoader("diagchd_batch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("diagchd_batch.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    sections = [section for make in _SECTIONS if (section := make(source))]
    disclosed = source.record.config.get("evaluation", {}).get("disclose", False)
    model = source.record.model
    return environment.get_template("report.html.j2").render(
        record=source.record,
        sections=sections,
        disclosed=disclosed,
        phantom_weights=trained_on_phantoms(model.card, model.weights_digest),
        style=Markup(style),
        markup=Markup,
    )
