"""`info`: what is installed here and what it can use."""

from typing import Any

import typer

from diagchd_batch.cli.console import print_json, print_pairs
from diagchd_batch.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(info)


def info(as_json: JsonOption = False) -> None:
    """Show versions, devices and bundled models.

    Example: diagchd-batch info --json
    """
    from diagchd_batch.runs.info import machine_info

    machine = machine_info()
    cards = machine.models
    if as_json:
        report: dict[str, Any] = {
            "python": machine.python,
            "packages": machine.packages,
            "cores": machine.cores,
            "processor_features": list(machine.processor_features),
            "gpus": list(machine.gpus),
            "models": {
                name: {"version": card.version, "intended_use": card.intended_use} for name, card in cards.items()
            },
        }
        print_json(report)
        return
    pairs: list[tuple[str, Any]] = [("python", machine.python), *machine.packages.items(), ("cores", machine.cores)]
    pairs.append(("processor features", ", ".join(machine.processor_features) or "none of those that matter here"))
    pairs.append(("GPUs", "; ".join(machine.gpus) or "none"))
    pairs += [(f"model {name}", f"{card.version}: {card.intended_use}") for name, card in cards.items()]
    print_pairs(pairs)
