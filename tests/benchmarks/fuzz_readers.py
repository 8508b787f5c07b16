"""Twenty thousand mutated files of each format through whole conversions.

    python tests/benchmarks/fuzz_readers.py [--count N] [--only FORMAT ...] [--read-only]

Prints, for each format, how many ended in a store, how many in an error, the longest one, and
everything that ended in any other way; exits with 1 if something did. A hundredth as many hostile
files, that lead to others or would run code, must all be refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import fuzzing
from support.fuzz_seeds import HOSTILE, SEEDS


def main() -> int:
    """Fuzz the formats that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument("--read-only", action="store_true", help="stream, but write no store")
    options = parser.parse_args()
    bad = 0
    print(f"{'format':10} {'stores':>8} {'errors':>8} {'other':>6} {'seconds':>8} {'longest':>8}")
    for name in options.only:
        every = 0 if options.read_only else 1
        report = fuzzing.run(SEEDS[name](), range(options.count), whole_every=every)
        bad += len(report.failures)
        print(
            f"{name:10} {report.stores:8,} {report.errors:8,} {len(report.failures):6,} "
            f"{report.seconds:8.0f} {report.longest:8.2f}",
            flush=True,
        )
        for failure in report.failures[:20]:
            print(failure)
    for name, make in HOSTILE.items():
        ends = [fuzzing.try_hostile(make, number) for number in range(options.count // 100)]
        others = [f"{n}: {end}" for n, end in enumerate(ends) if end != "refused"]
        bad += len(others)
        print(f"{name:14} {len(ends) - len(others):,} refused", *others[:20], sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
