"""A chain on S3-compatible storage over HTTP, with a scheduler and workers started as users do."""

import os
import sys

import numpy as np
import pytest
import xarray as xr
from distributed import Client
from support import processes
from support.packages import needs
from support.traffic import recorded

import eds_xr
from eds_xr import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of moto, botocore and sockets that others leave open
    needs("s3", "moto", "flask_cors", "s3fs"),
]
LINES = {"elements": ["Mg", "Si", "Ca", "Fe"], "stray": ["Cu"], "range_kev": (0.9, 9.0)}


def _results(image: xr.DataArray) -> dict[str, xr.Dataset]:
    """Return what the chain makes of an image."""
    factors = eds_xr.nmf(image, 3, max_iter=10, seed=0)
    found = eds_xr.segment(image, channels=factors)
    return {
        "factors": factors,
        "segmentation": found,
        "spectra": eds_xr.sum_spectra(image, found.present),
        "maps": eds_xr.fitted_maps(image, **LINES),
    }


def test_chain__on_s3_with_workers_started_as_users_do(tmp_path, write_hspy, monkeypatch):
    made = simulate.spectrum_image(shape=(72, 80, 1024), dose=300.0, seed=7).compute()
    step = float(made.energy[1] - made.energy[0])
    axes = [
        {"name": "y", "scale": 2.0, "offset": 0.0, "units": "nm", "navigate": True},
        {"name": "x", "scale": 2.0, "offset": 0.0, "units": "nm", "navigate": True},
        {"name": "Energy", "scale": step, "offset": float(made.energy[0]), "units": "keV",
         "navigate": False},
    ]  # fmt: skip
    source = write_hspy(tmp_path / "map.hspy", {"EDS": (made.values, axes)})
    with processes.s3_server(tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("maps")
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        with (
            processes.started_cluster(tmp_path, workers=2, env=env | paths) as file,
            Client(scheduler_file=file) as client,
        ):
            client.wait_for_workers(2)
            store = eds_xr.convert(source, "s3://maps/map.zarr")
            image = eds_xr.open("s3://maps/map.zarr").chunk(y=24, x=40)
            with recorded(client) as traffic:
                results = _results(image)
            saved = image.eds.rebin(y=2, x=2).eds.save("s3://maps/binned.zarr")
            binned = eds_xr.open("s3://maps/binned.zarr").compute()
            found = {name: one.compute() for name, one in results.items()}
        assert str(store) == "s3://maps/map.zarr"
        assert str(saved) == "s3://maps/binned.zarr"
        np.testing.assert_array_equal(binned, made.coarsen(y=2, x=2).sum())
        assert sum(traffic.tasks.values()) > 0
    here = _results(eds_xr.open(eds_xr.convert(source, tmp_path / "map.zarr")).chunk(y=24, x=40))
    for name, one in found.items():
        xr.testing.assert_allclose(one, here[name].compute(), rtol=1e-4, atol=1e-6)
    xr.testing.assert_equal(found["segmentation"].present, here["segmentation"].present)
