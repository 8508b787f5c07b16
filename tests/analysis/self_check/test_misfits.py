"""Tests of an image: each misfit is flagged by its own test, a clean image by none."""

import dask
import numpy as np
import pytest
import xarray as xr
from support.independent.grains import Grain, lengths_nm, phases_of
from support.independent.images import image_of_lengths
from support.independent.materials import by_name

from eds_xr.analysis.self_check.misfits import misfits

SHAPE = (64, 64)
ELEMENTS, STRAY = ["Al", "Mg", "O", "Ti"], ["Cu", "C"]


def _image(thickness: np.ndarray | float = 1.0) -> tuple[xr.DataArray, xr.DataArray]:
    """Return an image of rutile in spinel, and where each is alone."""
    spinel, rutile = by_name("spinel"), by_name("rutile")
    grains = [Grain(rutile, (0.5, 0.3), (0.25, 0.25)), Grain(rutile, (0.3, 0.8), (0.12, 0.12))]
    phases = phases_of(spinel, grains)
    length, _ = lengths_nm(phases, grains, SHAPE, 100.0, 0.0, False)
    image, truth = image_of_lengths(phases, length * thickness, 250.0, seed=3)
    return image, truth.share > 0.98


@pytest.fixture(scope="module")
def clean() -> tuple[xr.DataArray, xr.DataArray]:
    return _image()


def _tested(image: xr.DataArray, pure: xr.DataArray, elements: list[str] = ELEMENTS) -> xr.Dataset:
    total = image.sum(image.dims[:-1]).astype(float).compute()
    whole = xr.Dataset({"counts": total, "variance": total}, attrs=image.attrs)
    return misfits(image, pure, whole, elements, stray=STRAY)


def _flagged(found: xr.Dataset) -> list[str]:
    return found.test.values[found.flagged.values].tolist()


def test_misfits__of_a_clean_image_are_none(clean: tuple[xr.DataArray, xr.DataArray]) -> None:
    found = _tested(*clean)
    assert _flagged(found) == []
    assert np.isfinite(found.chance).all()
    assert float(found["size"].sel(test="variance of channels")) == pytest.approx(1.0, abs=0.05)


def test_misfits__a_drift_of_the_gain(clean: tuple[xr.DataArray, xr.DataArray]) -> None:
    image, pure = clean
    energy, moved = image.energy.values, image.values.copy()
    for row, counts in enumerate(moved):  # whole counts move, by chance to either channel
        random = np.random.default_rng(row)
        _, channel = (np.repeat(p, counts[counts > 0]) for p in np.nonzero(counts))
        pixel = np.repeat(np.nonzero(counts)[0], counts[counts > 0])
        read = energy[channel] * (1 + 0.005 * row / (SHAPE[0] - 1))
        at = np.rint((read - energy[0]) / 0.01 + random.uniform(-0.5, 0.5, read.size)).astype(int)
        counts[:] = 0
        np.add.at(counts, (pixel, at.clip(0, energy.size - 1)), 1)
    found = _tested(image.copy(data=moved), pure)
    assert _flagged(found) == ["gain along y"]
    one = found.sel(test="gain along y")
    assert abs(float(one["size"]) - 0.5) < 4 * float(one.size_sd) + 0.05
    assert "from top to bottom" in str(one.text.values)


def test_misfits__counts_that_come_twice(clean: tuple[xr.DataArray, xr.DataArray]) -> None:
    image, pure = clean
    twice = np.random.default_rng(0).binomial(image.values, 0.3 / 1.7)
    found = _tested(image.copy(data=image.values + twice.astype(np.uint16)), pure)
    assert set(_flagged(found)) >= {"variance of channels", "variance of totals"}
    size = float(found["size"].sel(test="variance of channels"))
    assert size == pytest.approx(1.3, abs=0.05)


def test_misfits__an_element_that_nobody_named(clean: tuple[xr.DataArray, xr.DataArray]) -> None:
    found = _tested(*clean, elements=["Al", "Mg", "O"])
    assert "missing element" in _flagged(found)
    assert "4.5" in str(found.text.sel(test="missing element").values)  # keV, of Ti


def test_misfits__peaks_wider_than_the_file_says(
    clean: tuple[xr.DataArray, xr.DataArray],
) -> None:
    image, pure = clean
    found = _tested(image.assign_attrs(energy_resolution_mnka_ev=120.0), pure)
    assert _flagged(found) == ["peak width"]
    assert float(found["size"].sel(test="peak width")) == pytest.approx(100 / 12, abs=1.5)
    bare = image.copy()
    del bare.attrs["energy_resolution_mnka_ev"]
    one = _tested(bare, pure).sel(test="peak width")
    assert np.isnan(one.chance)
    assert "does not state" in str(one.text.values)


def test_misfits__a_foil_that_varies() -> None:
    place = np.arange(SHAPE[1]) / 8
    thick = 1 + 0.4 * np.sin(place)[None] * np.cos(place)[:, None]
    found = _tested(*_image(thick))
    assert _flagged(found) == ["thickness"]
    true = float(thick.std() / thick.mean())
    assert float(found["size"].sel(test="thickness")) == pytest.approx(100 * true, rel=0.35)


def test_misfits__do_not_depend_on_chunks(clean: tuple[xr.DataArray, xr.DataArray]) -> None:
    image, pure = clean
    found = _tested(image, pure)
    for chunks in ({"y": 17, "x": 64}, {"y": (10, 54), "x": (31, 2, 31)}):
        with dask.config.set(scheduler="synchronous"):
            other = _tested(image.chunk(chunks), pure)
        xr.testing.assert_identical(found, other)


def test_misfits__of_a_line_scan_and_of_phases_nowhere_pure(
    clean: tuple[xr.DataArray, xr.DataArray],
) -> None:
    image, pure = clean
    row = image.isel(y=slice(0, 4)).stack(place=("y", "x")).reset_index("place", drop=True)
    row = row.transpose("place", "energy").rename(place="x").drop_vars("y", errors="ignore")
    alone = xr.DataArray(np.ones((1, row.sizes["x"]), bool), {"phase": ["all"]}, ("phase", "x"))
    assert "gain along x" in _tested(row, alone).test.values
    nowhere = _tested(image, xr.zeros_like(pure))
    assert np.isnan(nowhere.chance.sel(test=["thickness", "variance of channels"])).all()
    assert _flagged(nowhere) == []
