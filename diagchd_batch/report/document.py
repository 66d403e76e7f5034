"""Assembles the sections of a report and writes its HTML file."""

from markupsafe import Markup

from diagchd_batch import output_layout
from diagchd_batch.model.clinical_warning import trained_on_phantoms
from diagchd_batch.report.formatting import counted
from diagchd_batch.report.page_templates import filled_page
from diagchd_batch.report.report_data import ReportData, read_report_data
from diagchd_batch.report.sections import cases, definitions_and_limits, scores, segmentation
from diagchd_batch.report.sections.agreement import agreement
from diagchd_batch.report.sections.cohort import cohort, flow
from diagchd_batch.report.sections.comparison import comparison
from diagchd_batch.report.sections.headline import headline
from diagchd_batch.report.sections.reporting_guidelines import reporting
from diagchd_batch.report.sections.run import run
from diagchd_batch.report.sections.study_scores import study_scores
from diagchd_batch.report.sections.subgroups import subgroups, training_folds
from diagchd_batch.storage import Store

_SECTIONS = (
    headline,
    training_folds,
    study_scores,
    flow,
    scores.roc,
    scores.calibration,
    scores.abstention,
    scores.net_benefit,
    scores.confusion,
    agreement,
    scores.arms,
    segmentation.segmentation,
    segmentation.measurements,
    subgroups,
    cases.worst_cases,
    cases.quality,
    cohort,
    comparison,
    run,
    reporting,
    definitions_and_limits.definitions,
    definitions_and_limits.versions,
    definitions_and_limits.limits,
)


def write_report(output: Store, run_id: str) -> str:
    """Write a run's report from its metrics tables. The same tables give the same bytes.

    Args:
        output: The output that holds the run.
        run_id: The run.

    Returns:
        The key of the HTML file in the output.

    Raises:
        UsageError: The run has no record, or it was not evaluated.
    """
    key = output_layout.report_file(run_id)
    output.replace(key, render(read_report_data(output, run_id)).encode())
    return key


def render(data: ReportData) -> str:
    """Return the whole HTML document."""
    made = [section for make in _SECTIONS if (section := make(data))]
    empty = [section for section in made if section.is_empty]
    sections = [section for section in made if not section.is_empty]
    disclosed = data.record.config.get("evaluation", {}).get("disclose", False)
    model = data.record.model
    return filled_page(
        "report.html.j2",
        "style.css",
        record=data.record,
        title=_title(data),
        sections=sections,
        empty=empty,
        disclosed=disclosed,
        phantom_weights=trained_on_phantoms(model.card, model.weights_digest),
        markup=Markup,
    )


def _title(data: ReportData) -> str:
    """Return the name of the cohort as the job file has it, or what the run scored."""
    name = data.record.config.get("evaluation", {}).get("cohort_name")
    name = name or f"{counted(data.record.plan.n_studies, 'study')}, {counted(data.record.plan.n_images, 'image')}"
    folds = data.record.cross_validation
    return f"Cross-validated in {counted(folds.n_folds, 'fold')}: {name}" if folds else name
