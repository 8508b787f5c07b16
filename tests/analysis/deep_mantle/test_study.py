"""The whole study: on simulations with a known truth, and on the published map."""

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr import simulate, store
from eds_xr.analysis.deep_mantle import results, steps, study
from eds_xr.schema import EdsError
from eds_xr.spectra.subtraction import subtract_phase
from eds_xr.spectra.sums import sum_spectra


def angle(found, true):
    """Return the angle between two spectra in degrees."""
    cosine = np.dot(found, true) / np.linalg.norm(found) / np.linalg.norm(true)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


SIMULATIONS = {  # shape, dose, seed: none of them is one that anything was tuned on
    "as the real one": ((200, 200, 1300), 180.0, 11),
    "half the dose": ((200, 200, 1300), 90.0, 12),
    "twice the dose": ((160, 160, 1300), 360.0, 13),
}


@pytest.fixture(scope="module", params=SIMULATIONS)
def simulated(request):
    shape, dose, seed = SIMULATIONS[request.param]
    image = simulate.spectrum_image(shape, dose, seed=seed).persist()
    return study.run(image, seed=seed), simulate.truth(shape, dose, seed=seed)


@pytest.fixture(scope="module")
def published(sample, tmp_path_factory):
    path = store.convert(sample("71GPa"), tmp_path_factory.mktemp("71GPa") / "71GPa.zarr")
    return study.run(store.open(path))


def test_run__pure_spectra_near_the_truth(simulated):
    found, truth = simulated
    limits = {"Brg": 0.5, "Fp": 1.5, "Ca-Pv": 8.0}
    for phase, limit in limits.items():
        true = truth.loadings.sel(phase=phase).values
        assert angle(found.pure.counts.sel(phase=phase).values, true) < limit, phase


def test_run__matrix_mask_is_pure(simulated):
    found, truth = simulated
    mask = found.masks.sel(phase="Brg").values
    pure = (truth.amounts.sel(phase="Brg") > 0.99).values
    assert pure[mask].mean() > 0.95
    assert mask.sum() > 0.3 * pure.sum()


def test_run__scale_factor_near_the_truth(simulated):
    """A pixel of the mixture holds, on average, this share of the matrix of a pure pixel."""
    found, truth = simulated
    amounts = truth.amounts.sel(phase="Brg", drop=True)
    pure = float(amounts.where(found.masks.sel(phase="Brg")).mean())
    for grain in steps.GRAINS:
        true = float(amounts.where(found.masks.sel(phase=f"{grain}+Brg")).mean()) / pure
        assert float(found.pure.scale.sel(phase=grain)) == pytest.approx(true, abs=0.01)


def test_run__masks_are_disjoint(simulated):
    found, _ = simulated
    masks = {str(m.phase.values): m.values for m in found.masks}
    both = masks["Fp"] & masks["Ca-Pv"]
    np.testing.assert_array_equal(masks["intersection"], both)
    for mixture in ("Fp+Brg", "Ca-Pv+Brg"):
        assert not (masks["intersection"] & masks[mixture]).any()
        assert not (masks["Brg"] & masks[mixture]).any()


def test_run__whole_map_is_the_sum_of_its_parts(simulated):
    found, _ = simulated
    brg = found.masks.sel(phase="Brg", drop=True)
    halves = xr.concat([brg, ~brg], dim=xr.DataArray(["in", "out"], dims="phase", name="phase"))
    parts = sum_spectra(found.image, halves).counts.compute()
    np.testing.assert_array_equal(parts.sum("phase"), found.image.sum(("y", "x")).compute())


def test_run__says_so_at_a_sixteenth_of_the_dose():
    image = simulate.spectrum_image((160, 160, 1300), 180.0 / 16, seed=11).persist()
    found = study.run(image, seed=11)
    assert [w for w in found.warnings if "do not report its composition" in w]


def test_run__refuses_two_phases():
    phases = [p for p in simulate.PYROLITE_71GPA if p.name != "Ca-Pv"]
    image = simulate.spectrum_image((96, 96, 1300), 180.0, seed=4, phases=phases).persist()
    with pytest.raises(EdsError, match="only 2 of 3 components stand out"):
        study.run(image)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of a simulated image, and what the study finds in it."""
    made = simulate.spectrum_image((96, 96, 1300), 180.0, seed=5, chunks=(32, 48))
    image = store.open(store.save(made, tmp_path_factory.mktemp("stored") / "made.zarr"))
    return image, study.run(image, seed=1)


def test_run__seed_repeats_it(stored):
    image, first = stored
    second = study.run(image, seed=1)
    xr.testing.assert_identical(first.masks, second.masks)
    xr.testing.assert_identical(first.composition, second.composition)


def test_run__cluster_of_two_processes_gives_the_local_result(stored, workers):
    from distributed import Client

    image, local = stored
    with Client(workers):
        remote = study.run(image, seed=1)
    # relative to the peaks: between them, loadings are small differences of large ones
    peaks = float(local.rotated.loadings.max())
    np.testing.assert_allclose(
        remote.rotated.loadings, local.rotated.loadings, rtol=1e-5, atol=1e-5 * peaks
    )
    xr.testing.assert_equal(remote.masks, local.masks)
    xr.testing.assert_equal(remote.spectra.counts, local.spectra.counts)
    xr.testing.assert_allclose(
        remote.composition.atomic_fraction, local.composition.atomic_fraction
    )


# -- the published map ---------------------------------------------------------------------------


@pytest.mark.network
def test_published__nmf_maps_and_rotation(published):
    numbers = results.results(published, name="71GPa", sha256="")
    assert numbers["rank"]["suggested"] == 3
    assert numbers["rank"]["eigenvalues"][2] > 10 * numbers["rank"]["eigenvalues"][3]
    assert numbers["nmf"]["map_correlation"]["Ca-Pv"] >= 0.98
    assert numbers["nmf"]["map_correlation"]["Fp"] >= 0.97
    assert numbers["nmf"]["rotation_residual"] < 1e-6
    loading, mask = numbers["nmf"]["brg_loading_mg_si"], numbers["nmf"]["brg_mask_mg_si"]
    assert loading == pytest.approx(mask, rel=0.15)


@pytest.mark.network
def test_published__traces_in_the_matrix_rise_with_size_of_the_site(published):
    values = published.composition.atomic_fraction.sel(phase="Brg")
    nd, sm, lu, hf = (float(values.sel(element=e)) for e in ("Nd", "Sm", "Lu", "Hf"))
    assert 0 < nd < sm < lu < hf


@pytest.mark.network
def test_published__mask_lifts_traces_out_of_the_noise(published):
    numbers = results.results(published, name="71GPa", sha256="")
    for line in ("Nd_La", "Sm_La"):
        assert numbers["snr"][line]["gain"] >= 3.5
    # noise per pixel falls as the root of the number of pixels
    regions, pixels = published.regions, published.spectra.n_pixels
    for line in ("Nd_La", "Sm_La"):
        own = regions.effect_covariance.sel(effect="counting", line=line, line_other=line)
        sd = own**0.5 / pixels.sel(phase=["Brg", "rectangle"])
        ratio = float(sd.sel(phase="rectangle") / sd.sel(phase="Brg"))
        root = float((pixels.sel(phase="Brg") / pixels.sel(phase="rectangle")) ** 0.5)
        assert ratio == pytest.approx(root, rel=0.05)


@pytest.mark.network
def test_published__pure_ferropericlase(published):
    numbers = results.results(published, name="71GPa", sha256="")
    assert 0 < numbers["subtraction"]["Fp"]["scale"] < 1
    for line in ("Al_Ka", "Ca_Ka"):
        net, sd = numbers["net_counts"]["Fp"][line]
        assert abs(net) < 3 * sd, line


@pytest.mark.network
def test_published__pure_perovskite(published):
    numbers = results.results(published, name="71GPa", sha256="")
    counts, atoms = numbers["net_counts"]["Ca-Pv"], numbers["atoms"]["Ca-Pv"]
    assert 0 < numbers["subtraction"]["Ca-Pv"]["scale"] < 1
    assert counts["Si_Ka"][0] > 5 * counts["Si_Ka"][1]
    assert 0.9 < atoms["Ca"][0] / atoms["Si"][0] < 1.3
    assert abs(counts["Hf_La"][0]) < 3 * counts["Hf_La"][1]
    for line in ("Nd_La", "Sm_La"):
        limit = float(published.lines.detection_limit.sel(phase="Ca-Pv", line=line))
        assert counts[line][0] > 5 * limit


@pytest.mark.network
def test_published__no_channel_far_below_zero(published):
    pure = published.pure.sel(phase=list(steps.GRAINS))
    deviation = pure.counts / np.sqrt(np.maximum(pure.variance, 1))
    assert float(deviation.min()) > -5
    assert not [w for w in published.warnings if "negative counts" in w]


@pytest.mark.network
def test_published__whole_map_ratios_are_the_weighted_sum(published):
    """Net counts of the whole map equal those of the mask plus those of the rest."""
    brg = published.masks.sel(phase="Brg", drop=True)
    names = xr.DataArray(["in", "out", "all"], dims="phase", name="phase")
    masks = xr.concat([brg, ~brg, xr.ones_like(brg)], dim=names)
    spectra = sum_spectra(published.image, masks).compute()
    calibration = eds_xr.calibrate(spectra.sel(phase=["all"]), [*steps.ELEMENTS, *steps.STRAY])
    lines = eds_xr.fit_lines(spectra, steps.ELEMENTS, stray=steps.STRAY, calibration=calibration)
    parts = lines.net.sel(phase="in") + lines.net.sel(phase="out")
    assert (
        abs(parts - lines.net.sel(phase="all")) < 3 * lines.variance.sel(phase="all") ** 0.5
    ).all()


@pytest.mark.network
def test_published__halves_agree_on_the_traces(published):
    """Chosen on one half of the counts, quantified on the other, and the other way round."""
    first, second = published.image.eds.split_counts(seed=1)
    found = [_traces(a, b, i) for i, (a, b) in enumerate(((first, second), (second, first)))]
    for element in ("Nd", "Sm", "Lu", "Hf"):
        (a, va), (b, vb) = (
            (float(r.ratio), float(r.variance)) for r in (c[element] for c in found)
        )
        assert abs(a - b) < 2 * (va + vb) ** 0.5, element


def _traces(choosing, quantified, seed):
    rotated = steps.rotate(steps.factorise(steps.choosing_channels(choosing), seed=seed))
    alone = steps.only_matrix(eds_xr.segment(choosing, channels=rotated.scores, seed=seed))
    spectrum = sum_spectra(quantified, alone.expand_dims(phase=["Brg"])).compute()
    lines = eds_xr.fit_lines(spectrum, steps.ELEMENTS, stray=steps.STRAY)
    composition = eds_xr.quantify(lines).isel(phase=0)
    return {e: eds_xr.ratio(composition, e, other="Si") for e in ("Nd", "Sm", "Lu", "Hf")}


@pytest.mark.network
def test_published__wrong_mask_of_perovskite_is_warned_of(published):
    """With Fp inside the Ca-Pv mask, Mg pins too much matrix and Si turns negative."""
    with_fp = published.masks.sel(phase="Ca-Pv", drop=True)
    spectrum = sum_spectra(published.image, with_fp).compute()
    matrix = published.spectra.sel(phase="Brg", drop=True)
    elements = [*steps.ELEMENTS, *steps.STRAY]
    with pytest.warns(eds_xr.SubtractionWarning, match=r"negative counts at 1\.7"):
        rest = subtract_phase(spectrum, matrix, scale="Mg_Ka", elements=elements)
    assert float(eds_xr.net_counts(rest, "Si_Ka").net) < -5000


@pytest.mark.network
def test_published__factor_above_one_is_refused(published):
    matrix = published.spectra.sel(phase="Brg", drop=True)
    grain = published.spectra.sel(phase="Fp+Brg", drop=True)
    with pytest.raises(EdsError, match="cannot hold more"):
        subtract_phase(grain, matrix, scale="Mg_Ka")


@pytest.mark.network
def test_published__all_pixels_give_the_compositions_of_the_masks(published):
    """Pixels where three phases overlap are used by one way, and thrown away by the other."""
    ways = published.unmixed_composition, published.composition
    x, y = (w.atomic_fraction for w in ways)
    for phase in steps.PHASES:
        # zero by construction are the lines that the subtraction was pinned to
        free = ways[1].line != steps.PINNED.get(phase, "")
        spread = np.sqrt(ways[1].atomic_fraction_variance.sel(phase=phase))
        pull = ((x - y).sel(phase=phase) / spread).where(free, drop=True)
        assert (abs(pull) < 2.5).all(), phase
    total = published.image.sum(("y", "x"), dtype=float).compute()
    np.testing.assert_allclose(published.unmixed.counts.sum("phase"), total, atol=1e-6)
    # more pixels: smaller errors of the traces in the small phase
    small = [w.atomic_fraction_variance.sel(phase="Ca-Pv", element=["Lu", "Hf"]) for w in ways]
    assert (small[0] < small[1]).all()


def test_run__all_pixels_give_the_truth(simulated):
    found, truth = simulated
    limits = {"Brg": 0.5, "Fp": 1.5, "Ca-Pv": 8.0}
    for phase, limit in limits.items():
        true = truth.loadings.sel(phase=phase).values
        assert angle(found.unmixed.counts.sel(phase=phase).values, true) < limit, phase
