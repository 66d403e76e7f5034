"""What was run, and which studies reached the analysis."""

from diagchd_batch.report.blocks import Figure, Section, Table
from diagchd_batch.report.figures.flow import flow_diagram
from diagchd_batch.report.formatting import NONE, count, number, words
from diagchd_batch.report.source import Row, Source

_KEPT = ("planned", "analysed")


def flow(source: Source) -> Section:
    rows = source.tables["flow"]
    steps = [
        row for row in rows if row["subject_kind"] is None and row["reason"] is None and row["n_studies"] is not None
    ]
    by_name = {row["name"]: row for row in steps}
    notes = [row["note"] for row in rows if row["name"] == "left_out" and row["note"]]
    if not all(name in by_name for name in _KEPT):
        return Section("flow", "Flow of studies", left_out=["the table flow has no rows", *notes])
    leaving = [row for row in steps if row["name"] not in (*_KEPT, "unmatched")]
    indeterminate = [row for row in rows if row["subject_kind"] is not None and row["name"] == "indeterminate"]
    svg = flow_diagram(
        ("planned", _counts(by_name["planned"])),
        [(words(row["name"]), _counts(row)) for row in leaving],
        ("analysed", _counts(by_name["analysed"])),
    )
    analysed = by_name["analysed"]
    positive, negative = analysed["n_positive"] or 0, analysed["n_negative"] or 0
    labelled = positive + negative
    prevalence = (
        f"Prevalence among the analysed studies: {positive:,} of {labelled:,} ({number(positive / labelled)})."
        if labelled
        else "No analysed study has a reference label, so there is no prevalence."
    )
    caption = (
        f"Studies from the plan to the analysis, n = {count(by_name['planned']['n_studies'])} planned. {prevalence}"
    )
    return Section(
        "flow",
        "Flow of studies",
        f"{prevalence} Indeterminate reads belong to readers and are counted for each of them below.",
        [Figure(caption, svg)],
        [
            Table(
                "Flow by step, reason and reader; counts of studies",
                _FLOW,
                [_flow_cells(row) for row in rows if row["name"] != "left_out"],
            )
        ],
        [*notes, *([] if indeterminate else ["no reads were recorded as indeterminate"])],
    )


_FLOW = ("step", "reason", "whose reads", "studies", "subjects", "diseased", "healthy", "frames")


def run(source: Source) -> Section:
    record = source.record
    model = record.model
    pairs = [
        ("run", record.run_id),
        ("status", record.status),
        ("parent run", record.parent_run_id or NONE),
        ("fingerprint", record.fingerprint[:16]),
        ("model", f"{model.name}, {model.architecture}, {model.height} × {model.width}, {model.precision}"),
        ("weights (SHA-256)", model.weights_digest[:16]),
        ("default call", f"probability ≥ {model.chd_threshold:g}"),
        (
            "planned",
            f"{record.plan.n_studies:,} studies, {record.plan.n_subjects:,} subjects, {record.plan.n_images:,} images",
        ),
        ("subjects", "given" if record.plan.subjects_given else "not given: each study counts as its own subject"),
        ("began", f"{record.started_at:%Y-%m-%d %H:%M} UTC"),
        ("devices", ", ".join(record.devices) or NONE),
        ("diagchd-batch", record.package_version),
    ]
    return Section("run", "What was run", tables=[Table("The run and its model", ("", ""), pairs)])


def quality(source: Source) -> Section:
    counts = source.record.counts
    if counts is None:
        return Section("quality", "Failures and quality flags", left_out=["the run record holds no counts yet"])
    failures = [(code, count(n)) for code, n in sorted(counts.failures.items())]
    flags = [(words(flag), count(n)) for flag, n in sorted(counts.quality_flags.items())]
    return Section(
        "quality",
        "Failures and quality flags",
        f"{counts.n_rows:,} frames: {counts.n_ok:,} scored, {counts.n_failed:,} failed. Quality flags are heuristics.",
        tables=[
            Table(f"Failed frames by reason, n = {counts.n_failed:,}", ("reason", "frames"), failures),
            Table(
                f"Quality flags among n = {counts.n_ok:,} scored frames; a frame may have several",
                ("flag", "frames"),
                flags,
            ),
        ],
    )


def cohort(source: Source) -> Section:
    rows = source.tables["cohort_characteristics"]
    if not rows:
        return Section("cohort", "Cohort", left_out=["no cohort characteristics in this run's tables"])
    cells = [
        (
            words(r["variable"]),
            words(r["level"]),
            words(r["group"]),
            words(r["statistic"]),
            number(r["value"], 2),
            count(r["n"]),
        )
        for r in rows
    ]
    return Section("cohort", "Cohort", tables=[Table("Characteristics of the studies; n in each row", _COHORT, cells)])


_COHORT = ("variable", "level", "group", "statistic", "value", "n")


def _counts(row: Row) -> str:
    text = f"{count(row['n_studies'])} studies"
    if row["n_positive"] is not None and row["n_negative"] is not None:
        text += f" ({count(row['n_positive'])} diseased, {count(row['n_negative'])} healthy)"
    return text


def _flow_cells(row: Row) -> tuple[str, ...]:
    numbers = (row[name] for name in ("n_studies", "n_subjects", "n_positive", "n_negative", "n_frames"))
    return (words(row["name"]), words(row["reason"]), words(row["subject"]), *map(count, numbers))
