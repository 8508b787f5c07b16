"""Small whole files of each format, to be mutated."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from fuzzing import Seed
from makers import bruker, jeol, velox
from makers.edax import write_edax
from makers.gatan import write_gatan
from makers.lispix import write_lispix
from makers.tia import write_emi, write_image_ser, write_ser
from makers.zspy import write_zspy

COUNTS = np.random.default_rng(1).poisson(0.3, (7, 5, 32)).astype(np.uint16)
LENGTH = {"name": "y", "offset": 0.0, "scale": 2.0, "units": "nm", "navigate": True}
ENERGY = {"name": "Energy", "offset": -0.1, "scale": 0.01, "units": "keV", "navigate": False}
AXES = [LENGTH, LENGTH, ENERGY]


def write_hspy(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3")
        group = file.create_group("Experiments/EDX")
        group.create_dataset("data", data=COUNTS, chunks=(3, 5, 32), compression="gzip")
        for i, axis in enumerate(AXES):
            group.create_group(f"axis-{i}").attrs.update(size=COUNTS.shape[i], **axis)
        group.create_group("metadata/Signal").attrs["signal_type"] = "EDS_TEM"
        group.create_group("original_metadata/Vendor").attrs["shift"] = np.arange(3)


def write_npy(path: Path) -> None:
    np.save(path, COUNTS)
    path.with_suffix(".json").write_text('{"energy_offset_kev": -0.2, "energy_step_kev": 0.01}')


def write_netcdf(path: Path) -> None:
    import xarray as xr

    coords = {"energy": ("energy", 0.01 * np.arange(32), {"units": "keV"})}
    image = xr.DataArray(COUNTS, coords, ("y", "x", "energy"), name="counts")
    image.to_netcdf(path, engine="h5netcdf", encoding={"counts": {"chunksizes": (3, 5, 32)}})


def write_tia(path: Path) -> None:
    write_ser(path.with_name("map_1.ser"), COUNTS)
    write_image_ser(path.with_name("map_2.ser"), COUNTS[..., 0])
    write_emi(path, objects=2)


def write_bcf(path: Path, *, packed: bool = False) -> None:
    bruker.write_bruker(path, bruker.pack_lines(COUNTS), COUNTS.shape, packed=packed)


def write_emd(path: Path) -> None:
    streams = {"SuperXG21": [velox.frame_words(COUNTS), velox.frame_words(COUNTS)]}
    velox.write_velox(path, streams, COUNTS.shape, detectors=tuple(streams), chunk=64)


def write_pts(path: Path) -> None:
    counts = np.random.default_rng(1).poisson(0.01, (8, 8, jeol.CHANNELS)).astype(np.uint8)
    jeol.write_pts(path, [jeol.frame_words(counts)] * 2, (8, 8), sweeps=2)


SEEDS: dict[str, Callable[[], Seed]] = {
    "hspy": lambda: Seed.of("hspy", write_hspy, "map.hspy"),
    "zspy": lambda: Seed.of("zspy", lambda p: write_zspy(p, {"E": (COUNTS, AXES)}), "map.zspy"),
    "zspy_zip": lambda: Seed.of(
        "zspy_zip", lambda p: write_zspy(p, {"E": (COUNTS, AXES)}, as_zip=True), "map.zspy"
    ),
    "bcf": lambda: Seed.of("bcf", write_bcf, "map.bcf"),
    "bcf_zlib": lambda: Seed.of("bcf_zlib", lambda p: write_bcf(p, packed=True), "map.bcf"),
    "emd": lambda: Seed.of("emd", write_emd, "map.emd"),
    "pts": lambda: Seed.of("pts", write_pts, "map.pts"),
    "rpl": lambda: Seed.of("rpl", lambda p: write_lispix(p, COUNTS, ev_per_chan=10), "map.rpl"),
    "npy": lambda: Seed.of("npy", write_npy, "map.npy"),
    "netcdf": lambda: Seed.of("netcdf", write_netcdf, "map.nc"),
    "spd": lambda: Seed.of("spd", lambda p: write_edax(p, COUNTS), "map.spd"),
    "ser": lambda: Seed.of("ser", write_tia, "map.emi"),
    "dm3": lambda: Seed.of("dm3", lambda p: write_gatan(p, COUNTS), "map.dm3"),
    "dm4": lambda: Seed.of("dm4", lambda p: write_gatan(p, COUNTS), "map.dm4"),
}
