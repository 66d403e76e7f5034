"""The entry of `evaluate`: from a run's score tables to its metrics tables. It opens neither images nor the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.applied_decisions import apply_decisions
from diagchd_batch.evaluation.cohort.figures_by_rater import Analysis, analyse
from diagchd_batch.evaluation.cohort.flow import create_results, flow_rows, study_results, table_rows
from diagchd_batch.evaluation.database import CohortDatabase, RunTables
from diagchd_batch.evaluation.match_user_tables import (
    Matching,
    labels_made_of_reads,
    match_readers,
    match_reference,
)
from diagchd_batch.evaluation.operating_points import choose_headline
from diagchd_batch.evaluation.readers.reads import Reads, reads_table
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate, all_covariates, diagnoses
from diagchd_batch.evaluation.subgroups.training_folds import fold_names, training_fold
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.evaluation.tables.private_schemas import NAMES, PRIVATE_TABLES
from diagchd_batch.evaluation.tables.writing import metrics_table, write_table
from diagchd_batch.evaluation.units_and_raters import NOT_EVALUABLE, Units, known_folds
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.datasets import predictions_keys, read_predictions, read_scores
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.metrics_tables import remove_other_metrics
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.studies.tables.evaluation_inputs import read_readers, read_reference
from diagchd_batch.wording import counted


@dataclass(frozen=True)
class EvaluationSummary:
    """What `evaluate_run` wrote.

    Attributes:
        run_id: The run.
        lineage: The run and those that it continues, oldest first.
        n_rows: Number of rows by table.
        n_unmatched: Number of study ids that the inventory lacks, by the table that names them.
        notes: What was left out, and why.
    """

    run_id: str
    lineage: tuple[str, ...]
    n_rows: Mapping[str, int]
    n_unmatched: Mapping[str, int]
    notes: tuple[str, ...]


def evaluate_run(
    output: Store, private: Store, run_id: str, config: EvaluationConfig, pseudonymizer: Pseudonymizer
) -> EvaluationSummary:
    """Compute and write all metrics tables of a run over its lineage.

    Reference, readers, covariates and masks are optional; the notes say what is left out without them. The same run,
    tables and settings give the same bytes.

    Args:
        output: The output that holds the run.
        private: Its private tree.
        run_id: The run.
        config: The evaluation's settings.
        pseudonymizer: Makes the tokens of this output.

    Returns:
        What was written.

    Raises:
        UsageError: The output lacks the run, or one that it continues.
        InputError: Reference, readers or covariates cannot be used.
        RunFault: The scores do not belong to the plan.
    """
    lineage = resolve_lineage(output, run_id)
    matching, names = Matching(), DisplayNames(pseudonymizer, disclose=config.disclose)
    cross_validation = lineage[-1].cross_validation
    # A package's thresholds and calibration were chosen on its out-of-fold scores and would look too good on them.
    decisions = apply_decisions(None if cross_validation else lineage[-1].model.decisions, config)
    points, headline = choose_headline(config.operating_points)
    points += decisions.points
    definition = ScoreDefinition.of(config.model_dump())
    with CohortDatabase() as database:
        database.load([run_tables(output, private, record.run_id) for record in lineage])
        match_reference(database, read_reference(config.reference) if config.reference else None, matching)
        create_results(database, names, definition, excludes_not_evaluable=config.exclude == "not_evaluable")
        reads = None
        if config.readers:
            reads = match_readers(database, read_readers(config.readers), names, matching)
        covariates, notes = all_covariates(database, config, names, matching)
        diagnosis, further_notes = diagnoses(database, names)
        analysis = _cohort(database, config, lineage[-1].model.name, reads, covariates, diagnosis)
        if analysis.units.folds is not None:
            fold = training_fold(analysis.units.folds, covariates, fold_names(private, run_id), names)
            analysis = replace(analysis, covariates=(fold, *analysis.covariates))
        if decisions.recalibration is not None:
            analysis = replace(analysis, calibrated=decisions.recalibration.apply(analysis.score))
        results = analyse(analysis, database, points, headline, _primary_comparator(config, names))
        notes = [
            *_filtered(private, run_id),
            *_left_out(analysis),
            *(_notes_on_folds(analysis) if cross_validation else ()),
            *decisions.notes,
            *notes,
            *further_notes,
            *results.notes,
        ]
        flow = [*flow_rows(database), *results.flow, *table_rows(matching.n_unmatched, notes)]
        writer = _Writer(output, private, lineage[-1])
        for name, rows in {**results.tables, "flow": flow}.items():
            writer.write(name, metrics_table(name, rows, definition=definition))
        writer.write("study_results", study_results(database, points, definition))
        writer.write("reads", reads_table(database, reads, results.majority))
        writer.remove_others()
        writer.write_private("unmatched", [{"table": t, "id": i} for t, i in matching.unmatched])
        writer.write_private("names", [dict(zip(NAMES.names, row, strict=True)) for row in names.renamed()])
    return EvaluationSummary(
        run_id, tuple(record.run_id for record in lineage), writer.n_rows, matching.n_unmatched, tuple(notes)
    )


def run_tables(output: Store, private: Store, run_id: str) -> RunTables:
    """Return what the evaluation reads of one run.

    Args:
        output: The output that holds the run.
        private: Its private tree.
        run_id: The run.

    Returns:
        Its plan, and its predictions, or the committed scores of a run that has no predictions yet.
    """
    has_predictions = bool(predictions_keys(output, run_id))
    rows = read_predictions(output, run_id) if has_predictions else read_scores(output, run_id)
    return RunTables(run_id, rows, open_plan(private, run_id).studies())


class _Writer:
    """Writes a run's tables and counts their rows."""

    def __init__(self, output: Store, private: Store, record: RunRecord) -> None:
        self._output, self._private, self._run_id = output, private, record.run_id
        self._metadata = table_metadata(
            run_id=record.run_id, fingerprint=record.fingerprint, simulated=record.simulated
        )
        self.n_rows: dict[str, int] = {}

    def write(self, name: str, table: pa.Table | pa.RecordBatchReader) -> None:
        key = output_layout.metrics_file(self._run_id, name)
        self.n_rows[name] = write_table(self._output, key, table, TABLES[name], self._metadata)

    def remove_others(self) -> None:
        remove_other_metrics(self._output, self._run_id, self.n_rows.keys())

    def write_private(self, name: str, rows: Sequence[dict[str, str]]) -> None:
        schema = PRIVATE_TABLES[name]
        key = output_layout.private_evaluation_file(self._run_id, name)
        write_table(self._private, key, pa.Table.from_pylist(list(rows), schema), schema, self._metadata)
        suffix = output_layout.PRIVATE_TABLE_SUFFIX_V1
        self._private.delete(output_layout.private_evaluation_file(self._run_id, name, suffix))


def _notes_on_folds(analysis: Analysis) -> list[str]:
    """Return notes on what out-of-fold predictions cannot show."""
    notes = [
        "the package's operating points and calibration are not applied, because they were chosen on these scores; the "
        "package states what they gave on other folds"
    ]
    if analysis.reads is not None:
        notes.append("the AUC is not compared with the mean of readers, because that ranks all studies together")
    return notes


def _cohort(
    database: CohortDatabase,
    config: EvaluationConfig,
    model: str,
    reads: Reads | None,
    covariates: Sequence[Covariate],
    diagnosis: Covariate | None,
) -> Analysis:
    columns = database.arrays(
        "SELECT subject, CAST(label AS DOUBLE) AS truth, CAST(fold AS DOUBLE) AS fold, "
        "CASE WHEN n_frames_evaluable > 0 THEN score END AS score, "
        "CAST(CASE status WHEN 'excluded' THEN 1 WHEN 'not_scored' THEN 2 WHEN 'failed' THEN 3 "
        f"WHEN 'not_evaluable' THEN {NOT_EVALUABLE} ELSE 0 END AS TINYINT) AS reason FROM results ORDER BY study"
    )
    return Analysis(
        config=config,
        model=model,
        units=Units(
            "study",
            columns["subject"],
            columns["truth"].astype(np.float64),
            folds=known_folds(columns["fold"].astype(np.float64)),
        ),
        score=columns["score"].astype(np.float64),
        reason=columns["reason"].astype(np.int8),
        reference_from_readers=labels_made_of_reads(database),
        reads=reads,
        covariates=tuple(covariates),
        diagnosis=diagnosis,
    )


def _filtered(private: Store, run_id: str) -> list[str]:
    """Return notes on the studies that filters of the job file kept out of the plan."""
    objects = open_plan(private, run_id).head.objects
    left_out = objects.left_out_studies if objects else {}
    return [f"input.filter.{key} left out {counted(n, 'study')} before planning" for key, n in left_out.items()]


def _left_out(analysis: Analysis) -> list[str]:
    """Return notes on what this run cannot show, each with what would be needed."""
    notes = []
    if np.isnan(analysis.units.truth).all():
        notes.append("no reference labels: accuracy, AUC and calibration are left out")
    if analysis.reads is None:
        notes.append("no readers: comparisons with readers and agreement are left out")
    elif not len(analysis.reads):
        notes.append("no read belongs to a study of this run: comparisons with readers and agreement are left out")
    if analysis.config.covariates is None:
        notes.append("no covariates: subgroups are source resolution and number of images alone")
    return notes


def _primary_comparator(config: EvaluationConfig, names: DisplayNames) -> str | None:
    """Return the primary endpoint's comparator as tables name it: a reader, `readers_mean` or `majority`."""
    if config.primary is None:
        return None
    comparator = config.primary.comparator
    return comparator if comparator in ("readers_mean", "majority") else names.readers([comparator])[comparator]
