"""Opens many random sources of images and compares what is found with what was made.

python -m benchmarks.fuzz_sources [COUNT] [--start SEED]

Prints a line for each difference and ends with status 1 if there is one. Files without read permission are part of it
unless it runs as root, who may read everything.
"""

import argparse
import os
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from tests.data.source_fuzz import KINDS, Maker, check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("--start", type=int, default=0)
    words = parser.parse_args()
    wrong: list[int] = []
    made: Counter[str] = Counter()
    for seed in range(words.start, words.start + words.count):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LOWZOO_CACHE"] = str(Path(folder) / "cache")
            plan = Maker(Path(folder), seed).make()
            made[KINDS[seed % len(KINDS)]] += 1
            made["pictures"] += len(plan.entries)
            made["other files"] += sum(plan.left_out.values())
            try:
                check(plan)
            except Exception as error:
                wrong.append(seed)
                place = traceback.extract_tb(error.__traceback__)[-1]
                print(f"seed {seed} ({plan.word.name}): {type(error).__name__} in {place.name}: {str(error)[:200]!r}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in made.items())
    print(f"{words.count} sources ({kinds}): {len(wrong)} differ")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
