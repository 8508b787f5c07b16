import functools

import dask
import numpy as np
import pytest
import xarray as xr

from eds_xr.factorisation.one_read import read_once
from eds_xr.factorisation.solver.descent import descend, project_block
from eds_xr.factorisation.solver.loadings import unit_columns
from eds_xr.image.blocks import split_rows
from eds_xr.workers import cluster

CHANNELS = np.arange(60)
PEAKS = ((10, 30), (18, 45), (25, 50))


@functools.cache
def known() -> tuple[np.ndarray, np.ndarray]:
    """Counts [y, x, channel] of three phases, and their spectra [channel, phase]."""
    random = np.random.default_rng(0)
    spectra = sum(np.exp(-0.5 * ((CHANNELS[:, None] - c) / 2) ** 2) for c in np.array(PEAKS).T)
    spectra = spectra + 0.02
    spectra /= spectra.sum(0)
    amounts = random.dirichlet([0.3, 0.3, 0.3], size=(36, 40)) * 300
    return random.poisson(amounts @ spectra.T).astype(np.uint8), spectra


def image_in(chunk) -> xr.DataArray:
    return xr.DataArray(known()[0], dims=("y", "x", "energy")).chunk(y=chunk[0], x=chunk[1])


def start() -> np.ndarray:
    return unit_columns(known()[1] + 0.5 * known()[1].mean(1, keepdims=True))


def fitted(chunk=(36, 40), loss="poisson", stream=False, **options):
    rows = read_once(image_in(chunk), stream=stream).full
    return descend(rows, start(), loss, **{"tol": 1e-5, "max_iter": 40, **options})


def largest_change(one: np.ndarray, other: np.ndarray) -> float:
    return abs(one - other).max() / abs(other).max()


def angles(found: np.ndarray) -> np.ndarray:
    a, b = (m / np.linalg.norm(m, axis=0) for m in (found, known()[1]))
    return np.degrees(np.arccos(np.clip((a * b).sum(0), -1, 1)))


# -- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_descend__finds_the_spectra(loss):
    fit = fitted(loss=loss)
    assert fit.converged
    assert not fit.interrupted
    assert (angles(fit.loadings) < 3).all()
    assert (angles(start()) > 10).all()


@pytest.mark.slow
def test_descend__deviance_is_that_of_the_model():
    counts, spectra = known()
    fit = descend(split_rows(counts.reshape(-1, 60), 4), start(), "poisson", tol=0, max_iter=30)
    rows = counts.reshape(-1, 60).astype(float)
    model = project_block(split_rows(rows, 1).blocks[0], fit.loadings, "poisson") @ fit.loadings.T
    logs = rows * np.log(np.where(rows, rows / model, 1))
    assert fit.deviance == pytest.approx(2 * (logs - rows + model).sum(), rel=1e-4)


def test_descend__looser_tolerance_stops_sooner():
    assert fitted(tol=1e-2).iterations < fitted(tol=1e-5).iterations


def test_descend__stops_at_max_iter():
    fit = fitted(max_iter=2)
    assert fit.iterations == 2
    assert not fit.converged


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_descend__fixed_components_stay(loss):
    fit = fitted(loss=loss, fixed=np.array([True, False, False]))
    np.testing.assert_array_equal(fit.loadings[:, 0], start()[:, 0])
    assert (angles(fit.loadings)[1:] < angles(start())[1:]).all()


# -- the same, however it is done ----------------------------------------------------------------


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
@pytest.mark.parametrize("chunk", [(7, 40), (13, 11), (1, 40)])
def test_descend__is_the_same_for_any_chunks(chunk, loss):
    found, expected = fitted(chunk, loss), fitted(loss=loss)
    assert largest_change(found.loadings, expected.loadings) < 1e-5
    assert found.deviance == pytest.approx(expected.deviance, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
@pytest.mark.parametrize("stream", [False, True])
def test_descend__is_the_same_on_any_scheduler(scheduler, stream):
    expected = fitted((36, 20), max_iter=2)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        found = fitted((36, 20), stream=stream, max_iter=2)
    assert largest_change(found.loadings, expected.loadings) < 1e-5


@pytest.mark.slow
def test_descend__is_the_same_on_a_cluster(workers):
    from distributed import Client

    expected = fitted((20, 20))
    with Client(workers):
        assert cluster() is not None
        for stream in (False, True):
            found = fitted((20, 20), stream=stream)
            assert largest_change(found.loadings, expected.loadings) < 1e-5
        with dask.config.set(scheduler="threads"):
            assert cluster() is None


# -- progress and interruption -------------------------------------------------------------------


def test_descend__tells_each_step():
    told: list[tuple[int, float]] = []
    fit = fitted(on_step=lambda *step: told.append(step))
    assert [i for i, _ in told] == list(range(1, fit.iterations + 1))
    assert (np.diff([d for _, d in told]) <= 0).all()
    assert told[-1][1] == fit.deviance


@pytest.mark.parametrize("stream", [False, True])
def test_descend__interrupted_in_a_sweep_keeps_the_best(monkeypatch, stream):
    from eds_xr.factorisation.solver import descent

    sweep, done = descent._sweep, []

    def interrupted(*arguments):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return sweep(*arguments)

    expected = fitted(max_iter=2)
    monkeypatch.setattr(descent, "_sweep", interrupted)
    fit = fitted(stream=stream)
    assert fit.interrupted
    assert not fit.converged
    assert fit.iterations == 2
    assert largest_change(fit.loadings, expected.loadings) < 1e-5


def test_descend__interrupted_at_once_gives_the_start():
    def stop(*arguments):
        raise KeyboardInterrupt

    rows = split_rows(known()[0].reshape(-1, 60), 2)
    rows = rows._replace(blocks=[dask.delayed(stop)()])
    with dask.config.set(scheduler="synchronous"):
        fit = descend(rows, start(), "poisson", tol=1e-5, max_iter=5)
    assert fit.interrupted
    assert fit.deviance == np.inf
    np.testing.assert_array_equal(fit.loadings, start())


# -- project_block -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_project_block__of_an_empty_pixel_is_zero(loss):
    rows = known()[0].reshape(-1, 60)[:5].copy()
    rows[2] = 0
    scores = project_block(split_rows(rows, 1).blocks[0], start(), loss)
    assert (scores[2] == 0).all()
    assert np.isfinite(scores).all()


def test_project_block__takes_equal_loadings():
    rows = known()[0].reshape(-1, 60)[:5]
    same = np.repeat(start()[:, :1], 3, axis=1)
    scores = project_block(split_rows(rows, 1).blocks[0], same, "poisson")
    np.testing.assert_allclose(scores.sum(1), rows.sum(1), rtol=1e-3)
