"""Spectra of phases from all pixels."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import simulate
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.factorisation.known_spectra.unmix import extend_loadings, unmix
from eds_xr.schema import EdsError
from eds_xr.spectra.subtraction import subtract_phase
from eds_xr.spectra.sums import sum_spectra


@pytest.fixture(scope="module")
def pure(assemblage):
    """Return Brg and, after subtraction, Fp and Ca-Pv of the assemblage, from their masks."""
    return pure_spectra(*assemblage)


def pure_spectra(image, truth):
    fp, capv = (truth.amounts.sel(phase=p, drop=True).load() for p in ("Fp", "Ca-Pv"))
    grains = [(fp > 0.1) & (capv < 1e-6), (capv > 0.1) & (fp < 1e-6)]
    masks = xr.concat([truth["mask"].sel(phase="Brg", drop=True).load(), *grains], "phase")
    sums = sum_spectra(image, masks).compute()
    matrix = sums.isel(phase=0)
    elements = ["Mg", "Al", "Si", "Ca", "Fe", "U", "Cu", "Ga", "Nd", "Sm"]
    rests = [
        subtract_phase(sums.isel(phase=i), matrix, scale=line, elements=elements)
        for i, line in ((1, "Si_Ka"), (2, "Mg_Ka"))
    ]
    parts = [matrix.assign(scale=0.0, scale_variance=0.0), *rests]
    return xr.concat(parts, xr.Variable("phase", ["Brg", "Fp", "Ca-Pv"]), combine_attrs="override")


def held(truth):
    """Return the counts that the map is expected to hold of each phase ``[phase, energy]``."""
    return truth.expected.sum(("y", "x")).astype(float) * truth.loadings


def binned(spectra, size=12):
    """Return sums over neighbouring channels, about as wide as a peak."""
    return spectra.coarsen(energy=size, boundary="trim").sum()


def test_refine_spectra__all_counts_are_shared_out(assemblage, pure):
    image, truth = assemblage
    found = refine_spectra(image, pure)
    total = image.sum(("y", "x")).astype(float).compute()
    np.testing.assert_allclose(found.counts.sum("phase"), total, rtol=1e-9, atol=1e-6)
    # so errors that channels share cancel over phases, and covariances add up to the counts
    np.testing.assert_allclose(found.common_error.sum("phase"), 0, atol=1e-6)
    spread = found.covariance.sum(("phase", "phase_other"))
    np.testing.assert_allclose(spread, total, rtol=1e-9, atol=1e-6)
    inside = truth.label.load() != 3
    part = refine_spectra(image, pure, mask=inside)
    np.testing.assert_allclose(
        part.counts.sum("phase"), image.where(inside, 0).sum(("y", "x")), rtol=1e-9, atol=1e-6
    )
    assert int(part.n_pixels) == int(inside.sum())
    assert int(found.n_pixels) == 72 * 72


def test_refine_spectra__errors_are_right_channel_by_channel(assemblage):
    image, truth = assemblage
    found = refine_spectra(image, truth.loadings, seed=3)
    spread = binned(found.variance) + (binned(found.common_error) ** 2).sum("mode")
    error = binned(found.counts) - binned(held(truth)).load()
    for phase in found.phase.values:
        full = binned(found.variance).sel(phase=phase).values > 20
        one = error.sel(phase=phase)[full] / spread.sel(phase=phase)[full] ** 0.5
        assert abs(float(one.mean())) < 0.35, phase
        assert 0.8 < float(one.std()) < 1.25, phase


@pytest.mark.slow
def test_refine_spectra__nearer_to_the_truth_than_subtraction_and_near_the_oracle():
    """Of Ca-Pv, beside subtraction from its mask and the Cramer-Rao bound for known amounts."""
    made = [_errors_of_perovskite(seed) for seed in (41, 42, 43)]
    refined, subtracted, bound = (np.sqrt(np.mean(np.square(m))) for m in zip(*made, strict=True))
    print(f"refined {refined:.3g}, subtracted {subtracted:.3g}, bound {bound:.3g}")
    assert refined < subtracted
    assert refined < 1.3 * bound


def _errors_of_perovskite(seed):
    """Return errors of Ca-Pv's relative spectrum above its L lines of rare earths, per bin."""
    recipe = {"shape": (72, 72, 1024), "dose": 200.0, "seed": seed}
    image, truth = simulate.spectrum_image(**recipe).drop_vars("haadf"), simulate.truth(**recipe)
    truth = truth.load()
    pure = pure_spectra(image, truth)
    refined = refine_spectra(image.persist(), pure, seed=seed)
    true, errors = held(truth).sel(phase="Ca-Pv"), []
    for spectra in (refined, pure):
        one = spectra.counts.sel(phase="Ca-Pv")
        one = one * float(true.sum() / one.sum())
        errors.append(binned(one - true).sel(energy=slice(4.4, 9.5)).values)
    amounts = truth.expected.transpose("y", "x", "phase").values.reshape(-1, 3).astype(float)
    mean = amounts @ truth.loadings.values
    information = np.einsum("ip,iq,ic->cpq", amounts, amounts, 1 / np.maximum(mean, 1e-9))
    share = np.linalg.inv(information)[:, 2, 2] * amounts[:, 2].sum() ** 2
    bound = binned(true.copy(data=share)).sel(energy=slice(4.4, 9.5)).values
    return *errors, np.sqrt(bound)


def test_refine_spectra__is_not_biased_by_the_noise_of_amounts(assemblage, pure):
    """Regression on the amounts found takes their noise for signal; this does not."""
    image, truth = assemblage
    true = held(truth).sel(phase="Fp")
    amounts = unmix(image, pure).amounts.rename(phase="component")
    regressed = extend_loadings(image, xr.Dataset({"scores": amounts}))
    refined = refine_spectra(image, pure).counts
    rare_earths = slice(4.4, 9.5)  # and iron
    spectra = (regressed.isel(component=1), refined.sel(phase="Fp"))
    biased, found = (
        float(((s / s.sum() - true / true.sum()).sel(energy=rare_earths)).sum()) for s in spectra
    )
    assert abs(found) < 0.006
    assert abs(biased) > 2 * abs(found)


def test_refine_spectra__same_for_any_chunks_and_again(assemblage, pure):
    image, _ = assemblage
    whole = refine_spectra(image.chunk(y=-1, x=-1), pure, window=5)
    cut = refine_spectra(image.chunk(y=(3, 30, 39), x=29), pure, window=5)
    for name in ("counts", "variance", "covariance"):
        scale = float(abs(whole[name]).max())
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-6, atol=1e-9 * scale)
    other = refine_spectra(image, pure, seed=1)
    moved = (other.counts - whole.counts) / np.sqrt(whole.variance.clip(min=1))
    assert 0 < float(moved.std()) < 0.7  # the split of the counts matters less than chance
    assert other.attrs["history"][-1] != whole.attrs["history"][-1]


def test_refine_spectra__line_scan_stack_and_scale(assemblage, pure):
    image, truth = assemblage
    known = truth.loadings
    rows = xr.concat([image.isel(y=i, drop=True) for i in range(36, 72)], "x")
    scan = refine_spectra(rows, known, window=1)
    np.testing.assert_allclose(scan.counts.sum("phase"), rows.sum("x"), atol=1e-6)
    halves = [image.isel(y=slice(36)), image.isel(y=slice(36, None))]
    stack = xr.concat([half.drop_vars("y") for half in halves], "frame")
    found = refine_spectra(stack.chunk(frame=1), known * [[7], [1], [0.1]])
    np.testing.assert_allclose(found.counts.sum("phase"), image.sum(("y", "x")), atol=1e-6)
    assert np.isnan(found.misfit).all()
    assert found.attrs["beam_energy_kev"] == 200


def test_refine_spectra__refuses(assemblage, pure):
    image, truth = assemblage
    known = truth.loadings
    alike = xr.concat([known.isel(phase=0), known.isel(phase=0), known.isel(phase=1)], "phase")
    masks = xr.concat([truth.label == 1, truth.label == 2], "phase")
    for wrong, options, message in [
        (image.astype(float), {}, "only whole counts can be split in halves, found dtype float64"),
        (image, {"window": 4}, "window must be an odd number of pixels, found 4"),
        (image, {"mask": masks}, "must be one mask, found one a phase"),
        (image.isel(energy=slice(900)), {}, "different energy axes"),
    ]:
        with pytest.raises(EdsError, match=message):
            refine_spectra(wrong, known, **options)
    with pytest.raises(EdsError, match="the map does not tell these spectra apart"):
        refine_spectra(image, alike)
    matrix = image.where(truth["mask"].sel(phase="Brg"), 0).astype("u1")
    no_iron = known.copy(data=np.roll(known.values, 200, axis=1))  # spectra of something else
    with pytest.raises(EdsError, match="the map holds nothing of .*: leave it out of the spectra"):
        refine_spectra(
            matrix, xr.concat([known.isel(phase=[0, 1]), no_iron.isel(phase=[2])], "phase")
        )
    with pytest.raises(EdsError, match="the spectra lack"):
        refine_spectra(image, pure.drop_vars("variance"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"window": "3"}, "odd number"),
        ({"window": 101}, "wider than the image"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_refine_spectra__what_is_given_is_checked(eager_image, how, message):
    spectra = _two_means(eager_image)
    with pytest.raises(EdsError, match=message):
        refine_spectra(eager_image, spectra, **how)


def _two_means(image):
    means = [image.isel(x=part).mean(("y", "x")) for part in (slice(0, 5), slice(10, 15))]
    return xr.concat(means, "phase")


def test_refine_spectra__stray_counts_of_every_pixel_are_left_out(assemblage, pure):
    image, _ = assemblage
    mean = 0.02 * np.exp(-((image.energy.values - 8.05) ** 2) / 0.01)
    drawn = np.random.default_rng(5).poisson(mean, image.shape).astype(np.uint16)
    both = (image.astype(np.uint16) + xr.DataArray(drawn, dims=image.dims)).assign_attrs(
        image.attrs
    )
    data = {"counts": ("energy", mean), "variance": ("energy", 0 * mean)}
    stray = xr.Dataset(data, {"energy": image.energy})
    found = refine_spectra(both, pure, stray=stray)
    pixels = image.sizes["y"] * image.sizes["x"]
    total = both.sum(("y", "x")).astype(float).compute() - pixels * mean
    np.testing.assert_allclose(found.counts.sum("phase"), total, rtol=1e-9, atol=1e-6)
    alone = refine_spectra(image, pure)
    copper = slice(7.9, 8.2)
    for name in pure.phase.values:  # each phase loses what its own pixels held
        mine, true = (f.sel(phase=name, energy=copper) for f in (found, alone))
        spread = float((mine.variance + true.variance).sum()) ** 0.5
        assert abs(float(mine.counts.sum() - true.counts.sum())) < 5 * spread
    with pytest.raises(EdsError, match="stray must be one spectrum"):
        refine_spectra(both, pure, stray=stray.isel(energy=slice(0, 9)))
