"""Net counts and Cliff-Lorimer fractions against exSpy, on the EDS spectra that exSpy ships.

python tests/benchmarks/bench_line_fit.py --peers-python PEERS/bin/python

Both have the same elements, range, windows and k-factors, and calibrate on the data. Differences
are in units of our standard deviation of the net counts; the time is that of one spectrum.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np
import xarray as xr

import eds_xr
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning
from eds_xr.spectra.reference_share import net_counts
from eds_xr.xray.windows import line_windows_kev


@dataclass(frozen=True)
class Case:
    """One of exSpy's spectra; lines in alphabetical order, as exSpy sorts them."""

    data: str
    lines: tuple[str, ...]
    range_kev: tuple[float, float]
    other: tuple[str, ...] = ()
    k_factors: dict[str, float] = field(default_factory=dict)

    @property
    def elements(self) -> list[str]:
        return [line.split("_")[0] for line in self.lines]


CASES = (
    # a thin film: Fe Ka beside Cu and Co of column and grid; factors of exSpy's own example
    Case(
        "EDS_TEM_FePt_nanoparticles", ("Fe_Ka", "Pt_La"), (0.7, 19.0), ("Co", "Cu", "Si", "Zr"),
        {"Fe_Ka": 1.450226, "Pt_La": 5.075602},
    ),
    # bulk at 10 kV: net counts only, as Cliff-Lorimer is for films
    Case("EDS_SEM_TM002", ("Al_Ka", "Cu_Ka", "Mn_Ka", "Zr_La"), (0.7, 9.5)),
)  # fmt: skip
OURS = {
    "least squares": {},
    "Poisson": {"method": "poisson"},
    "physical background": {"background": "physical"},
    "escape and sum peaks": {"escape": True, "sum_peaks": True},
}


def main() -> None:
    """Print a table for each spectrum."""
    args = arguments()
    for case in CASES:
        answer = ask(args.peers_python, case)
        if "error" in answer:
            common.say(f"{case.data}: {answer['error']}")
            continue
        compare(case, answer)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--peers-python", required=True, help="Python with exspy; see README.md")
    return parser.parse_args()


def ask(python: str, case: Case) -> dict[str, Any]:
    """Return what exSpy finds in a spectrum, and the spectrum."""
    windows = [line_windows_kev(line) for line in case.lines]
    job = {
        "data": case.data,
        "elements": [*case.elements, *case.other],
        "lines": case.lines,
        "range_kev": case.range_kev,
        "windows": [peak for peak, _, _ in windows],
        "backgrounds": [[*left, *right] for _, left, right in windows],
        "k_factors": [case.k_factors[line] for line in case.lines] if case.k_factors else None,
    }
    command = [python, "-W", "ignore", str(Path(__file__).with_name("peers_lines.py"))]
    done = subprocess.run(
        command, input=json.dumps(job), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def as_spectra(found: dict[str, Any]) -> xr.Dataset:
    """Return the spectrum as eds_xr has it."""
    counts = np.array(found.pop("counts"), float)
    energy = found.pop("offset_kev") + found.pop("channel_kev") * np.arange(counts.size)
    units = {"units": "keV"}
    data = {"counts": ("energy", counts), "variance": ("energy", counts)}
    return xr.Dataset(data, {"energy": ("energy", energy, units)}, found)


def compare(case: Case, answer: dict[str, Any]) -> None:
    """Print net counts, their differences, fractions and times."""
    spectra = as_spectra(answer["spectrum"])
    fits = {
        name: timed_fit(spectra, case, **options)
        for name, options in OURS.items()
        if case.k_factors or "background" not in options  # bremsstrahlung of a film
    }
    ours = fits["least squares"][1]
    sd = np.sqrt(ours.variance.values)
    windows = [net_counts(spectra, line) for line in case.lines]
    width = [math.sqrt(float(w.variance)) for w in windows]
    rows = [("windows", [float(w.net) for w in windows], width, None)]
    rows += [("windows, exSpy", answer["windows"]["net"], None, width)]
    for name, (_, fit) in fits.items():
        rows.append((name, fit.net.values, np.sqrt(fit.variance.values), sd))
    rows += [
        (f"{n}, exSpy", answer[n]["net"], answer[n]["sd"], sd) for n in ("fit", "weighted fit")
    ]
    base = {"windows, exSpy": rows[0][1]}
    table = [
        (
            f"{line}: {name}",
            value(values, errors, i),
            against(values, base.get(name, ours.net.values), scale, i),
        )
        for i, line in enumerate(case.lines)
        for name, values, errors, scale in rows
    ]
    common.show(f"{case.data}: net counts", table, ("method", "net", "difference"))
    fractions(case, rows, ours, answer)
    times = [(name, f"{1e3 * seconds:.0f} ms", "") for name, (seconds, _) in fits.items()]
    times += [
        (f"{n}, exSpy", f"{1e3 * answer[n]['seconds']:.0f} ms", "") for n in ("fit", "weighted fit")
    ]
    times += [
        (f"{n}, exSpy: calibrated", ", ".join(answer[n]["calibrated"]) or "nothing", "")
        for n in ("fit", "weighted fit")
    ]
    common.show(f"{case.data}: time of a fit, calibration included", times, ("method", "time", ""))


def timed_fit(spectra: xr.Dataset, case: Case, **options: Any) -> tuple[float, xr.Dataset]:
    """Return the time of the second of two fits [s], and its result."""

    def fit() -> xr.Dataset:
        return eds_xr.fit_lines(
            spectra, case.elements, stray=case.other, lines=case.lines,
            range_kev=case.range_kev, **options,
        )  # fmt: skip

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingLineWarning)
        fit()  # reads tables
        return common.timed(fit)


def fractions(
    case: Case, rows: list[tuple[str, Any, Any, Any]], ours: xr.Dataset, answer: dict[str, Any]
) -> None:
    """Print atomic fractions with the same k-factors: ours with its error, exSpy's beside."""
    if not case.k_factors:
        return
    composition = eds_xr.quantify(ours, case.k_factors)
    sd = np.sqrt(composition.atomic_fraction_variance.values)
    found = [("least squares", 100 * composition.atomic_fraction.values)]
    found += [
        (f"{n}, exSpy", answer[n]["atomic_percent"]) for n in ("windows", "fit", "weighted fit")
    ]
    table = [
        (
            f"{element}: {name}",
            f"{values[i]:.2f} +- {100 * sd[i]:.2f} at%",
            f"{(values[i] - found[0][1][i]) / (100 * sd[i]):+.1f} s",
        )
        for i, element in enumerate(case.elements)
        for name, values in found
    ]
    common.show(f"{case.data}: Cliff-Lorimer", table, ("method", "fraction", "difference"))


def value(values: Any, errors: Any, i: int) -> str:
    """Return a net count with its error, where there is one."""
    return f"{values[i]:.1f}" + ("" if errors is None else f" +- {errors[i]:.1f}")


def against(values: Any, base: Any, scale: Any, i: int) -> str:
    """Return a difference in standard deviations."""
    return "" if scale is None else f"{(values[i] - base[i]) / scale[i]:+.2f} s"


if __name__ == "__main__":
    main()
