"""Pictures of each kind: what they show, as far as artists can tell; no display needed."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from support.drawn import composition, strangers

from eds_xr.composition.partition import partition_coefficients
from eds_xr.report.pictures import images
from eds_xr.report.pictures.artists import LineLabels
from eds_xr.report.pictures.components import plot_components, plot_rank
from eds_xr.report.pictures.errors import effect_shares, plot_budget, plot_partition
from eds_xr.report.pictures.fits import plot_fit, residual
from eds_xr.report.pictures.maps import plot_maps, plot_rgb, plot_strangers
from eds_xr.report.pictures.phases import plot_phases
from eds_xr.report.pictures.plot import PICTURES, plot
from eds_xr.report.pictures.profiles import plot_profile, profile
from eds_xr.report.pictures.spectra import plot_spectra
from eds_xr.schema import KINDS, EdsError, label_array

NM = {"units": "nm"}


def grid(values, **coords):
    """Return an image, or several, of pixels of 2 nm."""
    dims = (*coords, "y", "x")
    sizes = zip("yx", np.shape(values)[-2:], strict=True)
    places = {d: (d, 2.0 * np.arange(n), NM) for d, n in sizes}
    return xr.DataArray(values, dims=dims, coords=coords | places, attrs={"units": "counts"})


def texts(axes):
    return [t.get_text() for t in axes.texts]


def legend_of(axes):
    return [t.get_text() for t in axes.get_legend().get_texts()]


@pytest.fixture
def masks():
    values = np.zeros((2, 20, 30), bool)
    values[0], values[1, 5:15, 10:20] = True, True
    values[:, 0, :3] = False
    return grid(values, phase=["matrix", "$grain_2$"])


@pytest.fixture
def spectra():
    energy = np.arange(0.1, 8.0, 0.02)
    means = np.stack([200 * np.exp(-energy), 50 * np.exp(-energy / 2)])
    counts = np.random.default_rng(0).poisson(means)
    values = xr.DataArray(
        counts, {"phase": ["A", "B"], "energy": ("energy", energy, {"units": "keV"})},
        ("phase", "energy"), attrs={"units": "counts"},
    )  # fmt: skip
    found = {"counts": values, "variance": values, "n_pixels": ("phase", [100, 4])}
    return xr.Dataset(found, attrs={"elements": ["Mg", "Fe"]})


@pytest.fixture
def lines(spectra):
    model = xr.zeros_like(spectra.counts, float) + spectra.counts.mean("phase")
    net = xr.DataArray(
        [[100.0, 5.0], [30.0, 0.0]], {"phase": ["A", "B"], "line": ["Mg_Ka", "Fe_Ka"]},
        ("phase", "line"),
    )  # fmt: skip
    z = xr.zeros_like(model)
    z[0, 100:103] = 8.0
    effects = np.zeros((2, 2, 2, 2))
    effects[0] += np.diag([3.0, 1.0])
    effects[1] += np.diag([1.0, 0.0])
    return xr.Dataset(
        {
            "net": net, "variance": net + 1, "model": model, "background_model": 0.5 * model,
            "residual_z": z, "doubt": net.copy(data=[["", "overlaps"], ["", ""]]),
            "assumed": net.copy(data=[[False, False], [True, False]]),
            "effect_covariance": (("effect", "phase", "line", "line_other"), effects),
        },
        {"effect": ["counting", "shape"], "line_other": ["Mg_Ka", "Fe_Ka"]},
        {"history": ['{"step": "fit_lines", "stray": ["Ca"]}']},
    )  # fmt: skip


# -- what holds for all --------------------------------------------------------------------------


def test_plot__has_a_picture_of_every_kind() -> None:
    assert {kind.picture for kind in KINDS} == set(PICTURES)
    with pytest.raises(EdsError, match="no picture of such data"):
        plot(xr.Dataset({"a": 1}))


def test_plot__picks_by_kind(masks, spectra, lines) -> None:
    counts = grid(np.ones((20, 30), np.uint16))
    label = label_array(np.ones((20, 30), np.uint8), counts, ["one"])
    kinds = {
        "plot_phases": [masks, label, masks.to_dataset(name="present")],
        "plot_maps": [counts, counts.expand_dims(line=["Mg_Ka"])],
        "plot_spectra": [spectra, spectra.counts],
        "plot_budget": [lines],
        "plot_profile": [counts.isel(y=0)],
        "plot_rank": [xr.Dataset({"eigenvalue": 1, "gain": 1})],
        "plot_strangers": [strangers()],
    }
    for picture, data in kinds.items():
        for one in data:
            assert next(kind for kind in KINDS if kind.fits(one)).picture == picture


def test_pictures__change_no_settings_and_open_no_window(masks, spectra) -> None:
    from matplotlib import pyplot

    before = dict(mpl.rcParams)
    figure = plot_phases(masks)
    assert figure._repr_png_().startswith(b"\x89PNG")
    plot_spectra(spectra)
    assert dict(mpl.rcParams) == before
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(("kind", "raster"), [("pdf", b"/Subtype /Image"), ("svg", b"<image")])
def test_pictures__are_written_as_vectors(spectra, masks, tmp_path, kind, raster) -> None:
    found = []
    for name, figure in (("a", plot_spectra(spectra)), ("b", plot_phases(masks))):
        figure.savefig(tmp_path / f"{name}.{kind}")
        found.append((tmp_path / f"{name}.{kind}").read_bytes().count(raster))
    assert found == [0, 1]  # pixels are pixels, all else is lines and letters


# -- maps ----------------------------------------------------------------------------------------


def test_plot_phases__colours_stripes_shares_and_legend(masks) -> None:
    label = label_array(np.zeros((20, 30), np.uint8), masks, ["matrix", "$grain_2$"])
    label.attrs["flag_colors"] = "none #ff0000 #0000ff"
    figure = plot_phases(masks.to_dataset(name="present").assign(label=label))
    (axes,) = figure.axes
    shown = axes.images[0].get_array()
    fine = shown.shape[0] // 20
    assert to_hex(shown[-1, -1]) == "#ff0000"
    inside = shown[5 * fine : 15 * fine, 10 * fine : 20 * fine].reshape(-1, 3)
    colors, number = np.unique(inside, axis=0, return_counts=True)
    assert {to_hex(c) for c in colors} == {"#ff0000", "#0000ff"}
    assert number.min() > 0.4 * number.sum()
    assert to_hex(shown[0, 0]) == "#e4e4e4"
    assert legend_of(axes) == ["matrix, 100 %", r"\$grain_2\$, 17 %", "striped: several", "none"]


def test_plot_phases__y_points_down_whatever_the_order(masks) -> None:
    one = masks.isel(phase=[1])
    one[{"y": slice(3)}] = True
    two = [
        plot_phases(m).axes[0].images[0].get_array()
        for m in (one, one.isel(y=slice(None, None, -1)))
    ]
    np.testing.assert_array_equal(two[0], two[1])
    assert to_hex(two[0][2, 2]) != "#e4e4e4"
    axes = plot_phases(one).axes[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_plot_maps__one_scale_bar_and_ranges() -> None:
    values = np.stack([np.arange(600.0), 10 * np.arange(600.0)]).reshape(2, 20, 30)
    maps = grid(values, line=["Mg_Ka", "odd $"])
    own = plot_maps(maps)
    drawn = [a for a in own.axes if a.images]
    assert [a.get_title() for a in drawn] == ["Mg Kα", r"odd \$"]
    assert [texts(a) for a in drawn] == [["10 nm"], []]
    ends = [line.get_xdata() for line in drawn[0].lines]
    assert ends[0][1] - ends[0][0] == pytest.approx(5)  # pixels of 2 nm
    assert drawn[0].images[0].get_clim() != drawn[1].images[0].get_clim()
    common = [a for a in plot_maps(maps, ranges="common").axes if a.images]
    assert len({a.images[0].get_clim() for a in common}) == 1
    with pytest.raises(EdsError, match="needs two spatial dimensions"):
        plot_maps(maps.rename(line="z").assign_coords(z=[0, 1]))


def test_shown__large_images_are_few_pixels(monkeypatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 10)
    image = grid(np.arange(25.0 * 40).reshape(25, 40)).chunk(5)
    few = images.shown(image)
    assert few.shape == (9, 10)
    assert float(few[0, 0]) == pytest.approx(float(image[:3, :4].mean()))
    assert images.shown(image > 3).dtype == bool


def test_plot_strangers__lines_that_tell_them_each_ringed_and_numbered_where_it_is() -> None:
    found = strangers()
    figure = plot_strangers(found)
    drawn = [a for a in figure.axes if a.images]
    assert [a.get_title() for a in drawn] == ["Ti Kα", "Mg Kα"]  # the most significant first
    for axes in drawn:
        assert axes.images[0].get_clim() == (-9.0, 9.0)
        assert [p.get_center() for p in axes.patches] == [(20, 8), (4, 20)]
        assert [t for t in texts(axes) if t.isdigit()] == ["1", "2"]
    down = plot_strangers(found.isel(y=slice(None, None, -1)), lines=["Mg"])
    assert [p.get_center() for p in down.axes[0].patches] == [(20, 8), (4, 20)]


def test_plot_strangers__of_many_pixels_rings_stand_where_they_are(monkeypatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 16)
    (axes, *_) = plot_strangers(strangers()).axes
    assert axes.images[0].get_array().shape == (12, 16)
    assert [p.get_center() for p in axes.patches] == [(9.75, 3.75), (1.75, 9.75)]


def test_plot_strangers__none_found_and_what_is_no_table() -> None:
    figure = plot_strangers(strangers().isel(stranger=slice(0)))
    drawn = [a for a in figure.axes if a.images]
    assert [a.get_title() for a in drawn] == ["Si Kα", "Ti Kα", "Mg Kα"]
    assert not any(a.patches for a in drawn)
    with pytest.raises(EdsError, match=r"found net; .* image.eds.find_strangers\(tree\)"):
        plot_strangers(xr.Dataset({"net": 1}))
    with pytest.raises(EdsError, match="no map 'Fe'"):
        plot_strangers(strangers(), lines=["Fe"])
    with pytest.raises(EdsError, match="a picture of strangers needs two spatial dimensions"):
        plot_strangers(strangers().isel(y=0))


def test_plot_rgb__mixes_to_white_and_has_a_triangle() -> None:
    ramp = np.tile(np.linspace(0, 1, 30), (20, 1))
    maps = grid(np.stack([ramp] * 3), line=["Mg_Ka", "Ca_Ka", "Fe_Ka"])
    picture, triangle = plot_rgb(maps, ["Fe", "Mg", "Ca"]).axes
    np.testing.assert_allclose(picture.images[0].get_array()[0, -1], 1, atol=0.02)
    assert texts(triangle) == ["Fe Kα", "Mg Kα", "Ca Kα"]
    corner = triangle.images[0].get_array()[2, 3]
    np.testing.assert_allclose(corner[:3], to_rgb("#00a55a"), atol=0.03)
    with pytest.raises(EdsError, match="no map 'Si'"):
        plot_rgb(maps, ["Si", "Mg", "Ca"])


def test_plot_components__a_map_and_a_spectrum_each(spectra) -> None:
    scores = grid(np.random.default_rng(0).random((2, 6, 8)), component=["A", "B"])
    loadings = (spectra.counts / spectra.counts.sum("energy")).rename(phase="component")
    figure = plot_components(xr.Dataset({"scores": scores, "loadings": loadings}), lines=["Mg_Ka"])
    assert sum(bool(a.images) for a in figure.axes) == 2
    assert figure.axes[-1].get_xlabel() in ("energy (keV)", "")


def test_plot_rank__shows_both_witnesses() -> None:
    number = np.arange(1, 5)
    both = {"eigenvalue": [90.0, 9, 1, 0.9], "gain": [0.0, 80, 2, 0], "gain_error": [0.0, 1, 1, 1]}
    evidence = xr.Dataset(
        {n: ("component", v) for n, v in both.items()}, {"component": number}, {"suggested": 2}
    )
    figure = plot_rank(evidence)
    assert legend_of(figure.axes[1]) == ["eigenvalue", "suggested", "held-out gain"]


# -- spectra -------------------------------------------------------------------------------------


def test_plot_spectra__says_per_pixel_or_total(spectra) -> None:
    axes = plot_spectra(spectra).axes[0]
    assert axes.get_ylabel() == "counts per pixel and channel"
    assert axes.get_xlabel() == "energy (keV)"
    assert legend_of(axes) == ["A", "B"]
    one, two = (line.get_ydata() for line in axes.lines)
    np.testing.assert_allclose(two, spectra.counts[1] / 4)
    assert len(axes.collections) == 2  # bands
    assert plot_spectra(spectra, per="total").axes[0].get_ylabel() == "counts per channel, total"
    alone = plot_spectra(spectra.sel(phase="A"), confidence=None).axes[0]
    assert alone.get_ylabel() == "counts per channel, sum of 100 pixels"
    assert not alone.collections
    with pytest.raises(EdsError, match="how many pixels"):
        plot_spectra(spectra.counts, per="pixel")


def test_plot_spectra__band_is_of_the_confidence(spectra) -> None:
    axes = plot_spectra(spectra.sel(phase="B"), confidence=0.68).axes[0]
    box = axes.collections[0].get_paths()[0].vertices[:, 1]
    highest = (spectra.counts[1] + 0.9945 * spectra.variance[1] ** 0.5).max()
    assert box.max() == pytest.approx(float(highest), rel=1e-3)


def test_plot_spectra__of_eels_has_electron_volts() -> None:
    energy = ("energy", np.arange(400.0, 500.0), {"units": "eV"})
    image = xr.DataArray(
        np.ones((3, 4, 100), np.float32), {"energy": energy}, ("y", "x", "energy"),
        attrs={"elements": ["Fe"]},
    )  # fmt: skip
    axes = plot_spectra(image).axes[0]
    assert axes.get_xlabel() == "energy loss (eV)"
    assert axes.get_ylabel() == "counts per channel, sum of 12 pixels"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), 12)


def test_plot_fit__residual_marks_and_notes(spectra, lines) -> None:
    figure = plot_fit(spectra, lines)
    assert len(figure.axes) == 4
    left = residual(spectra.sel(phase="A"), lines.sel(phase="A"))
    sd = spectra.variance[0].rolling(energy=9, center=True, min_periods=1).mean() ** 0.5
    np.testing.assert_allclose(left, (spectra.counts[0] - lines.model[0]) / sd.where(sd > 0))
    (mark,) = [x for x in figure.axes[1].lines if x.get_gid() == "missing peaks"]
    np.testing.assert_allclose(mark.get_xdata(), spectra.energy[100])
    notes = [part._supxlabel.get_text() for part in figure.subfigs]
    assert notes[0].splitlines() == [
        "† overlaps", "in brackets: fitted, not of the sample",
        "▼ a peak that the fit does not account for",
    ]  # fmt: skip
    assert "grey: zero by the choice" in notes[1]
    (labels,) = [a for a in figure.axes[0].get_children() if isinstance(a, LineLabels)]
    names = [t.get_text() for t in labels.texts]
    assert names == ["Mg Kα", "(Ca Kα)", "Fe Kα†"]
    with pytest.raises(EdsError, match="no spectrum of A"):
        plot_fit(spectra.sel(phase=["B"]), lines)


# -- numbers -------------------------------------------------------------------------------------


def test_plot_budget__bars_are_shares_of_the_variance(lines) -> None:
    shares = effect_shares(lines, "net")
    np.testing.assert_allclose(shares.sum("effect"), 1)
    np.testing.assert_allclose(shares.sel(effect="counting", phase="A"), [0.75, 1.0])
    figure = plot_budget(lines)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(widths, [0.75, 1.0, 0.25, 0.0])
    assert [a.get_title() for a in figure.axes] == ["A", "B"]
    assert texts(figure.axes[1])[0] == "0 (assumed)"


def test_plot_partition__points_arrows_and_what_they_mean() -> None:
    found = partition_coefficients(composition(), "Fp", reference="Brg")
    axes = plot_partition(found).axes[0]
    assert axes.get_yscale() == "log"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["Mg", "Si", "Nd"]
    assert axes.get_ylabel() == "partition coefficient against Brg"
    assert axes.get_xlabel().startswith("arrows: one-sided 95 % limits")


def test_profile__means_and_errors_are_those_of_the_pixels() -> None:
    random = np.random.default_rng(1)
    counts = random.poisson(50, (30, 40)).astype(float)
    maps = grid(counts[None], line=["Mg_Ka"])
    maps = maps.assign_coords(variance=maps.variable)
    found = profile(maps, (20.0, 10.0), (20.0, 60.0), width=8.0)  # along x, 4 rows and a half
    rows = counts[8:13, 5:31]
    np.testing.assert_allclose(found["mean"][0], rows.mean(0))
    np.testing.assert_allclose(found.standard_deviation[0], np.sqrt(rows.sum(0)) / 5)
    np.testing.assert_allclose(found.distance, 2.0 * np.arange(26))
    assert found.attrs["errors"] == "counting"
    across = profile(maps.drop_vars("variance"), (10.0, 10.0), (40.0, 50.0), width=8.0)
    assert across.attrs["errors"].startswith("scatter")
    assert int(across.n_pixels.sum()) == pytest.approx(50 * 8 / 4, rel=0.25)


def test_plot_profile__refuses_ends_that_are_none() -> None:
    image = grid(np.ones((5, 6)))
    assert plot_profile(image, (0, 0), (8, 10)).axes[0].get_xlabel() == "distance (nm)"
    far = image.assign_coords({d: image[d] * 1e4 for d in "yx"})
    for d in "yx":
        far[d].attrs = NM
    assert plot_profile(far, (0, 0), (8e4, 1e5)).axes[0].get_xlabel() == "distance (µm)"
    with pytest.raises(EdsError, match="two ends"):
        plot_profile(image)
    with pytest.raises(EdsError, match="end lies outside of the map: x is 99"):
        plot_profile(image, (0, 0), (0, 99))
    with pytest.raises(EdsError, match="give two points"):
        plot_profile(image, (0, 0), (0, 0))


def test_pictures__are_drawn_where_one_says(masks, spectra) -> None:
    figure = Figure()
    one, two = figure.subplots(1, 2)
    assert plot_phases(masks, axes=one) is figure
    assert plot_spectra(spectra, axes=two) is figure
    assert len(figure.axes) == 2
