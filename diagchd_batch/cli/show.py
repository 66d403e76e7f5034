"""`show`: prints everything that an output knows of one image, study or subject."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import moment, print_json, print_pairs, print_text, say
from diagchd_batch.cli.options import (
    AnyRunIdOption,
    JsonOption,
    OutputArgument,
    PrivateUriOption,
    checked_text,
    open_run,
)
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diagchd_batch.runs.show import Shown, ShownResult, ShownRun, ShownStudy

_NOT_AT_HAND = "not known: the private tree is not at hand (--private-uri)"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(show)


def show(
    output: OutputArgument,
    name: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN",
            callback=checked_text,
            help="A token (i-…, s-… or p-…); or, with the private tree, a file's path or name or an own id.",
            show_default=False,
        ),
    ],
    run_id: AnyRunIdOption = None,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the results of one image, study or subject: file, digests, model, versions, run, lineage and exclusions.

    With the private tree, the answer holds the file's name and the full text of errors. It is IDENTIFIED.

    Example: diagchd-batch show out/sample s-0123456789abcdef
    """
    from diagchd_batch.runs.show import show as show_output

    workspace, run_id = open_run(output, private_uri, run_id)
    shown = show_output(workspace, name, run_id, on_note=say)
    if as_json:
        print_json(asdict(shown))
    else:
        _print(shown)
    if shown.has_private:
        say("this answer holds names of files and own ids; keep it where such data belong")


def _print(shown: "Shown") -> None:
    blocks = [
        *(_study_pairs(study) for study in shown.studies),
        *(_evaluation_pairs(row) for row in shown.evaluations),
        *(_result_pairs(result, shown.has_private) for result in shown.results),
        *(_run_pairs(run) for run in shown.runs),
    ]
    for number, block in enumerate(blocks):
        if number:
            print_text()
        print_pairs(block)
    if not shown.results:
        print_text("\nno result: no run of this output scored it")


def _study_pairs(study: "ShownStudy") -> list[tuple[str, object]]:
    own_subject = study.source_subject_id or "not given, so the study is its own subject"
    return [
        ("study", f"{study.study_id} = {study.source_study_id}"),
        ("subject", f"{study.subject_id} = {own_subject}"),
        *([("fetus", study.fetus)] if study.fetus else []),
        ("label", {None: "none", 0: "0 (normal)", 1: "1 (CHD)"}.get(study.label, study.label)),
        ("planned", f"{counted(study.n_images, 'image')} in run {study.run_id}"),
        ("excluded", "; ".join(study.exclude_reasons) or "no"),
    ]


def _evaluation_pairs(row: "Mapping[str, object]") -> list[tuple[str, object]]:
    first = ("evaluated", f"study {row['study_id']} in run {row['run_id']}")
    return [first, *((name, _value(value)) for name, value in row.items() if name not in ("study_id", "run_id"))]


def _result_pairs(result: "ShownResult", has_private: bool) -> list[tuple[str, object]]:
    values = result.values
    frame = "the whole file" if values.get("frame") is None else f"frame {values['frame']}"
    pairs: list[tuple[str, object]] = [
        ("image", f"{values['image_id']}, {frame}"),
        ("in study", f"{values['study_id']}, subject {values['subject_id']}"),
        ("run", f"{result.run_id}, shard {result.shard}"),
        ("lineage", _lineage(result)),
        ("file", result.uri or ("not in the plan" if has_private else _NOT_AT_HAND)),
    ]
    if has_private:
        part = " of its chosen frames" if result.source.get("digest_of") == "frames" else ""
        pairs += [(f"SHA-256{part}", result.source.get("sha256") or "not recorded")]
        pairs += [(name, result.source[name]) for name in ("mask_uri", "mask_sha256") if result.source.get(name)]
    if values["status"] == "ok":
        call = "CHD" if values["chd_call"] else "no CHD"
        pairs.append(("result", f"probability {values['chd_probability']:.6f}, called {call} at the card's threshold"))
    else:
        pairs += [("result", f"failed: {values['error_code']}"), ("remedy", result.remedy or "none known")]
        pairs.append(("error", result.source.get("error") or ("not recorded" if has_private else _NOT_AT_HAND)))
    shown = {"image_id", "study_id", "subject_id", "frame", "status", "error_code", "chd_probability", "chd_call"}
    pairs += [(name, _value(value)) for name, value in values.items() if name not in shown and value != []]
    return pairs


def _lineage(result: "ShownResult") -> str:
    parts = [f"current in that of run {name}" for name in result.current_in]
    parts += [f"superseded in that of run {name}" for name in result.superseded_in]
    return "; ".join(parts) or "none"


def _run_pairs(run: "ShownRun") -> list[tuple[str, object]]:
    versions = {"diagchd-batch": run.package_version} | run.versions  # a new record has its own version in both
    return [
        ("run", f"{run.run_id}, {run.status}" + (", SIMULATED data" if run.simulated else "")),
        ("continues", f"{run.parent_run_id} ({run.selection})" if run.parent_run_id else "no other run"),
        ("model", f"{run.model}, {run.precision}"),
        ("weights", run.weights_digest),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("devices", ", ".join(run.devices) or "not known"),
        ("scored", f"{moment(run.started_at)} to {moment(run.ended_at)}"),
        ("fingerprint", run.fingerprint),
    ]


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
