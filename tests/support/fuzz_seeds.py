"""Small whole files of each format, to be mutated; and files that lead to others, or run code."""

import json
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from support.fuzzing import Seed
from support.makers import bruker, jeol, velox
from support.makers.edax import write_edax
from support.makers.gatan import write_gatan
from support.makers.lispix import write_lispix
from support.makers.tia import write_emi, write_image_ser, write_ser
from support.makers.zspy import write_zspy

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


# --- hostile files: each must be refused, and nothing beside it be read, written or run ----------

#: A generator writes a file in a folder, by chance one of its kind, that leads to ``secret.*``
#: beside the folder, or that would make ``harm`` there.
Hostile = Callable[[Path, np.random.Generator], Path]


class Harm:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.mark,)


def _store(folder: Path, rng: np.random.Generator, zarr_format: int) -> Path:
    """Write a store as other software does, consolidated or not, in chunks."""
    import xarray as xr

    coords = {"energy": ("energy", 0.01 * np.arange(32), {"units": "keV"})}
    coords |= {"y": ("y", np.arange(7.0)), "x": ("x", np.arange(5.0))}
    image = xr.DataArray(COUNTS, coords, ("y", "x", "energy")).to_dataset(name="counts")
    encoding = {"counts": {"chunks": (3, 5, 32)}}
    options = {"zarr_format": zarr_format, "consolidated": bool(rng.integers(2))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # format 3 is not consolidated everywhere
        image.to_zarr(folder / "map.zarr", encoding=encoding, **options)
    return folder / "map.zarr"


def _zspy(folder: Path, *, as_zip: bool = False) -> Path:
    return write_zspy(folder / "map.zspy", {"E": (COUNTS, AXES)}, as_zip=as_zip, chunks=(3, 5, 32))


def pickled(folder: Path, rng: np.random.Generator) -> Path:
    """Say that an array, or all of them, is pickled; its chunks are what does harm."""
    path = _zspy(folder) if rng.integers(3) == 0 else _store(folder, rng, 2)
    arrays = [p.parent for p in path.rglob(".zarray") if p.parent.name in ("data", "counts", "y")]
    array = arrays[int(rng.integers(len(arrays)))]
    text, pickle_ = {"id": "vlen-utf8"}, {"id": "pickle"}  # zarr takes the first for the values'
    ways = [([text, pickle_], None), ([text], pickle_), ([text, {"id": "json2"}, pickle_], None)]
    ways += [([pickle_], None), (None, pickle_)]
    filters, compressor = ways[int(rng.integers(len(ways)))]
    said = {"filters": filters, "compressor": compressor}
    said |= {"dtype": "|O"} if rng.integers(4) else {}
    document = array / ".zarray"
    document.write_text(json.dumps({**json.loads(document.read_text()), **said, "fill_value": 0}))
    if (path / ".zmetadata").exists():
        whole = json.loads((path / ".zmetadata").read_text())
        whole["metadata"][f"{array.name}/.zarray"].update(said, fill_value=0)
        (path / ".zmetadata").write_text(json.dumps(whole))
    for chunk in (p for p in array.rglob("*") if p.is_file() and not p.name.startswith(".z")):
        chunk.write_bytes(pickle.dumps(Harm(folder.parent / "harm")))
    return path


def linked_folder(folder: Path, rng: np.random.Generator) -> Path:
    """Put what a reader of a store needs, a file or a folder, outside, and a link in its place."""
    kind = int(rng.integers(4))
    if kind == 3:
        return _linked_zip(folder, rng)
    path = _zspy(folder) if kind == 0 else _store(folder, rng, kind + 1)
    needed = ("data/", "axis-") if kind == 0 else ("counts/", "energy/")
    chunks = [p for p in path.rglob("[0-9]*") if any(n in p.as_posix() for n in needed)]
    chunks += [p for p in path.glob("z*.json") if kind == 2] + [p for p in path.glob(".zgroup")]
    taken = chunks[int(rng.integers(len(chunks)))]
    outside = folder.parent / f"secret{taken.suffix}"
    shutil.move(taken, outside)
    taken.symlink_to(outside if rng.integers(2) else os.path.relpath(outside, taken.parent))
    return path


def _linked_zip(folder: Path, rng: np.random.Generator) -> Path:
    path = _zspy(folder, as_zip=True)
    if rng.integers(2):
        entry = zipfile.ZipInfo("Experiments/E/metadata/link")
        entry.external_attr = 0o120777 << 16
    else:
        entry = zipfile.ZipInfo(("../" * int(rng.integers(1, 4)) or "/") + "secret/.zgroup")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "../../secret")
    return path


def linked_hdf5(folder: Path, rng: np.random.Generator) -> Path:
    """Put values of an HDF5 file, or a group, into another file, in one of HDF5's ways."""
    writers = {".hspy": write_hspy, ".nc": write_netcdf, ".h5": write_netcdf, ".emd": write_emd}
    suffix = list(writers)[int(rng.integers(len(writers)))]
    path, outside = folder / f"map{suffix}", folder.parent / "secret.h5"
    writers[suffix](path)
    with h5py.File(path, "r+") as file:
        groups: list[h5py.Group] = [file]
        file.visititems(lambda _, o: groups.append(o) if isinstance(o, h5py.Group) else None)
        datasets: list[h5py.Dataset] = []
        file.visititems(lambda _, o: datasets.append(o) if isinstance(o, h5py.Dataset) else None)
        with h5py.File(outside, "w") as secret:
            secret["values"] = np.ones(8, np.uint8)
        group = groups[int(rng.integers(len(groups)))]
        name = f"n{int(rng.integers(9))}"
        way = int(rng.integers(4))
        if way == 0:
            group[name] = h5py.ExternalLink(str(outside), "/values" if rng.integers(2) else "/")
        elif way == 1:
            group.create_dataset(name, (8,), "u1", external=[(str(outside), 0, 8)])
        elif way == 2:
            layout = h5py.VirtualLayout((8,), "u1")
            layout[:] = h5py.VirtualSource(str(outside), "values", (8,))
            group.create_virtual_dataset(name, layout)
        else:  # in place of what the reader wants
            plain = [d for d in datasets if d.dtype.kind in "uif" and not d.is_scale]
            wanted = plain[int(rng.integers(len(plain)))].name
            del file[wanted]
            file[wanted] = h5py.ExternalLink("../secret.h5", "/values")
    return path


HOSTILE: dict[str, Hostile] = {
    "pickled": pickled,
    "linked_folder": linked_folder,
    "linked_hdf5": linked_hdf5,
}


def add_user_file(store: Path, rng: np.random.Generator) -> None:
    """Put something of the user's own anywhere in a store."""
    import zarr

    folders = [p for p in [store, *store.rglob("*")] if p.is_dir()]
    place = folders[int(rng.integers(len(folders)))]
    names = (
        "notes.txt",
        "thesis",
        ".hidden",
        "c1",
        "0.tif",
        "1 copy",
        "zarr.json.bak",
        "0.partial",
    )
    name = names[int(rng.integers(len(names)))]
    way = int(rng.integers(4))
    if way == 0:
        (place / name).write_text("years of work")
    elif way == 1:
        (place / "sub" / name).mkdir(parents=True)
        (place / "sub" / name / "0").write_text("years of work")
    elif way == 2:
        (place / name).symlink_to(store.parent)
    else:
        (store / "mine").mkdir()
        zarr.create_array(store / "mine" / "labels", shape=(2,), dtype="u1")[:] = 1
