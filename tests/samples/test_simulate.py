import dataclasses
import json

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import provenance, simulate
from eds_xr.samples import grains
from eds_xr.samples.phases import PYROLITE_71GPA, Instrument, Phase
from eds_xr.schema import EdsError, check_spectrum_image
from eds_xr.xray import lines as xray_lines

SMALL = (21, 150, 260)
PHASES = tuple(
    Phase(name, atoms, 0.2, (5.0, 20.0))
    for name, atoms in {
        "a": {"O": 3, "Mg": 1, "Si": 1},
        "b": {"O": 1, "Mg": 1},
        "c": {"O": 3, "Ca": 1, "Si": 1},
        "d": {"Fe": 1},
        "e": {"Al": 2, "O": 3},
        "f": {"Ti": 1, "O": 2},
    }.items()
)


@pytest.fixture(scope="module")
def small():
    return simulate.spectrum_image(SMALL, 30, seed=3).compute()


@pytest.fixture(scope="module")
def known():
    return simulate.truth((256, 256, 2048)).compute()


def splits(size):
    """Chunks along a dimension of a given size: any way of cutting it."""
    cuts = st.lists(st.integers(1, size - 1), max_size=3, unique=True)
    return cuts.map(lambda c: tuple(np.diff([0, *sorted(c), size]).tolist()))


@settings(max_examples=12)
@given(along_y=splits(SMALL[0]), along_x=splits(SMALL[1]))
def test_spectrum_image__does_not_depend_on_chunks(small, along_y, along_x):
    again = simulate.spectrum_image(SMALL, 30, seed=3, chunks=(along_y, along_x))
    assert again.data.chunks[:2] == (along_y, along_x)
    xr.testing.assert_identical(again.compute(), small)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_spectrum_image__does_not_depend_on_workers(small, scheduler):
    again = simulate.spectrum_image(SMALL, 30, seed=3, chunks=7).compute(scheduler=scheduler)
    xr.testing.assert_identical(again, small)


def test_spectrum_image__seeds(small):
    other = simulate.spectrum_image(SMALL, 30, seed=4)
    assert (other.values != small.values).any()
    rows = small.values.reshape(SMALL[0], -1)
    assert len(np.unique(rows, axis=0)) == SMALL[0]  # no stream is used twice


def test_spectrum_image__keeps_the_data_model(small):
    check_spectrum_image(small)
    assert small.name == "counts"
    assert small.dims == ("y", "x", "energy")
    assert small.haadf.dims == ("y", "x")
    assert {small[c].attrs["units"] for c in ("y", "x")} == {"nm"}
    assert small.energy.attrs["units"] == "keV"
    assert small.attrs["beam_energy_kev"] == 200
    assert {"Nd", "Cu", "Ga"} <= set(small.attrs["elements"])
    assert json.loads(json.dumps(small.attrs)) == small.attrs


def test_spectrum_image__history_replays(small):
    step = provenance.history(small)[-1]
    phases = [Phase(**p) for p in step["phases"]]
    again = simulate.spectrum_image(
        tuple(step["shape"]),
        step["dose"],
        seed=step["seed"],
        phases=phases,
        instrument=Instrument(**step["instrument"]),
    )
    np.testing.assert_array_equal(again.values, small.values)


def test_spectrum_image__computes_nothing_until_asked():
    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        image = simulate.spectrum_image((8192, 8192, 4096), chunks=256)
        known = simulate.truth((8192, 8192, 4096), chunks=256)
    assert isinstance(image.data, da.Array)
    assert isinstance(image.haadf.data, da.Array)
    assert all(isinstance(known[v].data, da.Array) for v in ("amounts", "share", "mask", "label"))


def test_spectrum_image__draws_only_the_block_asked_for(monkeypatch):
    asked = []
    kernel = simulate.counts_block

    def watch(rows, columns, **kwargs):
        asked.append((rows.size, columns.size))
        return kernel(rows, columns, **kwargs)

    monkeypatch.setattr(simulate, "counts_block", watch)
    image = simulate.spectrum_image((2048, 2048, 2048), 20, chunks=(16, 32))
    asked.clear()  # Dask may have tried the kernel on nothing
    block = image[1024:1040, 1600:1632].data.compute(scheduler="synchronous")
    assert asked == [(16, 32)]
    assert block.shape == (16, 32, 2048)


def test_spectrum_image__total_counts_follow_the_dose():
    shape, dose = (64, 64, 512), 90.0
    total = int(simulate.spectrum_image(shape, dose, seed=5).sum())
    expected = float(simulate.truth(shape, dose, seed=5).expected.sum(dtype=float))
    assert abs(total - expected) < 5 * np.sqrt(expected)
    assert 0.8 < expected / (dose * 64 * 64) < 1.1


def test_spectrum_image__pixel_counts_are_poisson():
    matrix = (PHASES[0],)
    pixels = simulate.spectrum_image((64, 64, 256), 50, phases=matrix, seed=1).sum("energy")
    fano = float(pixels.var() / pixels.mean())
    assert abs(fano - 1) < 5 * np.sqrt(2 / pixels.size)


@pytest.mark.parametrize("number", range(1, 7))
def test_spectrum_image__sums_follow_the_truth(number):
    shape, dose = (32, 32, 1024), 200.0
    phases = PHASES[:number]
    image = simulate.spectrum_image(shape, dose, phases=phases, seed=number).compute()
    known = simulate.truth(shape, dose, phases=phases, seed=number).compute()
    for label in np.unique(known.label):
        here = known.label == label
        found = image.where(here, 0).sum(("y", "x")).values.astype(float)
        expected = known.expected.where(here, 0).sum(("y", "x"), dtype=float) @ known.loadings
        assert_poisson(found, expected.values)


def assert_poisson(found, expected):
    """Chi-squared of channels, pooled until each holds 25 counts, within 5 sigma of its mean."""
    pools = np.cumsum(expected) // 25
    _, start = np.unique(pools, return_index=True)
    f, e = np.add.reduceat(found, start), np.add.reduceat(expected, start)
    f, e = f[e >= 10], e[e >= 10]
    chi2 = ((f - e) ** 2 / e).sum()
    assert abs(chi2 - f.size) < 5 * np.sqrt(2 * f.size + np.sum(1 / np.maximum(e, 1)))


def test_spectrum_image__stores_every_count():
    low = simulate.spectrum_image((4, 4, 1024), 100)
    high = simulate.spectrum_image((4, 4, 1024), 40_000)
    extreme = simulate.spectrum_image((1, 2, 1024), 5_000_000)
    assert (low.dtype, high.dtype, extreme.dtype) == (np.uint8, np.uint16, np.uint32)
    assert int(high.max()) > 255
    assert int(high.sum()) == pytest.approx(40_000 * 16, rel=0.02)


def test_spectrum_image__haadf_is_brighter_where_atoms_are_heavier(known):
    haadf = simulate.spectrum_image().haadf.compute()
    share = known.amounts
    assert haadf.where(share.sel(phase="Ca-Pv") > 0.4).mean() > 1.05 * haadf.median()
    noise = haadf.where(share.sel(phase="Brg") == 1)
    assert float(noise.std() / noise.mean()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("shape", "kwargs", "message"),
    [
        ((8, 8), {}, r"shape must be three positive integers .* found \(8, 8\)"),
        ((8, 0, 256), {}, r"shape must be three positive integers"),
        ((8, 8.0, 256), {}, r"shape must be three positive integers"),
        ((8, 8, 256), {"dose": 0}, "dose must be a positive number of counts a pixel, found 0"),
        ((8, 8, 256), {"dose": np.nan}, "dose must be a positive number"),
        ((8, 8, 256), {"seed": -1}, "seed must be 0 or more, found -1"),
        ((8, 8, 256), {"chunks": (5, 5, 5)}, "chunks must be an integer or"),
        ((8, 8, 256), {"chunks": ((3, 3), 8)}, "chunks must be an integer or"),
        ((8, 8, 256), {"phases": ()}, "expected at least one phase, the matrix; found none"),
        ((8, 8, 256), {"phases": (PHASES[0],) * 2}, "phases need different names"),
        ((8, 8, 25), {}, "no channel above 0.1 keV"),
        ((8, 8, 1), {}, "at least 2 channels, found 1"),
    ],
)
def test_spectrum_image__errors_name_the_cure(shape, kwargs, message):
    with pytest.raises(EdsError, match=message):
        simulate.spectrum_image(shape, **kwargs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atoms": {"Xx": 1}}, "no chemical element 'Xx'"),
        ({"atoms": {}}, "phase 'b' needs amounts of atoms"),
        ({"atoms": {"O": -1, "Mg": 2}}, "phase 'b' needs amounts of atoms"),
        ({"atoms": {"H": 1}}, r"H \(in phase 'b'\) gives no X-rays between"),
        ({"size_nm": (5, 2)}, "phase 'b': size_nm must be"),
        ({"area_fraction": 1.0}, "phase 'b': area_fraction must lie between"),
        ({"depth": 0.0}, "phase 'b': area_fraction must lie between 0 and 1 and depth too"),
        ({"brightness": 0.0}, "phase 'b': brightness must be positive"),
    ],
)
def test_spectrum_image__bad_phases(change, message):
    phases = (PHASES[0], dataclasses.replace(PHASES[1], **change))
    with pytest.raises(EdsError, match=message):
        simulate.spectrum_image((8, 8, 512), phases=phases)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"background": 1.0}, "background must be in 0 <= share < 1"),
        ({"stray": {"Cu": 0.6, "Ga": 0.5}}, "stray shares must add up to less than 1"),
        ({"stray": {"Zz": 0.1}}, "no chemical element 'Zz'"),
        ({"channel_kev": 0.0}, "channel_kev must be positive"),
        ({"pixel_size_nm": 0.0}, "pixel_size_nm must be positive"),
        ({"beam_energy_kev": -200.0}, "beam_energy_kev must be positive"),
        ({"resolution_mnka_ev": 1.0}, "below the limit of silicon"),
    ],
)
def test_spectrum_image__bad_instruments(change, message):
    with pytest.raises(EdsError, match=message):
        simulate.spectrum_image((8, 8, 512), instrument=Instrument(**change))


@settings(max_examples=15)
@given(
    number=st.integers(1, 6), seed=st.integers(0, 10**6), chunks=st.integers(3, 40), size=splits(60)
)
def test_amounts__add_up_to_one(number, seed, chunks, size):
    shape = (30, sum(size))
    found = simulate.amounts(PHASES[:number], shape, seed=seed, chunks=(chunks, size))
    assert found.shape == (number, *shape)
    assert found.dtype == np.float32
    assert float(found.min()) >= 0
    np.testing.assert_allclose(found.sum("phase"), 1, rtol=1e-6)
    whole = simulate.amounts(PHASES[:number], shape, seed=seed)
    xr.testing.assert_identical(found.compute(), whole.compute())


def test_amounts__of_the_pyrolite(known):
    matrix, fp, ca = known.amounts
    assert 0.5 < float((matrix == 1).mean()) < 0.9
    assert float(((matrix > 0.02) & (fp > 0.02) & (ca > 0.02)).mean()) > 0.001  # all three
    assert fp.max() <= 0.8  # no grain is pure
    assert ca.max() <= 0.5
    assert 0.05 < float((fp < 0.9 * fp.max()).where(fp > 0).mean()) < 1  # graded rims


def test_amounts__trace_phase_covers_what_was_asked():
    trace = dataclasses.replace(PHASES[1], area_fraction=0.01, size_nm=(4.0, 8.0))
    covered = [
        float((simulate.amounts((PHASES[0], trace), (256, 256), seed=s)[1] > 0).mean())
        for s in range(8)
    ]
    assert np.mean(covered) == pytest.approx(0.01, rel=0.15)


def test_amounts__a_far_tile_looks_at_few_grains(monkeypatch):
    laid = []
    monkeypatch.setattr(grains, "_lay_grain", lambda *args: laid.append(args))
    tile = simulate.amounts(PHASES[:2], (3000, 3000), chunks=50)[:, 2500:2550, :50]
    laid.clear()
    tile.compute(scheduler="synchronous")
    assert 0 < len(laid) < 50


def test_truth__agrees_with_itself(known):
    np.testing.assert_allclose(known.loadings.sum("energy"), 1)
    np.testing.assert_allclose(known.atoms.sum("element"), 1)
    np.testing.assert_allclose(known.share.sum("phase"), 1, rtol=1e-5)
    np.testing.assert_array_equal(known.mask, known.share >= 0.99)
    assert not known.mask.sel(phase=["Fp", "Ca-Pv"]).any()
    assert known.label.attrs["flag_meanings"] == "none Brg Fp Ca-Pv"
    np.testing.assert_array_equal(known.label == 1, known.share.argmax("phase") == 0)


def test_truth__counts_share_follows_brightness():
    bright = dataclasses.replace(PHASES[1], brightness=2.0)
    known = simulate.truth((40, 40, 512), phases=(PHASES[0], bright)).compute()
    a, b = known.amounts
    np.testing.assert_allclose(known.share[1], 2 * b / (a + 2 * b), rtol=1e-5)


def test_truth__fits_the_subtraction(known):
    # what is pinned in a subtraction, and what must vanish after it
    atoms = known.atoms.to_series()
    assert atoms["Fp"][["Si", "Al", "Ca", "Nd", "Sm"]].sum() == 0
    assert atoms["Ca-Pv"][["Mg", "Hf"]].sum() == 0
    brg = atoms["Brg"]
    assert brg["Nd"] < brg["Sm"] < brg["Lu"] < brg["Hf"]


def spectrum(atoms, **instrument):
    """Return one phase's spectrum, with neither background nor stray lines."""
    setup = Instrument(background=0.0, stray={}, **instrument)
    energy = -0.2 + 0.01 * np.arange(2048)
    return simulate.phase_spectra((Phase("p", atoms),), energy, instrument=setup).loadings[0]


@pytest.mark.parametrize("name", ["O_Ka", "Mg_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka", "Nd_La", "Lu_La"])
def test_phase_spectra__peaks_lie_at_their_energies(name):
    energy = xray_lines.line_energy_kev(name)
    sigma = float(xray_lines.peak_sigma_kev(energy))
    peak = spectrum({name.split("_")[0]: 1}).sel(energy=slice(energy - sigma, energy + sigma))
    assert float(peak.energy[peak.argmax("energy")]) == pytest.approx(energy, abs=0.012)


def test_phase_spectra__peaks_have_the_detectors_width():
    peak = spectrum({"Ca": 1}).sel(energy=slice(3.48, 3.86))
    mean = float((peak * peak.energy).sum() / peak.sum())
    variance = float((peak * (peak.energy - mean) ** 2).sum() / peak.sum())
    sigma = float(xray_lines.peak_sigma_kev(3.69))
    assert variance == pytest.approx(sigma**2 + 0.01**2 / 12, rel=0.02)  # and the channel's


def test_phase_spectra__line_ratios_are_those_of_the_tables():
    peaks = spectrum({"Ca": 1, "Si": 2})
    calcium = float(peaks.sel(energy=slice(3.4, 4.4)).sum())
    silicon = float(peaks.sel(energy=slice(1.5, 2.1)).sum())

    def counts(*names):
        efficiency = [xray_lines.detector_efficiency(xray_lines.line_energy_kev(n)) for n in names]
        photons = [xray_lines.emission_per_atom(n, 200.0) for n in names]
        return float(np.dot(efficiency, photons))

    expected = counts("Ca_Ka", "Ca_Kb") / (2 * counts("Si_Ka", "Si_Kb"))
    assert calcium / silicon == pytest.approx(expected, rel=1e-3)


def test_phase_spectra__background_and_stray():
    energy = -0.2 + 0.01 * np.arange(2048)
    setup = Instrument(background=0.2, stray={"Cu": 0.1})
    found = simulate.phase_spectra(PHASES, energy, instrument=setup).loadings
    copper = found.sel(energy=slice(7.8, 8.3)).sum("energy")
    assert (copper > 0.02).all()
    assert (found.sel(energy=slice(12, 15)) > 0).all()  # nothing but background there
    assert float(found.sel(energy=slice(None, 0.05)).sum()) < 1e-3  # cut off
    without = simulate.phase_spectra(PHASES, energy, instrument=Instrument(stray={}, background=0))
    assert (without.loadings.sel(energy=slice(12, 15)) < 1e-12).all()


def test_phase_spectra__refuses_a_bent_axis():
    with pytest.raises(EdsError, match="energy axis must be linear"):
        simulate.phase_spectra(PHASES, np.geomspace(0.1, 20, 512))


def test_without__leaves_no_trace():
    bare = simulate.without(PYROLITE_71GPA, "Nd", "Sm", "Lu", "Hf", "U")
    image = simulate.spectrum_image((8, 8, 2048), phases=bare)
    assert not {"Nd", "Sm", "Lu", "Hf", "U"} & set(image.attrs["elements"])
    assert [p.name for p in bare] == ["Brg", "Fp", "Ca-Pv"]
    assert bare[0].atoms["Si"] == PYROLITE_71GPA[0].atoms["Si"]
