"""Opens and decodes damaged DICOM files of every syntax, and counts what becomes of them.

    python -m tools.mutate_dicom [--mutants 10000] [--seed 1]

The mutants are made from small sound files with a fixed seed: changed bits and lengths, parts cut out, doubled or taken
from other files. The default tests do the same with a few hundred. A crash of a codec would end this process.
"""

import argparse
import faulthandler
import resource
import time
from collections import Counter

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.dicom.mutants import mutants, sound_files

LIMITS = DecodeLimits(max_frames=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10_000, help="number of files (default 10,000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the damage (default 1)")
    arguments = parser.parse_args()
    faulthandler.enable()
    found: Counter[str] = Counter()
    slowest_s = 0.0
    began_s = time.monotonic()
    for number, mutant in enumerate(mutants(sound_files(), arguments.mutants, arguments.seed), start=1):
        file_began_s = time.monotonic()
        found.update(outcomes(mutant))
        slowest_s = max(slowest_s, time.monotonic() - file_began_s)
        if number in (arguments.mutants // 10, arguments.mutants):
            peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"after {number:,} files: peak memory {peak_mib:,.0f} MiB")
    print(", ".join(f"{outcome} {n:,}" for outcome, n in found.most_common()))
    print(f"{time.monotonic() - began_s:.0f} s, the slowest file {slowest_s:.1f} s")


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
