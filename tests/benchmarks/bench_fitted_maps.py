"""Line families fitted to every pixel, against reads of the store and against windows.

``python tests/benchmarks/bench_fitted_maps.py --work FOLDER``
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from common import Row, best_of, parser, read_store, say, show, stored, work_folder

import eds_xr
from eds_xr import simulate
from eds_xr.image.element_maps import element_maps
from eds_xr.spectra.line_fits.fitted_maps import fitted_maps
from eds_xr.spectra.sums import sum_spectra
from eds_xr.xray import lines as xray_lines

DOSE, MASKS = 180.0, 20
#: Ten lines to report; with Fe L and Cu L there are twelve families between 0.7 and 12.5 keV.
TEN_LINES = ("Mg", "Al", "Si", "S", "K", "Ca", "Ti", "Cr", "Fe", "Cu")
#: What the simulation holds.
ELEMENTS = ("Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U")
STRAY = ("Cu", "Ga")
METHODS = {"linear": False, "nonnegative": True}


def main() -> None:
    """Print the tables."""
    given = parser(__doc__).parse_args()
    with work_folder(given.work) as work:
        size = 128 if given.quick else 512
        image = eds_xr.open(stored(work, "maps", (size, size, 2048), DOSE))
        show(f"{size} x {size} x 2048, {DOSE:g} counts a pixel, best of three", times(image))
    truth_size = 64 if given.quick else 192
    for title, rows, head in truth((truth_size, truth_size, 2048)):
        show(title, rows, head)


# -- time ----------------------------------------------------------------------------------------


def times(image: xr.DataArray) -> list[Row]:
    """Return times in reads of the store: every chunk decompressed, few values looked at."""
    masks = blobs(image, MASKS)
    tasks: dict[str, tuple[Callable[[], object], str]] = {
        "sum over all counts": (lambda: image.sum().compute(), ""),
        f"{MASKS} masks summed": (lambda: sum_spectra(image, masks).load(), "1.5 reads"),
        "10 windows, no background": (lambda: _windows(image, background=False), ""),
        "10 windows less background": (lambda: _windows(image, background=True), ""),
    }
    for method, flag in METHODS.items():
        tasks[f"10 lines fitted, {method}"] = (
            lambda f=flag: _fitted(image, nonnegative=f),
            "6 reads",
        )
    read = best_of(3, lambda: read_store(image))
    rows: list[Row] = [("one read", f"{read:.2f} s", "")]
    for name, (task, goal) in tasks.items():
        say(name)
        task()
        seconds = best_of(3, task)
        rows.append((name, f"{seconds:.2f} s, {seconds / read:.1f} reads", goal))
    return rows


def _windows(image: xr.DataArray, *, background: bool) -> xr.DataArray:
    return element_maps(image, ELEMENTS, background=background).compute()


def _fitted(image: xr.DataArray, *, nonnegative: bool) -> xr.Dataset:
    maps = fitted_maps(image, TEN_LINES, nonnegative=nonnegative)
    assert maps.sizes["line"] == len(TEN_LINES)
    return maps.compute()


def blobs(image: xr.DataArray, n: int) -> xr.DataArray:
    """Return random masks that overlap, each some 40 % of the image."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0).normal(size=(n, image.sizes["y"], image.sizes["x"]))
    smooth = gaussian_filter(noise, (0, 8, 8))
    coords = {"phase": [f"mask_{i}" for i in range(n)], "y": image.y, "x": image.x}
    return xr.DataArray(smooth > 0.25 * smooth.std(), coords, ("phase", "y", "x"))


# -- truth ---------------------------------------------------------------------------------------


def truth(shape: tuple[int, int, int]) -> list[tuple[str, list[Row], Row]]:
    """Return tables of the errors in a pixel, and of sums over the pure pixels of a phase."""
    image = simulate.spectrum_image(shape, DOSE, seed=1).drop_vars("haadf")
    known = simulate.truth(shape, DOSE, seed=1)
    lines = fitted_maps(image, ELEMENTS, stray=STRAY).line.values
    found: dict[str, xr.DataArray] = {"windows": element_maps(image, lines.tolist())}
    for method, flag in METHODS.items():
        say(f"truth: {method}")
        maps = fitted_maps(image, ELEMENTS, stray=STRAY, nonnegative=flag).compute()
        found[method] = maps.net.assign_coords(variance=maps.variance)
    found = {k: v.compute() for k, v in found.items()}
    expected = xr.dot(known.expected.compute(), true_shares(lines))
    names = tuple(found)
    pixel, phase = [], []
    for line in expected.line.values:
        true = expected.sel(line=line)
        errors = [maps.sel(line=line) - true for maps in found.values()]
        rms = "  ".join(f"{float((e**2).mean()) ** 0.5:11.3f}" for e in errors)
        pixel.append((str(line), rms, f"{float(true.mean()):.3f}"))
        inside = known.mask.sel(phase="Brg").compute()
        spread = float(found["linear"].variance.sel(line=line).where(inside).sum()) ** 0.5
        sums = "  ".join(f"{float(e.where(inside).sum()) / spread:11.1f}" for e in errors)
        phase.append((str(line), sums, ""))
    head = "  ".join(f"{name:>11}" for name in names)
    return [
        ("root mean square error in a pixel [counts]", pixel, ("line", head, "true mean")),
        ("error of the sum over pure Brg [standard deviations]", phase, ("line", head, "")),
    ]


def true_shares(lines: np.ndarray) -> xr.DataArray:
    """Return the share of a phase's counts that each line has [phase, line]."""
    phases, instrument = simulate.PYROLITE_71GPA, simulate.TEM_200_KV
    peaks = (1 - instrument.background) * (1 - sum(instrument.stray.values()))
    table = []
    for phase in phases:
        seen = {x: n * c for e, n in phase.atoms.items() for x, c in _photons(e).items()}
        total = sum(seen.values())
        table.append([peaks * seen.get(str(line), 0.0) / total for line in lines])
    coords = {"phase": [p.name for p in phases], "line": lines}
    return xr.DataArray(table, coords, ("phase", "line"))


def _photons(element: str) -> dict[str, float]:
    """Return what the detector counts of each line of an atom, within the energy axis."""
    lines = [x for shell in xray_lines.FAMILIES for x in xray_lines.family(element, shell)]
    return {
        x.name: xray_lines.emission_per_atom(x.name, 200.0)
        * float(xray_lines.detector_efficiency(np.array([x.energy_kev]))[0])
        for x in lines
        if x.energy_kev < 20.27
    }


if __name__ == "__main__":
    main()
