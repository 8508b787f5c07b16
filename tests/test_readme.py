"""What README shows works as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from eds_xr import convert, open, simulate

ROOT = Path(__file__).parents[1]


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Run README's example on a file, or from `open` on, on a store; return what it makes."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "eds_xr.convert" in block)

    def run(source):
        made = {}
        name = repr(str(source))
        if source.suffix == ".zarr":
            text, found = re.subn(r'eds_xr\.convert\("map\.emd"\)', name, code)
        else:
            text, found = re.subn(r'"map\.emd"', f'{name}, "map.zarr"', code)
        assert found == 1
        exec(text, made)
        return made

    return run


def _check(made):
    composition, present = made["composition"], made["phases"].present
    assert set(composition.element.values) == {"Mg", "Si", "Ca", "Fe"}
    np.testing.assert_allclose(composition.atomic_fraction.sum("element"), 1)
    assert "atomic_fraction" in Path("phases.csv").read_text()
    # every phase named has pixels, every pixel with counts a phase
    assert present.any(("y", "x")).all()
    counted = made["choose"].sum("energy").compute() > 0
    assert counted.mean() > 0.9
    assert present.any("phase").where(counted, True).all()
    np.testing.assert_array_equal(made["spectra"].n_pixels, present.sum(("y", "x")))
    total, chosen, measured = (
        made[name].sum(("y", "x"), dtype=np.int64).compute()
        for name in ("image", "choose", "measure")
    )
    # sums are those of the half that did not choose the pixels
    for name in present.phase.values:
        own = made["measure"].where(present.sel(phase=name), 0).sum(("y", "x"), dtype=np.int64)
        np.testing.assert_array_equal(made["spectra"].counts.sel(phase=name), own)
    np.testing.assert_array_equal(chosen + measured, total)
    assert 0.4 < float(measured.sum() / total.sum()) < 0.6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_readme__its_example_runs_on_chunks_beside_an_image_in_one(chain, tmp_path):
    image = simulate.spectrum_image((96, 90, 1024), 200.0, seed=2)
    store = image.eds.save(tmp_path / "simulated.zarr")
    opened = open(store)
    assert opened.data.numblocks[:2] != opened.haadf.data.numblocks
    _check(chain(store))


@pytest.mark.slow
@pytest.mark.vendor
@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
# the smaller phase has too few counts to find the axis by itself, and is said to
@pytest.mark.filterwarnings("ignore::eds_xr.spectra.identification.identify.AxisWarning")
def test_readme__its_example_runs_on_a_bruker_map(chain, vendor_file):
    _check(chain(vendor_file("test_TEM.bcf")))


@pytest.mark.slow
@pytest.mark.vendor
@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_readme__its_example_runs_on_a_part_of_a_rock(chain, vendor_file, tmp_path):
    rock = vendor_file("P45_12bit_packed_8bit_compressed.bcf")
    whole = open(convert(rock, tmp_path / "whole.zarr"))
    part = whole.isel(y=slice(28), x=slice(32)).eds.rebin(energy=4)
    # recorded in an SEM, which has no thin film: as if it were one
    part = part.assign_attrs(signal_type="EDS_TEM", beam_energy_kev=200.0)
    _check(chain(part.eds.save(tmp_path / "part.zarr")))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_readme__its_example_runs_on_the_published_map(chain, published_71gpa, tmp_path):
    whole = open(published_71gpa)
    # a part, in channels of 40 eV: all of it takes most of a minute, half of that in `identify`
    part = whole.isel(y=slice(64), x=slice(60)).eds.rebin(energy=4)
    _check(chain(part.eds.save(tmp_path / "part.zarr")))


@pytest.mark.slow
def test_readme__its_example_runs_on_the_sample_of_the_repository(chain):
    # the example fits four elements, and the sample holds more
    with pytest.warns(match="is not accounted for"):
        made = chain(ROOT / "data" / "assemblage.zarr")
    _check(made)


def test_readme__pictures_and_notebook_are_there():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"\((notebooks/[^)]+)\)", text):
        assert (ROOT / name).exists(), name
