"""A hole in an analysis: subtracted from all that is measured, kept with the result, replayed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr import EdsError, Recipe, simulate
from eds_xr.analysis import files
from eds_xr.analysis.analyse import analysed
from eds_xr.analysis.recipe import ElementChoice, InstrumentChoice, read_recipe
from eds_xr.analysis.replay import replay

#: Counts a pixel that come from the grid, wherever the beam is.
GRID_RATE = 30.0
SECONDS = 0.02


def grid_counts(like: xr.DataArray, shape: tuple[int, int], seed: int) -> np.ndarray:
    copper = simulate.phase_spectra((simulate.Phase("grid", {"Cu": 1}),), like.energy.values)
    mean = GRID_RATE * copper.loadings.isel(phase=0).values
    return np.random.default_rng(seed).poisson(mean, (*shape, mean.size)).astype(np.uint16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.DataArray, xr.DataArray, Path]:
    """Return a sample alone, on a grid of copper, and the store of what was recorded in a hole."""
    sample = simulate.spectrum_image((32, 32, 1024), 400.0, seed=0).compute()
    sample = sample.drop_vars("haadf").assign_attrs(pixel_live_time_s=SECONDS)
    both = sample.copy(data=(sample.values + grid_counts(sample, (32, 32), 1)).astype(np.uint16))
    hole = xr.DataArray(
        grid_counts(sample, (20, 20), 2),
        {"y": np.arange(20.0), "x": np.arange(20.0), "energy": sample.energy},
        ("y", "x", "energy"), attrs=sample.attrs,
    )  # fmt: skip
    for dim in ("y", "x"):
        hole[dim].attrs = sample[dim].attrs
    store = tmp_path_factory.mktemp("hole") / "hole.zarr"
    eds_xr.save(hole, store)
    return sample, both, store


@pytest.fixture(scope="module")
def analysed_file(
    recorded: tuple[xr.DataArray, xr.DataArray, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of the analysis of what lies on the grid, less the hole."""
    _, both, store = recorded
    folder = tmp_path_factory.mktemp("analysed")
    eds_xr.save(both, folder / "map.zarr")
    return files.analyse_file(folder / "map.zarr", folder / "out", recipe=recipe_of(store))


def recipe_of(store: Path | None, scale: str | None = None) -> Recipe:
    elements = ElementChoice(sample=("Mg", "Al", "Si", "Ca", "Fe", "Cu"), stray=())
    instrument = InstrumentChoice(
        hole=None if store is None else str(store), hole_scale=scale
    )  # fmt: skip
    return Recipe(elements=elements, number=3, instrument=instrument)


def _copper_to_silicon(lines: xr.Dataset) -> tuple[float, float]:
    """Return net counts of Cu over those of Si, where Si is strongest, and their error."""
    phase = lines.net.sel(line="Si_Ka", drop=True).idxmax("phase").item()
    one = lines.sel(phase=phase)
    silicon = float(one.net.sel(line="Si_Ka"))
    copper = one.sel(line="Cu_Ka")
    return float(copper.net) / silicon, float(copper.variance) ** 0.5 / silicon


@pytest.mark.slow
def test_analyse__copper_of_the_grid_is_gone(
    recorded: tuple[xr.DataArray, xr.DataArray, Path], analysed_file: Path
) -> None:
    sample, both, _ = recorded
    alone = analysed(sample, recipe_of(None))
    less = files.open_analysis(analysed_file).load()
    spectra = less["spectra"].to_dataset()
    np.testing.assert_allclose(spectra.hole_scale, spectra.n_pixels / 400)
    grid = analysed(both, recipe_of(None))
    for group in ("lines", "refined_lines"):
        (cu, sd), (true, true_sd), (wrong, _) = (
            _copper_to_silicon(tree[group].to_dataset()) for tree in (less, alone, grid)
        )
        assert abs(cu - true) < 4 * np.hypot(sd, true_sd), group
        assert wrong - true > 10 * sd, group
    assert "hole" in less["lines"].effect.values
    step = next(s for s in eds_xr.history(less["lines"]) if s["step"] == "subtract_hole")
    assert step["scale"] == "dose"


@pytest.mark.slow
def test_analyse_file__keeps_the_hole_and_replays_with_it(
    recorded: tuple[xr.DataArray, xr.DataArray, Path], analysed_file: Path
) -> None:
    folder, store = analysed_file, recorded[2]
    kept = eds_xr.open(folder / files.HOLE)
    assert int(kept.sum()) == int(eds_xr.open(store).sum())
    assert float(kept.attrs["pixel_live_time_s"]) == pytest.approx(400 * SECONDS)
    assert read_recipe(folder / files.RECIPE).instrument.hole == str(folder / files.HOLE)
    done = {r.step: r.difference for r in replay(folder)}
    assert done["lines"] == ""
    assert done["composition"] == ""


def test_analyse__what_cannot_be_subtracted_is_refused_before_the_work(
    recorded: tuple[xr.DataArray, xr.DataArray, Path], tmp_path: Path
) -> None:
    _, both, store = recorded
    blind = both.copy()
    del blind.attrs["pixel_live_time_s"]
    with pytest.raises(EdsError, match="no live time is known of the spectra"):
        eds_xr.analyse(blind, recipe_of(store), say=pytest.fail)
    with pytest.raises(EdsError):
        eds_xr.analyse(both, recipe_of(tmp_path / "none.zarr"), say=pytest.fail)
    other = eds_xr.open(store).assign_attrs(beam_energy_kev=80.0)
    eds_xr.save(other, tmp_path / "other.zarr")
    wrong = replace(
        recipe_of(store), instrument=InstrumentChoice(hole=str(tmp_path / "other.zarr"))
    )
    with pytest.raises(EdsError, match="at 200 keV, the hole at 80 keV"):
        eds_xr.analyse(both, wrong, say=pytest.fail)
