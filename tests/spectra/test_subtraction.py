import warnings

import numpy as np
import pytest
import xarray as xr
from support.drawn_spectra import ENERGY_KEV, LISTED, drawn

from eds_xr import provenance, simulate
from eds_xr.composition.quantify import quantify
from eds_xr.report.tables import to_text
from eds_xr.schema import EdsError
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.reference_share import net_counts
from eds_xr.spectra.subtraction import SubtractionWarning, subtract_phase
from eds_xr.spectra.sums import sum_spectra


def random_masks(image, n, seed=0):
    values = np.random.default_rng(seed).random((n, *image.shape[:-1])) < 0.4
    dims = ("phase", *image.dims[:-1])
    return xr.DataArray(values, {"phase": [f"m{i}" for i in range(n)]}, dims)


def test_subtract_phase__counts_variance_and_history(eager_image):
    spectra = sum_spectra(eager_image, random_masks(eager_image, 2)).compute()
    mixture, reference = spectra.isel(phase=0), spectra.isel(phase=1)
    rest = subtract_phase(mixture, reference, scale=0.25)
    factor = 0.25 * float(mixture.n_pixels) / float(reference.n_pixels)
    np.testing.assert_allclose(rest.counts, mixture.counts - factor * reference.counts)
    np.testing.assert_allclose(rest.variance, mixture.counts + factor**2 * reference.counts)
    assert (float(rest.scale), float(rest.scale_variance)) == (0.25, 0)
    assert rest.n_pixels == mixture.n_pixels
    assert rest.attrs["warnings"] == []
    assert provenance.history(rest)[-1]["scale"] == 0.25


@pytest.mark.parametrize(
    ("phase", "line", "angle_deg"), [("Fp", "Si_Ka", 3.0), ("Ca-Pv", "Mg_Ka", 4.0)]
)
def test_subtract_phase__finds_the_true_share(pyrolite, phase, line, angle_deg):
    spectra, share, loadings = pyrolite
    rest = subtract_phase(spectra.sel(phase=phase), spectra.sel(phase="Brg"), scale=line)
    error = float(rest.scale) - float(share.sel(phase=phase))
    assert abs(error) < 0.01
    assert abs(error) < 3.5 * float(rest.scale_variance) ** 0.5
    true = loadings.sel(phase=phase).values
    cosine = rest.counts.values @ true / np.linalg.norm(true) / np.linalg.norm(rest.counts)
    assert np.degrees(np.arccos(cosine)) < angle_deg
    assert rest.attrs["warnings"] == []
    assert rest.attrs["pinned_line"] == line
    assert (rest.counts < 0).any()  # never clipped


def test_subtract_phase__without_elements_the_window_serves(pyrolite):
    spectra, share, _ = pyrolite
    mixture, reference = spectra.sel(phase="Fp"), spectra.sel(phase="Brg")
    rest = subtract_phase(mixture, reference, scale="Si_Ka", elements=[])
    assert float(rest.scale) == pytest.approx(float(share.sel(phase="Fp")), abs=0.02)
    assert float(net_counts(rest, "Si_Ka").net) == pytest.approx(0, abs=1e-6)


def test_subtract_phase__warns_of_another_phase_in_the_mask(pyrolite):
    spectra, _, _ = pyrolite
    brg, fp, capv = (spectra.sel(phase=p) for p in ("Brg", "Fp", "Ca-Pv"))
    mixture = capv.copy()  # a mask of Ca-Pv that takes in as many pixels of Fp: Mg counts as Brg
    for name in ("counts", "variance", "n_pixels"):
        mixture[name] = capv[name] + (0.5 * fp[name]).astype(int)
    with pytest.warns(SubtractionWarning) as caught:
        rest = subtract_phase(mixture, brg, scale="Mg_Ka")
    assert [str(w.message) for w in caught] == rest.attrs["warnings"]
    silicon = [text for text in rest.attrs["warnings"] if "negative counts at 1.7" in text]
    assert len(silicon) == 1
    assert "the mask of the mixture holds another phase" in silicon[0]
    assert float(rest.counts.sel(energy=slice(1.70, 1.78)).sum()) < 0


def test_subtract_phase__refuses_a_share_above_one(pyrolite):
    spectra, _, _ = pyrolite
    fp, brg = spectra.sel(phase="Fp"), spectra.sel(phase="Brg")
    with pytest.raises(EdsError, match=r"\(from Mg_Ka\): a mixture cannot hold more of the ref"):
        subtract_phase(fp, brg.assign(n_pixels=10 * brg.n_pixels), scale="Mg_Ka")
    with pytest.raises(EdsError, match="check the masks, or pin another line"):
        subtract_phase(fp, brg, scale=1.01)


def test_subtract_phase__share_of_one_within_its_error_is_kept(pyrolite):
    spectra, _, _ = pyrolite
    brg = spectra.sel(phase="Brg")
    rest = subtract_phase(brg, brg, scale="Si_Ka")
    assert float(rest.scale) == pytest.approx(1)


@pytest.mark.parametrize("scale", [0.0, -0.2, np.nan])
def test_subtract_phase__refuses_a_share_that_is_not_positive(pyrolite, scale):
    spectra, _, _ = pyrolite
    with pytest.raises(EdsError, match="nothing to subtract"):
        subtract_phase(spectra.sel(phase="Fp"), spectra.sel(phase="Brg"), scale=scale)


def test_subtract_phase__errors(pyrolite):
    spectra, _, _ = pyrolite
    fp, brg = spectra.sel(phase="Fp"), spectra.sel(phase="Brg")
    for mixture, reference, scale, message in [
        (spectra, brg, 0.5, "the mixture must be one spectrum, found dimensions"),
        (fp, brg.drop_vars("n_pixels"), 0.5, "the reference needs n_pixels above zero"),
        (fp, brg.isel(energy=slice(900)), 0.5, "different energy axes .1200 channels from -0.2"),
        (fp, brg.assign_coords(energy=brg.energy + 0.01), 0.5, "different energy axes"),
        (fp, brg, "Au_Ma", "the reference has no significant Au_Ma"),
        (fp, brg, "Si", "expected a line such as 'Fe_Ka', found 'Si'"),
        (fp, brg, "Nd_Ka", "choose another line of the element"),
        (
            fp.isel(energy=slice(500)),
            brg.isel(energy=slice(500)),
            "Fe_Ka",
            "the energy axis covers",
        ),
        (fp.assign_attrs(beam_energy_kev=5.0), brg, "Fe_Ka", "not emitted at a beam energy of 5 k"),
    ]:
        with pytest.raises(EdsError, match=message):
            subtract_phase(mixture, reference, scale=scale)


def test_subtract_phase__error_of_the_scale_alone_does_not_warn():
    energy = 0.005 + 0.01 * np.arange(500)
    peak = np.exp(-0.5 * ((energy - 1.25) / 0.035) ** 2)
    few = np.exp(-0.5 * ((energy - 3.69) / 0.045) ** 2)
    rng = np.random.default_rng(0)

    def spectrum(share, seed_counts):
        counts = rng.poisson(share * (1e6 * peak + 600 * few) + 1)
        data = {"counts": ("energy", counts), "variance": ("energy", counts), "n_pixels": 100}
        return xr.Dataset(data, {"energy": energy}, {"elements": []})

    for seed in range(5):  # pinned on the weak line, the strong one moves with its error
        mixture, reference = spectrum(0.5, seed), spectrum(1.0, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rest = subtract_phase(mixture, reference, scale="Ca_Ka")
        assert float(rest.scale) == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_subtract_phase__scale_variance_meets_monte_carlo():
    energy = -0.2 + 0.01 * np.arange(1200)
    loadings = simulate.phase_spectra(simulate.PYROLITE_71GPA, energy).loadings
    rng = np.random.default_rng(3)
    truth = {
        "mix": 2e4 * (0.5 * loadings.sel(phase="Brg") + 0.5 * loadings.sel(phase="Fp")).values,
        "reference": 4e4 * loadings.sel(phase="Brg").values,
    }
    pulls = []
    for _ in range(60):
        mixture, reference = (
            xr.Dataset(
                {"counts": ("energy", c), "variance": ("energy", c), "n_pixels": 200},
                {"energy": energy},
                {"elements": ["Mg", "Al", "Si", "Ca", "Fe", "Cu", "Ga"]},
            )
            for c in map(rng.poisson, truth.values())
        )
        rest = subtract_phase(mixture, reference, scale="Si_Ka")
        pulls.append((float(rest.scale) - 0.25) / float(rest.scale_variance) ** 0.5)
    assert abs(np.mean(pulls)) < 0.4
    assert 0.75 < np.std(pulls, ddof=1) < 1.3


@pytest.mark.slow
def test_subtract_phase__scale_of_several_lines_meets_monte_carlo(shapes):
    brg, fp = (shapes.sel(phase=p).values for p in ("Brg", "Fp"))
    rng = np.random.default_rng(7)
    pulls, alone, chances, scatter = [], [], [], []
    for _ in range(40):
        mixture, reference = drawn(5e3 * brg + 1e4 * fp, rng), drawn(2e4 * brg, rng)
        rest = subtract_phase(mixture, reference, scale=["Si_Ka", "Al_Ka"])
        one = subtract_phase(mixture, reference, scale="Si_Ka")
        pulls.append((float(rest.scale) - 0.25) / float(rest.scale_variance) ** 0.5)
        alone.append(float(rest.scale_variance / one.scale_variance))
        chances.append(float(rest.scale_p))
        scatter.append(rest.line_pull.values)
    assert abs(np.mean(pulls)) < 0.4
    assert 0.75 < np.std(pulls, ddof=1) < 1.3
    assert np.mean(alone) < 1  # a second line adds what it knows
    assert 0.3 < np.mean(chances) < 0.7  # even between 0 and 1
    assert 0.75 < np.std(scatter) < 1.3


def test_subtract_phase__one_line_in_a_list_is_that_line(pyrolite):
    spectra, _, _ = pyrolite
    mixture, reference = spectra.sel(phase="Fp"), spectra.sel(phase="Brg")
    several = subtract_phase(mixture, reference, scale=["Si_Ka"])
    one = subtract_phase(mixture, reference, scale="Si_Ka")
    np.testing.assert_allclose(several.counts, one.counts, atol=1e-6)
    assert float(several.scale_variance) == pytest.approx(float(one.scale_variance))
    assert several.attrs["pinned_lines"] == one.attrs["pinned_lines"] == ["Si_Ka"]
    assert "scale_p" not in several


def test_subtract_phase__names_the_line_that_disagrees(shapes):
    brg, fp, capv = (shapes.sel(phase=p).values for p in ("Brg", "Fp", "Ca-Pv"))
    rng = np.random.default_rng(8)
    mixture = drawn(5e4 * brg + 1e5 * fp + 3e3 * capv, rng)  # a grain of Ca-Pv among Fp: Ca
    reference = drawn(2e5 * brg, rng)
    with pytest.warns(SubtractionWarning, match="Ca_Ka gives .*holds another phase with that"):
        rest = subtract_phase(mixture, reference, scale=["Al_Ka", "Ca_Ka"])
    assert float(rest.scale_p) < 1e-3
    assert list(rest.line.values) == ["Al_Ka", "Ca_Ka"]
    assert float(rest.line_scale.sel(line="Ca_Ka")) > float(rest.line_scale.sel(line="Al_Ka"))
    with pytest.warns(SubtractionWarning, match="Ca_Ka gives"):
        subtract_phase(mixture, reference, scale=["Al_Ka", "Ca_Ka", "Si_Ka"])


def test_subtract_phase__several_lines_errors(pyrolite):
    spectra, _, _ = pyrolite
    fp, brg = spectra.sel(phase="Fp"), spectra.sel(phase="Brg")
    for scale, message in [
        (["Si_Ka", "Au_Ma"], "the reference has no significant Au_Ma"),
        (["Fe_Ka", "Fe_Kb"], "Fe_Ka and Fe_Kb are lines of one family"),
        ([], "expected at least one line"),
        (["Mg_Ka", "Fe_Ka"], r"\(from Mg_Ka, Fe_Ka\): a mixture cannot hold more"),
    ]:
        with pytest.raises(EdsError, match=message):
            subtract_phase(fp, brg, scale=scale)


@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_subtract_phase__a_pinned_line_is_assumed_and_not_measured(shapes):
    """A grain with Mg of its own, pinned by Mg: no limit may say how little there is."""
    brg, fp, capv = (shapes.sel(phase=p).values for p in ("Brg", "Fp", "Ca-Pv"))
    rng = np.random.default_rng(2)
    mixture, reference = drawn(5e4 * brg + 1e5 * capv + 3e3 * fp, rng), drawn(2e5 * brg, rng)
    rest = subtract_phase(mixture, reference, scale="Mg_Ka")
    assert rest.pinned.item() == "Mg_Ka"
    for given in (rest, rest[["counts", "variance"]]):  # chosen variables leave the attributes
        lines = fit_lines(given, LISTED)
        assert lines.assumed.sel(line=lines.assumed).line.values.tolist() == ["Mg_Ka"]
        mg = lines.sel(line="Mg_Ka")
        assert float(mg.net) == float(mg.variance) == 0
        assert (lines.covariance.sel(line_other="Mg_Ka") == 0).all()
        for name in ("critical_level", "detection_limit", "quantification_limit"):
            assert np.isnan(mg[name])
    lines = add_common_errors(fit_lines(rest, LISTED), rest)
    text = to_text(quantify(lines, beam_energy_kev=200))
    assert text.sel(element="Mg").item().rstrip("†") == "0 (assumed)"  # and in doubt, rightly
    assert "(" in text.sel(element="Ca").item()


@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_subtract_phase__pinned_lines_stay_with_their_phase(pyrolite):
    spectra, _, _ = pyrolite
    brg = spectra.sel(phase="Brg", drop=True)
    pure = [
        subtract_phase(spectra.sel(phase=p, drop=True), brg, scale=line)
        for p, line in (("Fp", "Si_Ka"), ("Ca-Pv", "Mg_Ka"))
    ]
    names = xr.DataArray(["Brg", "Fp", "Ca-Pv"], dims="phase", name="phase")
    joined = xr.concat([brg, *pure], dim=names, combine_attrs="override")
    lines = add_common_errors(fit_lines(joined, LISTED), joined)
    found = lines.assumed.to_series()
    assert sorted(found[found].index) == [("Ca-Pv", "Mg_Ka"), ("Fp", "Si_Ka")]
    assert (lines.variance.where(lines.assumed, 0) == 0).all()
    free = lines.variance.where(~lines.assumed)
    assert (free.fillna(1) > 0).all()
    turned = fit_lines(joined.isel(phase=[2, 0]), LISTED)
    assert turned.assumed.sel(phase="Ca-Pv", line="Mg_Ka").item()
    assert int(turned.assumed.sum()) == 1


def test_subtract_phase__a_number_assumes_no_line(pyrolite):
    spectra, _, _ = pyrolite
    rest = subtract_phase(spectra.sel(phase="Fp"), spectra.sel(phase="Brg"), scale=0.4)
    assert rest.pinned.item() == ""
    assert not fit_lines(rest, LISTED).assumed.any()


@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_subtract_phase__of_several_lines_those_that_decide_are_assumed(shapes):
    brg, fp = (shapes.sel(phase=p).values for p in ("Brg", "Fp"))
    calcium = simulate.phase_spectra([simulate.Phase("Ca", {"Ca": 1})], ENERGY_KEV).loadings.values
    rng = np.random.default_rng(3)
    reference = drawn(2e6 * brg, rng)
    rest = subtract_phase(drawn(5e5 * brg + 1e5 * fp, rng), reference, scale=["Si_Ka", "Al_Ka"])
    lines = fit_lines(rest, LISTED)
    assert (rest.pinned.item(), rest.pinned_in_part.item()) == ("Si_Ka", "")  # Al has few counts
    assert lines.assumed.sel(line=["Si_Ka", "Al_Ka"]).values.tolist() == [True, False]
    mixture = drawn(5e5 * brg + 1e5 * calcium[0], rng)
    both = subtract_phase(mixture, reference, scale=["Si_Ka", "Mg_Ka"])
    assert {both.pinned.item(), both.pinned_in_part.item()} == {"Si_Ka", "Mg_Ka"}
    lines = fit_lines(both, LISTED)
    doubtful = lines.line[lines.doubt != ""].values.tolist()
    assert doubtful == [both.pinned_in_part.item()]
    assert lines.doubt.sel(line=doubtful[0]).item() == "pinned in part, the subtraction lowers it"


@pytest.mark.filterwarnings("ignore::eds_xr.SubtractionWarning")
def test_subtract_phase__a_second_subtraction_keeps_what_the_first_assumed(shapes):
    brg, fp, capv = (shapes.sel(phase=p).values for p in ("Brg", "Fp", "Ca-Pv"))
    rng = np.random.default_rng(4)
    mixture = drawn(5e4 * brg + 1e5 * fp + 3e4 * capv, rng)
    rest = subtract_phase(mixture, drawn(2e5 * brg, rng), scale="Si_Ka")
    twice = subtract_phase(rest, drawn(2e5 * capv, rng), scale="Ca_Ka")
    assert twice.pinned.item() == "Si_Ka, Ca_Ka"


@pytest.mark.parametrize(("own", "warned"), [(0.0, False), (0.1, True)])
def test_subtract_phase__too_low_lines_contradict_what_is_assumed(shapes, own, warned):
    """Mg of the grain's own takes too much matrix away, and with it Al that the grain lacks."""
    brg = shapes.sel(phase="Brg").values
    magnesium, calcium = simulate.phase_spectra(
        [simulate.Phase("Mg", {"Mg": 1}), simulate.Phase("CaSi", {"Ca": 1, "Si": 1})], ENERGY_KEV
    ).loadings.values
    grain = (1 - own) * calcium + own * magnesium
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        mixture, reference = drawn(1e5 * brg + 3e5 * grain, rng), drawn(1e6 * brg, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SubtractionWarning)
            rest = subtract_phase(mixture, reference, scale="Mg_Ka")
        found.append(bool(rest.attrs["warnings"]))
    assert all(found) if warned else not any(found)


def _pair_of_spectra():
    energy = ("energy", 0.5 + 0.02 * np.arange(500), {"units": "keV"})
    counts = xr.DataArray(np.random.default_rng(0).poisson(50.0, 500), dims="energy")
    one = xr.Dataset({"counts": counts, "variance": counts, "n_pixels": 10}, {"energy": energy})
    return one, one.copy(deep=True)


def test_subtract_phase__axes_that_differ_by_rounding():
    mixture, reference = _pair_of_spectra()
    moved = reference.assign_coords(energy=reference.energy + 1e-12)
    xr.testing.assert_identical(
        subtract_phase(mixture, moved, scale=0.5), subtract_phase(mixture, reference, scale=0.5)
    )


@pytest.mark.parametrize(
    ("change", "scale", "message"),
    [
        ({}, None, "must be a number"),
        ({}, [0.1, 0.2], "expected a line such as"),
        ({"n_pixels": np.nan}, 0.1, "needs n_pixels above zero"),
        ({"counts": ("energy", np.full(500, np.nan))}, 0.1, "not finite"),
    ],
)
def test_subtract_phase__what_is_given_is_checked(change, scale, message):
    mixture, reference = _pair_of_spectra()
    with pytest.raises(EdsError, match=message):
        subtract_phase(mixture.assign(change), reference, scale=scale)


def test_subtract_phase__all_is_described():
    found = subtract_phase(*_pair_of_spectra(), scale=0.5)
    names = ("counts", "variance", "scale", "scale_variance", "scale_slope", "scale_by_counts")
    assert all({"long_name", "units"} <= set(found[n].attrs) for n in names)
