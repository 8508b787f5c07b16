"""The whole study: what it refuses and says, and the published map against what is known of it."""

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr import simulate, store
from eds_xr.analysis.analyse import analysed
from eds_xr.analysis.any_sample.elements import Elements
from eds_xr.analysis.any_sample.phases_found import (
    choosing_channels,
    presence_and_amounts,
    scores_of,
)
from eds_xr.analysis.deep_mantle import results, study
from eds_xr.schema import EdsError
from eds_xr.spectra.subtraction import subtract_phase
from eds_xr.spectra.sums import sum_spectra

#: Oxygen stands at 0.525 keV; the background is bent below 0.4.
RANGE_KEV = (0.4, 12.5)
ELEMENTS, STRAY = study.RECIPE.elements.sample, study.RECIPE.elements.stray


@pytest.fixture
def unchecked(monkeypatch):
    """Studies whose analysis does not check itself."""
    monkeypatch.setattr(study, "analyse", analysed)


@pytest.mark.slow
def test_run__says_so_at_a_sixteenth_of_the_dose(unchecked):
    image = simulate.spectrum_image((96, 96, 1300), 180.0 / 16, seed=11).persist()
    found = study.run(image, seed=11)
    assert [w for w in found.tree.attrs["warnings"] if "do not report its composition" in w]


def test_run__refuses_two_phases():
    phases = [p for p in simulate.PYROLITE_71GPA if p.name != "Ca-Pv"]
    image = simulate.spectrum_image((96, 96, 1300), 180.0, seed=4, phases=phases).persist()
    with pytest.raises(EdsError, match="Ca-Pv: no component is like it"):
        study.run(image)


@pytest.mark.slow
def test_run__cluster_of_two_processes_gives_the_local_result(unchecked, tmp_path, workers):
    from distributed import Client

    made = simulate.spectrum_image((56, 56, 1300), 180.0, seed=5, chunks=(24, 32))
    image = store.open(store.save(made, tmp_path / "made.zarr"))
    local = study.run(image, seed=1)
    with Client(workers):
        remote = study.run(image, seed=1)
    # relative to the peaks: between them, loadings are small differences of large ones
    one, other = (found.part("factors").loadings for found in (remote, local))
    peaks = float(other.max())
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * peaks)
    xr.testing.assert_equal(remote.masks, local.masks)
    xr.testing.assert_equal(remote.spectra.counts, local.spectra.counts)
    ways = (found.part("composition").atomic_fraction for found in (remote, local))
    xr.testing.assert_allclose(*ways)


def test_recipe__pixels_are_chosen_by_no_channel_that_is_quantified():
    image = simulate.spectrum_image((8, 8, 1300), 180.0)
    elements = Elements(ELEMENTS, STRAY, study.RECIPE.elements.majors, ())
    free = choosing_channels(image, elements, study.RECIPE)
    assert float(free.energy[free].max()) < 4.41
    assert not free.sel(energy=slice(3.12, 3.2)).any()  # U Ma


# -- the published map ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def published(published_71gpa):
    """The only run of the study on the published map."""
    return study.run(store.open(published_71gpa))


@pytest.fixture(scope="session")
def published_numbers(published):
    return results.results(published, name="71GPa", sha256="")


@pytest.mark.slow
@pytest.mark.network
def test_published__nmf_maps_and_rotation(published_numbers):
    numbers = published_numbers
    assert numbers["rank"]["suggested"] == 3
    assert numbers["rank"]["eigenvalues"][2] > 10 * numbers["rank"]["eigenvalues"][3]
    assert numbers["nmf"]["map_correlation"]["Ca-Pv"] >= 0.98
    assert numbers["nmf"]["map_correlation"]["Fp"] >= 0.97
    assert numbers["nmf"]["rotation_residual"] < 1e-6
    loading, mask = numbers["nmf"]["brg_loading_mg_si"], numbers["nmf"]["brg_mask_mg_si"]
    assert loading == pytest.approx(mask, rel=0.15)


@pytest.mark.network
def test_published__traces_in_the_matrix_rise_with_size_of_the_site(published):
    values = published.part("composition").atomic_fraction.sel(phase="Brg")
    nd, sm, lu, hf = (float(values.sel(element=e)) for e in ("Nd", "Sm", "Lu", "Hf"))
    assert 0 < nd < sm < lu < hf


@pytest.mark.network
def test_published__mask_lifts_traces_out_of_the_noise(published, published_numbers):
    numbers = published_numbers
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
def test_published__pure_ferropericlase(published_numbers):
    numbers = published_numbers
    assert 0 < numbers["subtraction"]["Fp"]["scale"] < 1
    for line in ("Al_Ka", "Ca_Ka"):
        net, sd = numbers["net_counts"]["Fp"][line]
        assert abs(net) < 3 * sd, line


@pytest.mark.network
def test_published__pure_perovskite(published, published_numbers):
    numbers = published_numbers
    counts, atoms = numbers["net_counts"]["Ca-Pv"], numbers["atoms"]["Ca-Pv"]
    assert 0 < numbers["subtraction"]["Ca-Pv"]["scale"] < 1
    assert counts["Si_Ka"][0] > 5 * counts["Si_Ka"][1]
    assert 0.9 < atoms["Ca"][0] / atoms["Si"][0] < 1.3
    assert abs(counts["Hf_La"][0]) < 3 * counts["Hf_La"][1]
    for line in ("Nd_La", "Sm_La"):
        limit = float(published.part("lines").detection_limit.sel(phase="Ca-Pv", line=line))
        assert counts[line][0] > 5 * limit


@pytest.mark.network
def test_published__no_channel_far_below_zero(published):
    pure = published.part("pure").sel(phase=list(study.GRAINS))
    deviation = pure.counts / np.sqrt(np.maximum(pure.variance, 1))
    assert float(deviation.min()) > -5
    assert not [w for w in published.tree.attrs["warnings"] if "negative counts" in w]


@pytest.mark.network
def test_published__whole_map_ratios_are_the_weighted_sum(published):
    """Net counts of the whole map equal those of the mask plus those of the rest."""
    brg = published.masks.sel(phase="Brg", drop=True)
    names = xr.DataArray(["in", "out", "all"], dims="phase", name="phase")
    masks = xr.concat([brg, ~brg, xr.ones_like(brg)], dim=names)
    spectra = sum_spectra(published.image, masks).compute()
    calibration = eds_xr.calibrate(spectra.sel(phase=["all"]), [*ELEMENTS, *STRAY])
    lines = eds_xr.fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=calibration)
    parts = lines.net.sel(phase="in") + lines.net.sel(phase="out")
    assert (
        abs(parts - lines.net.sel(phase="all")) < 3 * lines.variance.sel(phase="all") ** 0.5
    ).all()


@pytest.mark.slow
@pytest.mark.network
def test_published__halves_agree_on_the_traces(published):
    """Chosen on one half of the counts, quantified on the other, and the other way round."""
    first, second = published.image.eds.split_counts(seed=1)
    found = [_traces(published, *halves) for halves in ((first, second), (second, first))]
    for element in ("Nd", "Sm", "Lu", "Hf"):
        (a, va), (b, vb) = (
            (float(r.ratio), float(r.variance)) for r in (c[element] for c in found)
        )
        assert abs(a - b) < 2 * (va + vb) ** 0.5, element


def _traces(published, choosing, quantified):
    elements = Elements(ELEMENTS, STRAY, study.RECIPE.elements.majors, ())
    free = choosing_channels(choosing, elements, study.RECIPE)
    factors = published.part("factors")
    factors = factors.assign(scores=scores_of(choosing, factors, free))
    pure = presence_and_amounts(choosing, factors, free, study.RECIPE)[0].pure
    spectrum = sum_spectra(quantified, pure.sel(phase=["Brg"])).compute()
    lines = eds_xr.fit_lines(spectrum, ELEMENTS, stray=STRAY)
    composition = eds_xr.quantify(lines).isel(phase=0)
    return {e: eds_xr.ratio(composition, e, other="Si") for e in ("Nd", "Sm", "Lu", "Hf")}


@pytest.mark.network
def test_published__wrong_mask_of_perovskite_is_warned_of(published):
    """With Fp inside the Ca-Pv mask, Mg pins too much matrix and Si turns negative."""
    with_fp = published.masks.sel(phase="Ca-Pv", drop=True)
    spectrum = sum_spectra(published.image, with_fp).compute()
    matrix = published.spectra.sel(phase="Brg", drop=True)
    elements = [*ELEMENTS, *STRAY]
    with pytest.warns(eds_xr.SubtractionWarning) as told:
        rest = subtract_phase(spectrum, matrix, scale="Mg_Ka", elements=elements)
    assert [w for w in told if "negative counts at 1.7" in str(w.message)]
    assert float(eds_xr.net_counts(rest, "Si_Ka").net) < -5000


@pytest.mark.network
def test_published__factor_above_one_is_refused(published):
    matrix = published.spectra.sel(phase="Brg", drop=True)
    grain = published.part("spectra").sel(phase="Brg+Fp", drop=True)
    with pytest.raises(EdsError, match="cannot hold more"):
        subtract_phase(grain, matrix, scale="Mg_Ka")


@pytest.mark.network
def test_published__all_pixels_give_the_compositions_of_the_masks(published):
    """Pixels where three phases overlap are used by one way, and thrown away by the other."""
    ways = [published.part(n) for n in ("refined_composition", "composition")]
    x, y = (w.atomic_fraction for w in ways)
    for phase in study.PHASES:
        # zero by construction are the lines that the subtraction was pinned to
        free = ways[1].line != published.part("pure").pinned.sel(phase=phase)
        spread = np.sqrt(ways[1].atomic_fraction_variance.sel(phase=phase))
        pull = ((x - y).sel(phase=phase) / spread).where(free, drop=True)
        assert (abs(pull) < 2.5).all(), phase
    total = published.image.sum(("y", "x"), dtype=float).compute()
    np.testing.assert_allclose(published.part("refined").counts.sum("phase"), total, atol=1e-6)
    # more pixels: smaller errors of the traces in the small phase
    small = [w.atomic_fraction_variance.sel(phase="Ca-Pv", element=["Lu", "Hf"]) for w in ways]
    assert (small[0] < small[1]).all()


# -- oxygen and the charge balance -------------------------------------------------------------


@pytest.fixture(scope="module")
def lines_with_oxygen(published):
    pure = published.part("pure")
    spectra = pure[["counts", "variance"]].assign_attrs(published.image.attrs)
    elements = (*study.RECIPE.elements.sample, "O")
    stray = study.RECIPE.elements.stray
    return eds_xr.fit_lines(spectra, elements, stray=stray, range_kev=RANGE_KEV)


def balanced(lines, oxygen):
    """Return compositions with the computed k-factor of oxygen times `oxygen`."""
    table = eds_xr.standardless_k_factors(lines.line.values.tolist(), beam_energy_kev=200)
    factor = table.k * np.where(table.line == "O_Ka", oxygen, 1.0)
    return eds_xr.quantify(lines, table.assign(k=factor), thickness="charge_balance")


@pytest.mark.network
def test_published__measured_oxygen_is_too_little_without_absorption(lines_with_oxygen):
    found = balanced(lines_with_oxygen, 1.0)
    assert ((found.charge_ratio > 0.5) & (found.charge_ratio < 0.7)).all()
    assert "doubt" in found
    assert not found.doubt.str.contains("no thickness").any()
    # what makes thickness uncertain is the k-factor of oxygen
    parts = abs(found.mass_thickness_by_error)
    assert set(parts.error.values[parts.argmax("error").values]) == {"computed factor of O_Ka"}
    assert (found.mass_thickness_lower.sel(coverage=0.95) < 5e-4).all()
    charges = found.atomic_fraction.sel(element="O")
    np.testing.assert_allclose(charges.sel(phase=["Brg", "Ca-Pv"]), 0.6, atol=0.004)
    np.testing.assert_allclose(charges.sel(phase="Fp"), 0.5, atol=0.004)


@pytest.mark.network
def test_published__three_phases_agree_on_one_film_and_on_the_oxygen(lines_with_oxygen):
    """With the computed factor they are 0.9 to 2.7 g/m2 thick, with 1.4 times that all 0.4."""
    as_computed, stronger = (balanced(lines_with_oxygen, s).mass_thickness for s in (1.0, 1.4))
    assert float(as_computed.max() / as_computed.min()) > 2.5
    spread = balanced(lines_with_oxygen, 1.4).mass_thickness_variance ** 0.5
    mean = float((stronger / spread**2).sum() / (1 / spread**2).sum())
    assert mean == pytest.approx(4.2e-4, rel=0.15)
    assert (abs(stronger - mean) < 2.5 * spread).all()


@pytest.mark.network
def test_published__exchange_coefficient_moves_with_the_oxygen(lines_with_oxygen):
    for oxygen, expected in ((1.0, 1.14), (1.4, 0.99)):
        found = eds_xr.partition_coefficients(
            balanced(lines_with_oxygen, oxygen), "Brg", reference="Fp", per="Mg"
        ).sel(element="Fe")
        assert float(found.partition_coefficient) == pytest.approx(expected, abs=0.06)
        systematic = float(found.partition_coefficient_systematic_variance) ** 0.5
        assert systematic > 0.05
