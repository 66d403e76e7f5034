"""The section on what was run: the model, the weights, the plan."""

from diagchd_batch.report.elements import Section, Table
from diagchd_batch.report.formatting import NONE, counted, words
from diagchd_batch.report.report_data import ReportData


def run(data: ReportData) -> Section:
    """Return the section on what was run."""
    record = data.record
    model, plan = record.model, record.plan
    pairs = [
        ("run", record.run_id),
        ("continues", record.parent_run_id or "no other run"),
        ("began", f"{record.started_at:%Y-%m-%d %H:%M} UTC"),
        ("ended", f"{record.ended_at:%Y-%m-%d %H:%M} UTC" if record.ended_at else NONE),
        ("status", words(record.status)),
        ("model", f"{model.name}, version {model.card.get('version', NONE)}"),
        ("architecture", f"{model.architecture}, grid {model.height} × {model.width}, {model.precision}"),
        ("preprocessing", model.preprocessing),
        ("weights (SHA-256)", model.weights_digest),
        ("fingerprint", record.fingerprint),
        (
            "to be scored",  # the flow of studies shows what was excluded before
            f"{counted(plan.n_studies, 'study')} of {counted(plan.n_subjects, 'subject')}, "
            f"{counted(plan.n_images, 'image')}, {counted(plan.n_masks, 'reference mask')}",
        ),
        ("frames", f"{plan.frames} of each image file"),
        ("subjects", "given" if plan.subjects_given else "not given: each study counts as its own subject"),
        ("devices", ", ".join(record.devices) or NONE),
    ]
    lead = "The images are SIMULATED, so no figure here describes patients." if record.simulated else ""
    return Section(
        "run", "What was run", [lead] if lead else [], tables=[Table("The run and its model", ("", ""), pairs)]
    )
