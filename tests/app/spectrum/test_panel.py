import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra 'label' is not installed")

from eds_xr.app.spectrum.panel import Curve, Mark, SpectrumPanel  # noqa: E402

ENERGY = np.array([1.0, 2.0, 3.0])


def curve(name: str = "a", **more: float) -> Curve:
    return Curve(name, "#4477aa", ENERGY, np.array([5.0, 0.0, 7.0]), **more)


def test_show__steps_keep_each_channel_at_its_middle() -> None:
    panel = SpectrumPanel()
    panel.show([curve()])
    (xs,), (ys,) = panel.spectra.data["xs"], panel.spectra.data["ys"]
    assert xs.tolist() == [0.5, 1.5, 1.5, 2.5, 2.5, 3.5]
    assert ys.tolist() == [5, 5, 0, 0, 7, 7]


def test_show__several_in_their_colours() -> None:
    panel = SpectrumPanel()
    panel.show([curve("a", width=2.0), curve("b")._replace(color="#ee6677", alpha=0.3)])
    assert panel.spectra.data["color"] == ["#4477aa", "#ee6677"]
    assert panel.spectra.data["width"] == [2.0, 1.2]
    assert panel.spectra.data["alpha"] == [1.0, 0.3]


def test_show__the_range_is_that_of_the_first_and_stays() -> None:
    panel = SpectrumPanel()
    panel.show([curve()])
    assert (panel.energies.start, panel.energies.end) == (1.0, 3.0)
    panel.energies.start = 2.0  # the user's zoom
    panel.show([curve()])
    assert panel.energies.start == 2.0
    assert panel.energies.reset_start == 1.0


def test_show__many_channels_keep_their_peaks() -> None:
    values = np.zeros(40_000)
    values[12_345] = 9
    panel = SpectrumPanel()
    panel.show([Curve("a", "#000000", np.arange(40_000) * 1e-3, values)])
    (xs,), (ys,) = panel.spectra.data["xs"], panel.spectra.data["ys"]
    assert len(xs) <= 2 * 8192
    assert abs(xs[np.argmax(ys)] - 12.345) < 0.01
    assert ys.max() == 9


@pytest.mark.parametrize("size", [0, 1, 2])
def test_show__few_channels(size: int) -> None:
    panel = SpectrumPanel()
    panel.set_range(0, 1)
    panel.show([Curve("a", "#000000", ENERGY[:size], ENERGY[:size])])
    assert len(panel.spectra.data["xs"]) == 1


def test_log__one_of_two_figures_is_seen() -> None:
    panel = SpectrumPanel()
    assert [f.visible for f in panel.figures] == [True, False]
    panel.log = True
    assert [f.visible for f in panel.figures] == [False, True]
    assert panel.log


def test_name__lines_of_both_figures() -> None:
    panel = SpectrumPanel()
    panel.name([Mark(6.4, "Fe Kα", weight=0.9), Mark(1.25, "Mg Kα", "#ee6677")])
    assert panel.lines.data["text"] == ["Fe Kα", "Mg Kα"]
    assert panel.lines.data["weight"] == [0.9, 1.0]


@pytest.mark.parametrize(("unit", "text"), [("keV", "energy (keV)"), ("eV", "energy loss (eV)")])
def test_axes__their_own_unit(unit: str, text: str) -> None:
    panel = SpectrumPanel(unit)
    panel.label_counts("counts")
    for one in panel.figures:
        assert one.xaxis[0].axis_label == text
        assert one.yaxis[0].axis_label == "counts"


def test_on_click__is_told_the_energy() -> None:
    from bokeh.events import Tap

    told: list[float] = []
    panel = SpectrumPanel()
    panel.on_click(told.append)
    panel.figures[1]._trigger_event(Tap(panel.figures[1], x=6.4, y=1.0))
    assert told == [6.4]
