"""`config`: the job file's schema, its values once defaults and overrides are applied, and whether it is valid."""

import os

import typer

from diagchd_batch.cli.console import print_json, print_text, say
from diagchd_batch.cli.options import ConfigArgument, JsonOption, SetOption

app = typer.Typer(help="Show the job file's schema, show a whole job, or check a job file.", no_args_is_help=True)


@app.command()
def schema() -> None:
    """Print the job file's JSON schema, for editors and checks.

    Example: diagchd-batch config schema > job.schema.json
    """
    from diagchd_batch.runs.config import job_schema

    print_json(job_schema())


@app.command()
def show(config: ConfigArgument, overrides: SetOption = [], as_json: JsonOption = False) -> None:  # noqa: B006
    """Print the whole job, with defaults, environment variables and --set applied.

    Example: diagchd-batch config show configs/sample.yaml --set model.precision=bfloat16
    """
    import yaml

    from diagchd_batch.runs.config import whole_job

    job = whole_job(config, overrides, os.environ)
    if as_json:
        print_json(job)
    else:
        print_text(yaml.safe_dump(job, sort_keys=False, allow_unicode=True), end="")


@app.command()
def validate(config: ConfigArgument, overrides: SetOption = []) -> None:  # noqa: B006
    """Check a job file. If it is not valid, the exit code is 2. Reads no input data, which `plan` does.

    Example: diagchd-batch config validate job.yaml
    """
    from diagchd_batch.runs.config import validate_job

    validate_job(config, overrides, os.environ)
    say(f"{config} is valid")
