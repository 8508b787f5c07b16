"""First picture of a store of 34 GB, with and without stored sums of pixels.

    python tests/benchmarks/bench_first_picture.py [FOLDER]

The store is declared at its full size. Its sums of 8 x 8 pixels are all there, 1 GiB decoded; of
the image itself one chunk in a hundred, as the others would be read in the same way.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

import eds_xr
from eds_xr.app.pictures.channel import Channel, counts, of_image
from eds_xr.app.pictures.drawing import Cache, Picture, Window, draw
from eds_xr.app.pictures.worker import Job
from eds_xr.chunks import chunk_shape

SIDE, CHANNELS = 8192, 256


def array(group: zarr.Group, side: int, dtype: str, share: float) -> None:
    """Write the counts of a level: one chunk of counts, again and again."""
    shape = (side, side, CHANNELS)
    chunks = chunk_shape(shape, dtype)
    found = group.create_array(
        "counts", shape=shape, chunks=chunks, dtype=dtype, dimension_names=("y", "x", "energy")
    )
    rng = np.random.default_rng(0)
    mean = 2 * np.exp(-np.arange(CHANNELS) / 90) * (SIDE // side) ** 2 / 10
    block = rng.poisson(mean, chunks).astype(dtype)
    first = [slice(0, n) for n in chunks]
    found[tuple(first)] = block
    store = Path(str(group.store.root)) / group.path / "counts" / "c"
    written = (store / "0" / "0" / "0").read_bytes()
    for i in range(-(-side // chunks[0])):
        for j in range(-(-side // chunks[1])):
            if rng.random() < share:
                (store / str(i) / str(j)).mkdir(parents=True, exist_ok=True)
                (store / str(i) / str(j) / "0").write_bytes(written)
    energy = group.create_array(
        "energy", data=np.linspace(0.1, 10, CHANNELS), dimension_names=("energy",)
    )
    energy.attrs["units"] = "keV"
    for name in ("y", "x"):
        axis = group.create_array(
            name, data=np.arange(side) * (SIDE / side), dimension_names=(name,)
        )
        axis.attrs["units"] = "nm"


def write(store: Path, *, pyramid: bool) -> None:
    root = zarr.create_group(store)
    array(root, SIDE, "uint16", 0.01)
    if pyramid:
        root.attrs["multiscales"] = [{"name": "counts", "type": "sum"}]
        for factor in (2, 4, 8):
            group = root.create_group(f"pyramid/{factor}")
            array(group, SIDE // factor, "uint32", 1.0 if factor == 8 else 0.01)
    zarr.consolidate_metadata(store)


def timed(channel: Channel, seen: Window, cache: Cache) -> tuple[float, float, float]:
    """Return seconds to the first picture, the part of it that was done, and seconds to all."""
    first: list[tuple[float, float]] = []
    start = time.perf_counter()

    def show(picture: Picture) -> None:
        first.append((time.perf_counter() - start, picture.done))

    picture = draw(channel, seen, Job(), cache, show)
    show(picture)
    return (*first[0], time.perf_counter() - start)


def main(folder: Path) -> None:
    for pyramid in (True, False):
        store = folder / f"pyramid_{pyramid}.zarr"
        if not store.exists():
            write(store, pyramid=pyramid)
        start = time.perf_counter()
        image = eds_xr.open(store)
        opened = time.perf_counter() - start
        print(f"{image.nbytes / 1e9:.0f} GB, pyramid: {pyramid}; opened in {opened:.2f} s")
        maps = [
            counts(image),
            of_image("Si_Ka", image, lambda part: eds_xr.element_map(part, "Si_Ka")),
        ]
        for channel in maps:
            cache = Cache()
            for what, seen in (
                ("whole", Window(0, 0, SIDE, SIDE)),
                ("whole again", Window(0, 0, SIDE, SIDE)),
                ("500 x 500", Window(3000, 3000, 3500, 3500)),
            ):
                first, done, all_of_it = timed(channel, seen, cache)
                print(
                    f"  {channel.name:7} {what:12} first picture {first:6.2f} s ({done:.0%}), "
                    f"all {all_of_it:6.2f} s"
                )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
