"""Spectrum images of a wedge with grains in it, or of particles on a film, with their truth.

A grain is a closed outline seen along the beam, thick in its middle and thin at its edge. Grains
within a foil take the place of its matrix, so that several may lie along the beam; particles on a
film add to it. Each phase absorbs as if the foil there were all of it. Dead pixels count nothing;
the background drifts across the field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from support.independent.foil import Foil, atom_fractions
from support.independent.grains import Grain, dead_pixels, lengths_nm, phases_of
from support.independent.materials import Material
from support.independent.spectra import FOIL, STRAYS, Microscope, unit_shapes

#: An axis up to 10 keV.
MICROSCOPE = Microscope(channels=1024)
#: Thicknesses at which absorption is worked out; between them it is interpolated.
_NODES = 4


def image(
    matrix: Material,
    grains: Sequence[Grain],
    shape: tuple[int, int] = (48, 48),
    dose: float = 100.0,
    *,
    seed: int,
    microscope: Microscope = MICROSCOPE,
    foil: Foil = FOIL,
    wedge: float = 0.4,
    drift: float = 0.1,
    dead: int = 0,
    on_film: bool = False,
    pixel_nm: float = 2.0,
    strays: Mapping[str, float] = STRAYS,
) -> tuple[xr.DataArray, xr.Dataset]:
    """Return a spectrum image and its truth.

    Parameters
    ----------
    matrix, grains
        With `on_film` the matrix is a film that particles lie on.
    dose : float
        Mean counts of a pixel of matrix of the foil's thickness.
    foil : Foil
        Its thickness is that of the middle of the field; density is each material's own.
    wedge, drift : float
        Thickness, and background, at the right edge less that at the left, over the middle's.
    dead : int
        How many pixels count nothing.

    Returns
    -------
    image : DataArray ``counts`` [y, x, energy], uint16
    truth : Dataset
        ``amounts`` [phase, y, x], shares of the thickness that add up to 1; ``share``, those of
        the counts expected were no pixel dead; ``thickness_nm``,
        ``dead`` and ``expected``, all counts of a pixel [y, x]; ``atoms`` [phase, element],
        fractions; ``spectra`` [phase, energy], of which ``background`` is a part, and ``net``
        [phase, line]: expected counts of the whole image.
    """
    phases = phases_of(matrix, grains)
    length, thickness = lengths_nm(phases, grains, shape, foil.thickness_nm, wedge, on_film)
    tables = _Tables(phases, thickness, microscope, foil, strays)
    exposure = dose / tables.counts_of_matrix()
    return _recorded(phases, exposure * length, thickness, tables, seed, drift, dead, pixel_nm)


def image_of_lengths(
    phases: Sequence[Material],
    length_nm: np.ndarray,
    dose: float = 100.0,
    *,
    seed: int,
    microscope: Microscope = MICROSCOPE,
    foil: Foil = FOIL,
    drift: float = 0.1,
    dead: int = 0,
    pixel_nm: float = 2.0,
    strays: Mapping[str, float] = STRAYS,
) -> tuple[xr.DataArray, xr.Dataset]:
    """Return a spectrum image of any layout, and its truth, as :func:`image` does.

    Parameters
    ----------
    length_nm
        Length of each phase along the beam [phase, y, x; nm], some everywhere.
    dose : float
        Mean counts of a pixel of the field.
    foil : Foil
        Only its take-off angle counts, and its thickness for the share of background.
    """
    thickness = length_nm.sum(0)
    tables = _Tables(phases, thickness, microscope, foil, strays)
    exposure = dose / float(tables.counts_per_exposure(length_nm, thickness).sum(0).mean())
    return _recorded(phases, exposure * length_nm, thickness, tables, seed, drift, dead, pixel_nm)


def _recorded(
    phases: Sequence[Material],
    exposed_nm: np.ndarray,
    thickness: np.ndarray,
    tables: "_Tables",
    seed: int,
    drift: float,
    dead: int,
    pixel_nm: float,
) -> tuple[xr.DataArray, xr.Dataset]:
    shape = thickness.shape
    bad = dead_pixels(shape, dead, seed)
    drifts = np.broadcast_to(1 + drift * np.linspace(-0.5, 0.5, shape[1]), shape)
    by_phase = tables.counts_per_exposure(exposed_nm, thickness, drifts)
    seen = np.where(bad, 0.0, exposed_nm)[:, None] * tables.nodes_at(thickness)
    expected, counts = _draw(seen, drifts, tables, seed)
    attrs = tables.microscope.attrs(tables.foil)
    coords = _coords(shape, pixel_nm, tables.microscope)
    found = xr.DataArray(counts, coords, ("y", "x", "energy"), "counts", attrs)
    total = seen.sum((2, 3))
    background = np.einsum("pk,pkc->pc", (seen * drifts).sum((2, 3)), tables.background)
    known = xr.Dataset(
        {
            "amounts": (("phase", "y", "x"), exposed_nm / exposed_nm.sum(0)),
            "share": (("phase", "y", "x"), by_phase / by_phase.sum(0)),
            "thickness_nm": (("y", "x"), thickness),
            "dead": (("y", "x"), bad),
            "expected": (("y", "x"), expected),
            "spectra": (
                ("phase", "energy"), background + np.einsum("pk,pkc->pc", total, tables.lines),
            ),
            "background": (("phase", "energy"), background),
            "net": (("phase", "line"), np.einsum("pk,pkl->pl", total, tables.net)),
        },
        coords={**coords, "phase": [p.name for p in phases], "line": tables.names},
        attrs=attrs,
    )  # fmt: skip
    return found.assign_attrs(units="counts", long_name="counts"), known.assign(
        atoms=_atoms(phases)
    )


class _Tables:
    """Spectra of a nanometre of each phase, in foils of some thicknesses [phase, node, ...]."""

    def __init__(
        self,
        phases: Sequence[Material],
        thickness: np.ndarray,
        microscope: Microscope,
        foil: Foil,
        strays: Mapping[str, float],
    ) -> None:
        self.nodes = np.linspace(thickness.min(), thickness.max() + 1e-6, _NODES)
        self.microscope, self.foil, self.strays = microscope, foil, strays
        made = [[self._per_nm(phase, nm) for nm in self.nodes] for phase in phases]
        self.middle = self._per_nm(phases[0], foil.thickness_nm)
        share, peaks = microscope.background, float(self.middle.peaks.sum())
        scale = share / (1 - share) * peaks / float(self.middle.background.sum())
        self.names = list(dict.fromkeys(str(n) for row in made for s in row for n in s.line.values))
        self.background = scale * np.array([[s.background.values for s in row] for row in made])
        self.lines = np.array([[s.peaks.sum("line").values for s in row] for row in made])
        net = [[s.net.reindex(line=self.names, fill_value=0.0).values for s in row] for row in made]
        self.net = np.array(net)

    def counts_of_matrix(self) -> float:
        """Return the counts of matrix of the foil's thickness, for an exposure of 1."""
        peaks = float(self.middle.peaks.sum())
        return self.foil.thickness_nm * peaks / (1 - self.microscope.background)

    def counts_per_exposure(
        self, length_nm: np.ndarray, thickness: np.ndarray, drifts: np.ndarray | float = 1.0
    ) -> np.ndarray:
        """Return expected counts of each phase [phase, y, x]."""
        nodes = self.nodes_at(thickness)
        of_lines = np.einsum("kyx,pk->pyx", nodes, self.lines.sum(-1))
        return length_nm * (
            of_lines + drifts * np.einsum("kyx,pk->pyx", nodes, self.background.sum(-1))
        )

    def nodes_at(self, thickness: np.ndarray) -> np.ndarray:
        """Return weights of the nodes [node, y, x] for linear interpolation."""
        step = self.nodes[1] - self.nodes[0]
        return np.clip(1 - np.abs(thickness - self.nodes[:, None, None]) / step, 0, 1)

    def _per_nm(self, phase: Material, nm: float) -> xr.Dataset:
        foil = replace(self.foil, thickness_nm=nm, density_g_cm3=phase.density_g_cm3)
        made = unit_shapes(phase.atoms, microscope=self.microscope, foil=foil, strays=self.strays)
        return made[["peaks", "net", "background"]] / nm


def _draw(
    seen: np.ndarray, drifts: np.ndarray, tables: _Tables, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return expected counts [y, x] and counts [y, x, energy], a row of pixels at a time."""
    shape = drifts.shape
    expected = np.empty(shape)
    counts = np.empty((*shape, tables.lines.shape[-1]), np.uint16)
    for row in range(shape[0]):
        mean = np.einsum("pkx,pkc->xc", seen[:, :, row], tables.lines)
        soft = seen[:, :, row] * drifts[row]
        mean += np.einsum("pkx,pkc->xc", soft, tables.background)
        expected[row] = mean.sum(1)
        counts[row] = np.random.default_rng((seed, row)).poisson(mean)
    return expected, counts


def _coords(
    shape: tuple[int, int], pixel_nm: float, microscope: Microscope
) -> dict[str, xr.Variable]:
    place = {
        dim: xr.Variable(dim, pixel_nm * np.arange(n), {"units": "nm", "long_name": dim})
        for dim, n in zip("yx", shape, strict=True)
    }
    axis = {"units": "keV", "long_name": "energy"}
    return {**place, "energy": xr.Variable("energy", microscope.energy_kev(), axis)}


def _atoms(phases: Sequence[Material]) -> xr.DataArray:
    elements = list(dict.fromkeys(e for p in phases for e in p.atoms))
    rows = [[atom_fractions(p.atoms).get(e, 0.0) for e in elements] for p in phases]
    return xr.DataArray(rows, {"phase": [p.name for p in phases], "element": elements})
