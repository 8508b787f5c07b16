"""Spectrum images with a known truth, of any size.

A matrix (the first phase) holds grains of the others. Along the beam a grain replaces matrix, so
the amounts of all phases add up to 1 in every pixel and grains are seen together with matrix.
Counts are drawn from Poisson's law with random numbers that belong to the pixel, not to the
chunk: the same seed gives the same image, whatever the chunks and the number of workers.

Examples
--------
>>> image = spectrum_image((64, 64, 2048), dose=100, seed=1)
>>> image.dims, image.dtype
(('y', 'x', 'energy'), dtype('uint8'))
>>> known = truth((64, 64, 2048), dose=100, seed=1)
>>> list(known.phase.values.tolist())
['Brg', 'Fp', 'Ca-Pv']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.chunks import chunk_shape
from eds_xr.provenance import with_step
from eds_xr.samples.grains import (
    GrainRecipe,
    amounts_block,
    counts_block,
    haadf_block,
    place_grains,
)
from eds_xr.samples.phases import PYROLITE_71GPA as PYROLITE_71GPA
from eds_xr.samples.phases import TEM_200_KV, check_instrument, check_phases, phase_spectrum
from eds_xr.samples.phases import Instrument as Instrument
from eds_xr.samples.phases import Phase as Phase
from eds_xr.samples.phases import without as without
from eds_xr.schema import EdsError, check_energy, label_array

if TYPE_CHECKING:
    import dask.array as da

Shape = tuple[int, int, int]
_FLOAT = np.dtype(np.float32)
Chunks = int | tuple[Any, Any] | None


def spectrum_image(
    shape: Shape = (256, 256, 2048),
    dose: float = 180.0,
    *,
    seed: int = 0,
    phases: Sequence[Phase] = PYROLITE_71GPA,
    instrument: Instrument = TEM_200_KV,
    chunks: Chunks = None,
) -> xr.DataArray:
    """Return a simulated spectrum image.

    Lazy: each chunk is drawn when it is computed, and holds nothing but itself.

    Parameters
    ----------
    shape : (int, int, int)
        Pixels along y and x, channels.
    dose : float
        Mean counts in a pixel of pure matrix.
    seed : int
        Places the grains and draws the counts.
    phases : sequence of Phase
        The matrix first.
    instrument : Instrument
    chunks : int, or (chunks along y, chunks along x), optional
        As Dask takes them; the package's policy when left out. The counts do not depend on it.

    Returns
    -------
    DataArray ``counts`` [y, x, energy; counts]
        The smallest unsigned integers that hold the brightest channel's mean, twelve standard
        deviations and thirty counts more, so that no count is lost. The coordinate ``haadf``
        [y, x] is the atomic number contrast with 2 % noise.

    Raises
    ------
    EdsError
        For a bad shape, dose or phase, or an unknown element.
    """
    _check_dose(dose)
    spectra = _spectra(shape, phases, instrument)
    recipe = GrainRecipe(
        seed=seed,
        width=shape[1],
        grains=_grains(phases, shape, seed, instrument.pixel_size_nm),
        rates=np.array([dose * p.brightness for p in phases]),
        loadings=spectra["loadings"].values,
        contrast=np.array([_haadf_contrast(p) for p in phases]),
    )
    brightest = float((recipe.rates[:, None] * recipe.loadings).max())
    dtype = np.min_scalar_type(math.ceil(brightest + 12 * math.sqrt(brightest) + 30))
    rows, columns = _pixels(shape, chunks, dtype)
    data = _per_pixel(
        counts_block, "yxe", rows, columns, dtype,
        new_axes={"e": shape[2]}, recipe=recipe, out_dtype=dtype.str,
    )  # fmt: skip
    haadf = _per_pixel(haadf_block, "yx", rows, columns, _FLOAT, recipe=recipe)
    coords = {
        **_grid(shape, instrument.pixel_size_nm),
        "energy": spectra.energy,
        "haadf": (("y", "x"), haadf, {"long_name": "HAADF", "units": "1"}),
    }
    attrs = _attributes(shape, dose, seed, phases, instrument)
    return xr.DataArray(data, coords, ("y", "x", "energy"), "counts", attrs)


def truth(
    shape: Shape = (256, 256, 2048),
    dose: float = 180.0,
    *,
    seed: int = 0,
    phases: Sequence[Phase] = PYROLITE_71GPA,
    instrument: Instrument = TEM_200_KV,
    chunks: Chunks = None,
    purity: float = 0.99,
) -> xr.Dataset:
    """Return what is true of :func:`spectrum_image` called with the same arguments.

    Lazy: all that has the size of the image.

    Parameters
    ----------
    shape, dose, seed, phases, instrument, chunks
        As in :func:`spectrum_image`.
    purity : float
        Least share of the counts in a pixel of a phase's `mask`.

    Returns
    -------
    Dataset
        ``amounts`` [phase, y, x; share of the thickness], ``expected`` [phase, y, x; mean counts],
        ``share`` [phase, y, x; of the mean counts], ``mask`` [phase, y, x; bool], ``label``
        [y, x; the phase of most counts], ``loadings`` [phase, energy; sum 1], ``atoms`` [phase,
        element; atomic fraction].
    """
    _check_dose(dose)
    spectra = _spectra(shape, phases, instrument)
    pixel = instrument.pixel_size_nm
    known = amounts(phases, shape, seed=seed, pixel_size_nm=pixel, chunks=chunks)
    brightness = xr.DataArray([dose * p.brightness for p in phases], dims="phase")
    expected = (known * brightness).astype(np.float32).assign_attrs(units="counts")
    share = (expected / expected.sum("phase")).assign_attrs(units="1", long_name="share of counts")
    label = (share.argmax("phase") + 1).astype(np.uint8)
    return spectra.assign(
        amounts=known,
        expected=expected.assign_attrs(long_name="mean counts"),
        share=share,
        mask=(share >= purity).assign_attrs(long_name=f"at least {purity:g} of the counts"),
        label=label_array(label.data, known.isel(phase=0, drop=True), [p.name for p in phases]),
    )


def amounts(
    phases: Sequence[Phase],
    shape: Sequence[int],
    *,
    seed: int = 0,
    pixel_size_nm: float = TEM_200_KV.pixel_size_nm,
    chunks: Chunks = None,
) -> xr.DataArray:
    """Return how much of the thickness each phase takes in every pixel.

    Lazy: a chunk looks only at the grains that touch it.

    Grains are ellipses at random places, flat in the middle with graded rims. Within a phase the
    thickest grain counts; where phases exceed the thickness together, they share it.

    Parameters
    ----------
    phases : sequence of Phase
        The matrix first.
    shape : sequence of int
        Pixels along y and x; more is ignored, so that an image's shape serves.
    seed : int
    pixel_size_nm : float
    chunks : int, or (chunks along y, chunks along x), optional

    Returns
    -------
    DataArray ``amounts`` [phase, y, x; share of the thickness], float32, sum 1
    """
    check_phases(phases)
    size = (*shape[:2], 1)
    _check_shape(size)
    grains = _grains(phases, size, seed, pixel_size_nm)
    rows, columns = _pixels((size[0], size[1], 2048), chunks, np.dtype(np.uint8))
    values = _per_pixel(
        amounts_block, "pyx", rows, columns, _FLOAT,
        new_axes={"p": len(phases)}, grains=grains,
    )  # fmt: skip
    coords = {"phase": [p.name for p in phases], **_grid(size, pixel_size_nm)}
    attrs = {"long_name": "share of the thickness", "units": "1"}
    return xr.DataArray(values, coords, ("phase", "y", "x"), "amounts", attrs)


def phase_spectra(
    phases: Sequence[Phase],
    energy_kev: xr.DataArray | np.ndarray,
    *,
    instrument: Instrument = TEM_200_KV,
) -> xr.Dataset:
    """Return the true spectrum and composition of each phase.

    Computes: a few hundred Gaussian peaks, integrated over each channel. Every line of every
    family of each element, as :func:`eds_xr.xray.lines.emission_per_atom` and
    :func:`eds_xr.xray.lines.detector_efficiency` have it; the bremsstrahlung of a thin foil
    (1/E, times efficiency, cut off smoothly at low energy); stray elements.

    Parameters
    ----------
    phases : sequence of Phase
    energy_kev : DataArray or ndarray [energy; keV]
        Centres of the channels, evenly spaced.
    instrument : Instrument

    Returns
    -------
    Dataset
        ``loadings`` [phase, energy; sum 1], ``atoms`` [phase, element; atomic fraction].
    """
    check_phases(phases)
    check_instrument(instrument)
    axis = _energy_axis(np.asarray(energy_kev, float))
    loadings = np.stack([phase_spectrum(p, axis.values, instrument) for p in phases])
    elements = list(dict.fromkeys(e for p in phases for e in p.atoms))
    atoms = np.array([[p.atoms.get(e, 0.0) for e in elements] for p in phases], float)
    atoms /= atoms.sum(axis=1, keepdims=True)
    return xr.Dataset(
        {
            "loadings": (("phase", "energy"), loadings, {"long_name": "spectrum", "units": "1"}),
            "atoms": (("phase", "element"), atoms, {"long_name": "atomic fraction", "units": "1"}),
        },
        {"phase": [p.name for p in phases], "energy": axis, "element": elements},
    )


def _spectra(shape: Shape, phases: Sequence[Phase], instrument: Instrument) -> xr.Dataset:
    _check_shape(shape)
    energy = instrument.energy_offset_kev + instrument.channel_kev * np.arange(shape[2])
    return phase_spectra(phases, energy, instrument=instrument)


def _grains(
    phases: Sequence[Phase], shape: Sequence[int], seed: int, pixel_size_nm: float
) -> tuple[np.ndarray, ...]:
    if seed < 0:
        raise EdsError(f"seed must be 0 or more, found {seed!r}")
    if not 0 < pixel_size_nm < math.inf:
        raise EdsError(f"pixel_size_nm must be positive, found {pixel_size_nm!r}")
    largest = max(1.0, min(shape[:2]) / 4)
    found = []
    for i, p in enumerate(phases[1:]):
        small, large = (min(largest, size / pixel_size_nm) for size in p.size_nm)
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, i)))
        found.append(
            place_grains(random, (shape[0], shape[1]), p.area_fraction, (small, large), p.depth)
        )
    return tuple(found)


def _pixels(shape: Shape, chunks: Chunks, dtype: np.dtype) -> tuple[da.Array, da.Array]:
    """Return the numbers of rows and of columns, chunked as the image is to be."""
    import dask.array as da

    wanted = chunk_shape(shape, dtype)[:2] if chunks is None else chunks
    try:
        along_y, along_x = da.core.normalize_chunks(wanted, shape[:2], dtype=dtype)
    except (ValueError, TypeError) as error:
        raise EdsError(
            f"chunks must be an integer or (chunks along y, chunks along x) of an image of "
            f"{shape[0]} x {shape[1]} pixels, found {chunks!r}"
        ) from error
    return da.arange(shape[0], chunks=(along_y,)), da.arange(shape[1], chunks=(along_x,))


def _per_pixel(
    block: Callable[..., np.ndarray],
    dims: str,
    rows: da.Array,
    columns: da.Array,
    dtype: np.dtype,
    **kwargs: Any,
) -> da.Array:
    """Apply a kernel to the absolute rows and columns of each chunk."""
    import dask.array as da

    meta: np.ndarray = np.empty((0,) * len(dims), dtype)
    # not aligned: rows and columns are different axes, and the many chunks are asked for
    return da.blockwise(
        block, dims, rows, "y", columns, "x",
        dtype=dtype, meta=meta, align_arrays=False, **kwargs,
    )  # fmt: skip


def _grid(shape: Sequence[int], pixel_size_nm: float) -> dict[str, xr.DataArray]:
    attrs = {"units": "nm", "long_name": "position"}
    return {
        dim: xr.DataArray(pixel_size_nm * np.arange(n), dims=dim, attrs=attrs)
        for dim, n in zip(("y", "x"), shape[:2], strict=True)
    }


def _energy_axis(energy_kev: np.ndarray) -> xr.DataArray:
    attrs = {"units": "keV", "long_name": "X-ray energy"}
    axis = xr.DataArray(energy_kev, {"energy": energy_kev}, ("energy",), attrs=attrs)
    axis["energy"].attrs = attrs
    check_energy(axis)
    if energy_kev.size < 2:
        raise EdsError(f"expected at least 2 channels, found {energy_kev.size}")
    return axis["energy"]


def _haadf_contrast(phase: Phase) -> float:
    """Return Z^1.7, weighted by atoms, relative to silicon."""
    import xraydb

    total = sum(phase.atoms.values())
    powers = sum(n * xraydb.atomic_number(e) ** 1.7 for e, n in phase.atoms.items())
    return float(powers / total / 14**1.7)


def _attributes(
    shape: Shape, dose: float, seed: int, phases: Sequence[Phase], instrument: Instrument
) -> dict[str, Any]:
    elements = sorted({e for p in phases for e in p.atoms} | set(instrument.stray))
    setup = {**vars(instrument), "stray": dict(instrument.stray)}
    attrs = {
        "long_name": "X-ray counts",
        "units": "counts",
        "signal_type": "EDS_TEM",
        "beam_energy_kev": instrument.beam_energy_kev,
        "energy_resolution_mnka_ev": instrument.resolution_mnka_ev,
        "elements": elements,
        "source": "simulated",
        "simulated": f"{', '.join(p.name for p in phases)}; dose {dose:g}, seed {seed}",
    }
    made = [{**vars(p), "atoms": dict(p.atoms)} for p in phases]
    given = {"shape": [int(n) for n in shape], "dose": float(dose), "seed": int(seed)}
    return with_step(attrs, "simulate", **given, phases=made, instrument=setup)


def _check_shape(shape: Sequence[int]) -> None:
    if len(shape) != 3 or any(not isinstance(n, int | np.integer) or n < 1 for n in shape):
        raise EdsError(
            f"shape must be three positive integers (pixels along y and x, channels), "
            f"found {tuple(shape)}"
        )


def _check_dose(dose: float) -> None:
    if not 0 < dose < math.inf:
        raise EdsError(f"dose must be a positive number of counts a pixel, found {dose!r}")
