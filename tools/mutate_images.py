"""Opens and decodes damaged image files of every format that is read, and counts what becomes of them.

    python -m tools.mutate_images [FORMAT …] [--mutants 10000] [--seed 1]

FORMAT is DICOM, TIFF, PNG, BMP or JPEG; by default all of them. The mutants are made from small sound files with a
fixed seed: changed bits, lengths and offsets that lie, and parts that are cut out, doubled, or taken from other files.
With all formats, as many files are made that begin as one format and go on as another. Each file is read as an image
and as a label mask, whose outcomes begin with `mask`.
The default tests do the same with a few hundred. A file that takes more than 20 s of processor time, or memory that
grows by more than 512 MiB, ends it with an error. A crash of a codec would end this process.
"""

import argparse
import faulthandler
import time
from collections.abc import Iterable

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from tests.unit.images.dicom.sound_files import sound_files
from tests.unit.images.mutants import DICOM_PREAMBLE, decode_all, exchanged_headers, mutants
from tests.unit.images.rasters.sound_rasters import sound_rasters

LIMITS = DecodeLimits(max_frames=8)
SIGNATURE_BYTES = 4


def main() -> None:
    files = {"DICOM": sound_files(), **sound_rasters()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(files))
    parser.add_argument("--mutants", type=int, default=10_000, help="number of files of each format (default 10,000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the damage (default 1)")
    arguments = parser.parse_args()
    if unknown := set(arguments.formats) - set(files):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(files)}")
    faulthandler.enable()
    n_files, seed = arguments.mutants, arguments.seed
    for name in arguments.formats or files:
        first_byte = DICOM_PREAMBLE if name == "DICOM" else SIGNATURE_BYTES
        print(f"{name}, from {len(files[name])} sound files: ", end="")
        decode(mutants(files[name], n_files, seed, first_byte))
    if not arguments.formats:
        print("Headers exchanged: ", end="")
        decode(exchanged_headers(list(files.values()), n_files, seed))


def decode(damaged: Iterable[bytes]) -> None:
    """Decode damaged files, and print what became of them."""
    began_s = time.monotonic()
    found, slowest_s, growth_bytes = decode_all(damaged, outcomes)
    print(", ".join(f"{outcome} {n:,}" for outcome, n in found.most_common()))
    print(f"  {time.monotonic() - began_s:.0f} s, slowest file {slowest_s:.1f} s, memory {growth_bytes >> 20:,} MiB")


def outcomes(data: bytes) -> list[str]:
    """Return `ok` or the code of each frame of a file, or the code of the file, and that of the file as a mask."""
    found = [mask_outcome(data)]
    try:
        file = open_image(data, LIMITS)
    except ItemError as error:
        return [*found, error.code.value]
    for index in range(file.n_frames):
        try:
            file.frame(index)
            file.metadata(index)
            found.append("ok")
        except ItemError as error:
            found.append(error.code.value)
    return found


def mask_outcome(data: bytes) -> str:
    """Return what becomes of a file that is taken for a label mask of 256 values."""
    try:
        read_label_mask(data, {value: value % 3 for value in range(256)}, LIMITS)
    except ItemError as error:
        return f"mask: {error.code.value}"
    return "mask: ok"


if __name__ == "__main__":
    main()
