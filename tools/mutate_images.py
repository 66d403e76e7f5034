"""Opens and decodes damaged image files of every format that is read, and counts what becomes of them.

    python -m tools.mutate_images [FORMAT …] [--mutants 10000] [--seed 1]

FORMAT is DICOM, TIFF, PNG, BMP or JPEG; by default all of them. The mutants are made from small sound files with a
fixed seed: changed bits, lengths and offsets that lie, and parts that are cut out, doubled, or taken from other files.
The default tests do the same with a few hundred. A file that takes more than 20 s of processor time, or memory that
grows by more than 512 MiB, ends it with an error. A crash of a codec would end this process.
"""

import argparse
import faulthandler
import time

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.dicom.sound_files import sound_files
from tests.unit.images.mutants import DICOM_PREAMBLE, decode_mutants
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
    for name in arguments.formats or files:
        first_byte = DICOM_PREAMBLE if name == "DICOM" else SIGNATURE_BYTES
        print(f"{name}, from {len(files[name])} sound files: ", end="")
        decode(files[name], arguments.mutants, arguments.seed, first_byte)


def decode(files: list[bytes], n_mutants: int, seed: int, first_byte: int) -> None:
    """Decode the mutants of one format, and print what became of them."""
    began_s = time.monotonic()
    found, slowest_s, growth_bytes = decode_mutants(files, n_mutants, seed, outcomes, first_byte)
    print(", ".join(f"{outcome} {n:,}" for outcome, n in found.most_common()))
    print(f"  {time.monotonic() - began_s:.0f} s, slowest file {slowest_s:.1f} s, memory {growth_bytes >> 20:,} MiB")


def outcomes(data: bytes) -> list[str]:
    """Return `ok` or the code of each frame of a file, or the code of the file."""
    try:
        file = open_image(data, LIMITS)
    except ItemError as error:
        return [error.code.value]
    found = []
    for index in range(file.n_frames):
        try:
            file.frame(index)
            file.metadata(index)
            found.append("ok")
        except ItemError as error:
            found.append(error.code.value)
    return found


if __name__ == "__main__":
    main()
