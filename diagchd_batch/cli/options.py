"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[Path, typer.Argument(help="The job file (YAML).", show_default=False)]
OutputArgument = Annotated[
    str, typer.Argument(help="The output: a directory or s3://bucket/prefix.", show_default=False)
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as model.precision=bfloat16. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RunIdOption = Annotated[str | None, typer.Option("--run-id", help="A run; default: the latest finished one.")]
PrivateUriOption = Annotated[
    str | None, typer.Option("--private-uri", help="Where the private tree lies, if not in the output.")
]
