"""`bench`: how fast this machine decodes, scores and writes, and the settings that follow from it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption

if TYPE_CHECKING:
    from diagchd_batch.model.benchmark_against_keras import PredictorBenchmark
    from diagchd_batch.runs.bench import Throughput
    from diagchd_batch.runs.feed_benchmark import FeedBenchmark


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(bench)


def bench(
    model: Annotated[
        str | None,
        typer.Option(
            help="A bundled model: diagchd or diagchd-compact; by default diagchd-compact, and diagchd with --feed."
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="bundled, a checkpoint's path, or seed:N.")] = "bundled",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, for the end-to-end figures.")] = "float32",
    images: Annotated[int, typer.Option(min=1, help="Image files scored end to end.")] = 122,
    feed: Annotated[
        bool, typer.Option("--feed", help="Measure everything around the model, with one that costs nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure images/s here: decoding, the model, writing, end to end; each precision against Keras's own predict.

    All figures come from this one run on the bundled sample's images, so their ratios mean something.

    With --feed only the grid of the model matters. It measures the processor time of an image by step, and images/s
    with 1 to all cores.

    Example: diagchd-batch bench --model diagchd --weights seed:0 --images 40
    """
    if feed:
        from diagchd_batch.runs.feed_benchmark import run_feed_benchmark

        _print_feed(run_feed_benchmark(model or "diagchd", images, say), as_json)
        return
    from diagchd_batch.runs.bench import run_benchmark

    measured = run_benchmark(model or "diagchd-compact", weights, precision, images, say)
    if as_json:
        print_json(_as_json(measured.predictor, measured.throughput, measured.suggestions))
    else:
        _print(measured.predictor, measured.throughput, measured.suggestions)


def _print_feed(measured: "FeedBenchmark", as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(measured))
        return
    pairs = [("grid", f"{measured.height} x {measured.width}, {measured.n_images} images a measurement")]
    pairs += [
        (name, f"{milliseconds:.2f} ms of processor time an image") for name, milliseconds in measured.step_ms.items()
    ]
    for rate in measured.rates:
        pairs.append(
            (
                f"{rate.decoder_threads} decoding, batch {rate.batch_size}",
                f"{rate.images_per_s:.0f} images/s, {rate.processor_ms:.2f} ms of processor time an image",
            )
        )
    print_pairs(pairs)


def _as_json(predictor: "PredictorBenchmark", throughput: "Throughput", suggestions: dict[str, str]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": predictor.model,
        "device": predictor.device,
        "batch_size": throughput.batch_size,
        "n_images": throughput.n_images,
        "images_per_s": {
            "decode_per_core": throughput.decode_per_core,
            "model": throughput.model,
            "write_per_core": throughput.write_per_core,
            "end_to_end": throughput.end_to_end,
            "keras_predict": predictor.keras_images_per_s,
        },
        "end_to_end_of_model": throughput.end_to_end_of_model,
        "precisions": {name: asdict(figures) for name, figures in predictor.precisions.items()},
        "suggestions": suggestions,
    }


def _print(predictor: "PredictorBenchmark", throughput: "Throughput", suggestions: dict[str, str]) -> None:
    pairs: list[tuple[str, Any]] = [
        ("model", f"{predictor.model} on {predictor.device}, batch size {throughput.batch_size}"),
        ("decode", f"{throughput.decode_per_core:.1f} images/s per core"),
        ("model alone", f"{throughput.model:.2f} images/s"),
        ("write", f"{throughput.write_per_core:.1f} images/s per core"),
        (
            "end to end",
            f"{throughput.end_to_end:.2f} images/s, {throughput.end_to_end_of_model:.2f} of the model alone",
        ),
        ("keras predict", f"{predictor.keras_images_per_s:.2f} images/s, one image at a time"),
    ]
    for name, figures in predictor.precisions.items():
        text = (
            f"{figures.speed_ratio:.2f} × keras predict; {figures.same_pixels:.3%} of pixels and "
            f"{figures.same_calls:.1%} of calls the same, probabilities within "
            f"{figures.largest_probability_difference:.1e}"
        )
        pairs.append((name, text))
    pairs += [("suggested" if n == 0 else "", f"{s} ({why})") for n, (s, why) in enumerate(suggestions.items())]
    print_pairs(pairs)
