"""`models`: model packages, bundled or your own."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.console import print_json, print_pairs, print_text, say
from diagchd_batch.cli.options import JsonOption
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.runs.models import ModelDetails

app = typer.Typer(no_args_is_help=True, help="List, show, check and copy model packages.")

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A bundled name, a path with a slash in it (./mine), or s3://….", show_default=False
    ),
]


@app.command("list")
def list_(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]…", help="Packages to list; default: the bundled ones.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List models, one a line: name, version, members, grid, and what its weights were trained on.

    Example: diagchd-batch models list
    """
    from diagchd_batch.runs.models import list_models

    found = list_models(models or ())
    if as_json:
        print_json([_as_json(model) for model in found])
        return
    for model in found:
        card = model.card
        print_text(
            f"{model.location}  {card.name} {card.version}  {counted(len(card.weights_files), 'member')}  "
            f"{card.architecture.height} x {card.architecture.width}  {_trained_on(model)}"
        )


@app.command()
def show(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Show a model's card and the files of its package with their digests.

    Example: diagchd-batch models show diagchd-compact
    """
    from diagchd_batch.runs.models import show_model

    details = show_model(model)
    if as_json:
        print_json(_as_json(details))
        return
    card = details.card
    pairs: list[tuple[str, Any]] = [
        ("package", details.location),
        ("name", f"{card.name} {card.version}"),
        ("description", card.description),
        ("intended use", card.intended_use),
        ("limitations", card.limitations),
        ("licence", card.licence),
        ("architecture", f"{card.architecture.identifier}, {card.architecture.parameters:,} parameters"),
        ("grid", f"{card.architecture.height} x {card.architecture.width}"),
        ("preprocessing", card.preprocessing),
        ("CHD from", card.chd_threshold),
        ("members", len(card.weights_files)),
        ("view check", "yes" if details.has_view_check else "no"),
        ("trained on", _trained_on(details)),
    ]
    pairs += [(file.name, f"{file.size_bytes:,} bytes, SHA-256 {file.sha256}") for file in details.files]
    print_pairs(pairs)


@app.command()
def check(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Check that a model can score: digests, design, view check, and that all weights load. Exit 1 if not.

    Example: diagchd-batch models check diagchd-compact
    """
    from diagchd_batch.runs.models import check_model

    checks = check_model(model)
    wrong = [item for item in checks if item.problem]
    if as_json:
        print_json({"ok": not wrong, "checks": [asdict(item) for item in checks]})
    else:
        print_pairs([(item.what, item.problem or "ok") for item in checks])
    if wrong:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def copy(
    model: ModelArgument,
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A new directory or s3://…", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Copy a model's package to a directory or to S3, and compare the digest of every file.

    Example: diagchd-batch models copy diagchd-compact ./compact
    """
    from diagchd_batch.runs.models import copy_model

    copied = copy_model(model, destination)
    if as_json:
        print_json(_as_json(copied))
        return
    print_pairs([(file.name, f"{file.size_bytes:,} bytes, SHA-256 {file.sha256}") for file in copied.files])
    say(f"the copy is complete; use it with model.name: {copied.location}")


def _trained_on(model: "ModelDetails") -> str:
    data = model.card.training_data
    if not model.card.weights_files:
        return "no weights"
    return "not stated" if data is None else data.description


def _as_json(model: "ModelDetails") -> dict[str, Any]:
    return {**asdict(model), "card": model.card.model_dump(mode="json")}
