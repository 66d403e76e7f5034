"""The sections on single cases, by token, and on failures and quality flags."""

from diagchd_batch.failure_codes import REMEDIES, FailureCode
from diagchd_batch.images.quality import QUALITY_FLAGS
from diagchd_batch.report.elements import Section, Table
from diagchd_batch.report.formatting import count, counted, number, words
from diagchd_batch.report.report_data import ReportData, Row, matching

_KINDS = {
    "false_negative": "Diseased studies called negative, lowest score first",
    "false_positive": "Healthy studies called positive, highest score first",
    "low_dice": "Images with the lowest mean Dice of septum and heart",
}
_SHOWN = 10


def worst_cases(data: ReportData) -> Section:
    """Return the section on the cases with the worst calls and masks, by token."""
    rows = data.tables["worst_cases"]
    if not rows:
        return Section("worst-cases", "Worst cases", left_out=["no false call, and no mask to compare"])
    tables, left_out = [], []
    for kind, caption in _KINDS.items():
        found = sorted(matching(rows, kind=kind), key=lambda row: row["rank"])
        if not found:
            left_out.append(f"{caption[0].lower()}{caption[1:]}: there are none")
            continue
        of_images = found[0]["image_id"] is not None
        columns = ("", "study", *(("image", "frame", "Dice") if of_images else ("score",)), "reference")
        cells = [_cells(row, of_images) for row in found]
        first = f"the first {_SHOWN} of {len(found)}" if len(found) > _SHOWN else counted(len(found), "case")
        tables.append(Table(f"{caption} ({first})", columns, cells[:_SHOWN], unbroken=True))
        if len(found) > _SHOWN:
            tables.append(Table(f"{caption}: the others", columns, cells[_SHOWN:], folded=True, unbroken=True))
    return Section(
        "worst-cases",
        "Worst cases",
        ["Only the private tree links tokens to files. The command `report` with --gallery draws these cases."],
        tables=tables,
        left_out=left_out,
    )


def _cells(row: Row, of_images: bool) -> tuple[str, ...]:
    place = (words(row["image_id"]), count(row["frame"])) if of_images else ()
    label = {1: "diseased", 0: "healthy"}.get(row["reference_label"], "no label")
    return (count(row["rank"]), row["study_id"], *place, number(row["value"]), label)


def quality(data: ReportData) -> Section:
    """Return the section on failures and quality flags."""
    counts = data.record.counts
    title = "Failures and quality flags"
    if counts is None:
        return Section("quality", title, left_out=["the run has not ended, so its record holds no counts"])
    failures = [(words(code), count(n), _remedy(code)) for code, n in sorted(counts.failures.items())]
    flags = [
        (words(flag), count(n), _share(n, counts.n_ok), QUALITY_FLAGS.get(flag, ""))
        for flag, n in sorted(counts.quality_flags.items())
    ]
    masks = [
        (words(status), count(n), _remedy(status) or "usable") for status, n in sorted(counts.reference_status.items())
    ]
    introduction = [
        f"{counted(counts.n_images, 'image')}, {counted(counts.n_rows, 'frame')}: {count(counts.n_ok)} scored, "
        f"{count(counts.n_failed)} failed. Quality flags are heuristics, computed from the predicted mask."
    ]
    if data.record.parent_run_id:
        introduction.append(
            "This section counts the frames of this run alone. All other sections include the runs that it continues."
        )
    left_out = [] if masks else ["no reference masks were given"]
    tables = [
        Table("Failed frames by reason", ("reason", "frames", "what to do"), failures),
        Table(
            "Quality flags among the scored frames; a frame may have several",
            ("flag", "frames", "share", "rule"),
            flags,
        ),
        Table("Reference masks by state", ("state", "frames", ""), masks),
    ]
    return Section(
        "quality",
        title,
        introduction,
        tables=[table for table in tables if table.rows],
        left_out=left_out,
    )


def _share(n: int, of: int) -> str:
    return f"{100 * n / of:.1f} %" if of else "–"


def _remedy(code: str) -> str:
    return REMEDIES[FailureCode(code)] if code in {known.value for known in FailureCode} else ""
