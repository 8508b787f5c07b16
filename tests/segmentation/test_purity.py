"""Which pixels hold nothing but one phase."""

import numpy as np
import xarray as xr

from eds_xr.segmentation.presence.purity import pure_pixels

SHAPE = (96, 96)


def _side_by_side(noise: float, strip: float = 0.0) -> tuple[xr.DataArray, xr.DataArray]:
    """Return amounts and presence of two phases; the second gives a share of a strip of the first.

    Amounts of a pixel sum to 100 counts; `noise` is that of the share of one pixel.
    """
    rng = np.random.default_rng(4)
    share = np.where(np.arange(SHAPE[1]) < 48, 0.0, 1.0) * np.ones(SHAPE)
    share[:, :16] = strip
    second = 100 * (share + rng.normal(0, noise, SHAPE))
    names = {"phase": ["first", "second"]}
    amounts = xr.DataArray(np.stack([100 - second, second], -1), names, ("y", "x", "phase"))
    present = xr.DataArray(np.stack([share < 0.5, share > 0.5]), names, ("phase", "y", "x"))
    return amounts.astype(np.float32).chunk(y=48), present


def test_pure_pixels__noise_does_not_choose_among_pure_pixels_of_like_phases() -> None:
    """Chosen by their noise, they would hold less of the other than is there, on average."""
    amounts, present = _side_by_side(noise=0.6)
    pure = pure_pixels(amounts, present, 100.0, 0.02).compute()
    first = pure.sel(phase="first")
    assert int(first.sum()) > 0.9 * 46 * 96  # but for the margin
    rest = float(amounts.sel(phase="second").where(first).sum() / amounts.where(first).sum())
    error = 0.6 / int(first.sum()) ** 0.5
    assert abs(rest) < 3 * error


def test_pure_pixels__not_those_that_hold_more_than_noise_of_another() -> None:
    amounts, present = _side_by_side(noise=0.05, strip=0.06)
    pure = pure_pixels(amounts, present, 100.0, 0.02).compute().sel(phase="first")
    assert not pure[:, :12].any()
    assert pure[:, 24:44].all()


def test_pure_pixels__where_a_phase_is_nowhere_there_is_none() -> None:
    amounts, present = _side_by_side(noise=0.05)
    present[0] = False
    pure = pure_pixels(amounts, present, 100.0, 0.02).compute()
    assert not pure.sel(phase="first").any()
    assert pure.sel(phase="second").any()
