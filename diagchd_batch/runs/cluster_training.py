"""`train --address`: trains on a cluster through its job API."""

from collections.abc import Callable

from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.runs.submit import ClusterSubmission
from diagchd_batch.runs.train import TrainOptions, training_of, training_target
from diagchd_batch.scoring.driver.run_identity.claims import RunRegistry
from diagchd_batch.storage import open_store
from diagchd_batch.training.package_writer import refuse_another_package
from diagchd_batch.training.training_record import read_training_record, training_tree
from diagchd_batch.workspace import Workspace


def train_on_cluster(options: TrainOptions, address: str) -> ClusterSubmission:
    """Start a training on a cluster through its job API, or attach to the submission of it that is running there.

    The output must be reachable from here, because run ids are keyed and the key lies in the private tree.

    Args:
        options: The job, and what the command line says about it.
        address: The cluster's address, such as ``http://head:8265``.

    Returns:
        The cluster, the training, and the submission of it that is running there.

    Raises:
        ConfigError: The cluster refuses this client, or the job file cannot be used there.
        RunFault: The cluster does not answer.
    """
    config = options.config
    settings = training_of(config)
    refuse_overlapping_places(config)
    jobs = ClusterJobs(address)
    workspace = Workspace.of_job(config, options.environ)
    key, tree = workspace.create_key(), training_tree(workspace)
    registry = RunRegistry(tree.storage, tree.private, key)
    target = training_target(config, load_card(config.model.name), registry, key, options.request)
    if not target.exists:
        refuse_another_package(open_store(settings.package_uri))
    words = ["--train", *(["--until", options.until.isoformat()] if options.until else [])]
    run_id = target.identity.run_id
    submission_id, attached = jobs.submit(config, workspace.private, run_id, words)
    return ClusterSubmission(jobs, run_id, submission_id, attached)


def follow_training(
    config: JobConfig,
    submission: ClusterSubmission,
    *,
    write_log: Callable[[str], None],
    say: Callable[[str], None],
) -> ExitCode:
    """Pass the log of a training on a cluster on until it ends, and return its exit code.

    Args:
        config: The job file.
        submission: What `train_on_cluster` returned.
        write_log: Receives the log piece by piece.
        say: Receives a sentence for the user if the training did not succeed.
    """
    status, driver_exit_code = submission.jobs.follow(submission.submission_id, write_log)
    record = read_training_record(training_tree(Workspace.of_job(config)), submission.run_id)
    if status == "SUCCEEDED":
        return ExitCode(record.exit_code or ExitCode.DONE) if record else ExitCode.DONE
    if record and record.status == "finished":
        say(f"Ray reports that the job {status.lower()}; the training is finished, and the messages above say why")
    else:
        say(f"Ray reports that the job {status.lower()}; the same command goes on with the training")
    return ExitCode(driver_exit_code) if driver_exit_code in set(ExitCode) else ExitCode.FAILED
