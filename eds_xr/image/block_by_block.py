"""A function of maps, called on each of their blocks: one task a chunk, one more for each result.

Written with xarray, every step of every quantity is a task of its own on Dask, some fifty a chunk
for a composition. Here a task makes all quantities of a block, with the very code that makes them
of maps in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.workers import task_name


def block_by_block(
    function: Callable[..., xr.Dataset], data: xr.Dataset, pixels: Sequence[str], called: str,
    **maps: Any,
) -> xr.Dataset:  # fmt: skip
    """Return ``function(data, **maps)``.

    Lazy where they have pixels and are; otherwise this is the call itself.

    Parameters
    ----------
    function : callable
        Of pixels that are independent, NumPy in, NumPy out. It is called on one pixel of ones, too,
        for what it makes: dimensions, attributes, and what is the same for all pixels.
    data : Dataset
        What the function needs, no more: all is read.
    pixels : sequence of str
        Dimensions along which it is cut into blocks; all that the function makes of them has these.
    called : str
        What the tasks are called on the dashboard.
    **maps : DataArray, or anything else
        On the grid of `data`.
    """
    given = data.assign({_name_of(n): m for n, m in maps.items() if isinstance(m, xr.DataArray)})
    if not pixels or all(v.chunks is None for v in given.data_vars.values()):
        return function(data, **maps)
    riding = {n: c for n, c in given.coords.items() if {*c.dims} & {*pixels}}
    bare = given.drop_vars(riding)
    lazy = [n for n, v in bare.data_vars.items() if {*v.dims} & {*pixels} or v.chunks is not None]
    large, known = _in_blocks(bare[lazy], pixels), bare.drop_vars(lazy).compute()
    told = {n: None if isinstance(m, xr.DataArray) else m for n, m in maps.items()}
    call = _Call(function, known, {n: (v.dims, v.attrs) for n, v in large.items()}, told)
    ones = [
        np.ones([1 if d in pixels else large.sizes[d] for d in v.dims], v.dtype)
        for v in large.values()
    ]
    like = call.of_blocks(*ones)
    values = _of_blocks(call, large, like, pixels, called)
    made = {n: (v.dims, values.get(n, v.data), v.attrs) for n, v in like.data_vars.items()}
    return xr.Dataset(made, like.coords, like.attrs).assign_coords(riding)


@dataclass(frozen=True)
class _Call:
    """A function with all that it is called with, but for the blocks."""

    function: Callable[..., xr.Dataset]
    known: xr.Dataset  # what has no pixels
    about: Mapping[Hashable, tuple[Any, ...]]  # dimensions and attributes of the blocks, by name
    maps: Mapping[str, Any]

    def of_blocks(self, *blocks: np.ndarray) -> xr.Dataset:
        """Return what the function makes of blocks, NumPy."""
        named = zip(self.about.items(), blocks, strict=True)
        given = self.known.assign({n: (dims, block, attrs) for (n, (dims, attrs)), block in named})
        beside = [n for n in self.maps if _name_of(n) in given]
        maps = {n: given[_name_of(n)].rename(None) for n in beside}
        return self.function(given.drop_vars(map(_name_of, beside)), **{**self.maps, **maps})


def _name_of(name: str) -> str:
    """Return what a map is called beside the variables of the data."""
    return f"map {name}"


def _in_blocks(data: xr.Dataset, pixels: Sequence[str]) -> xr.Dataset:
    """Return variables on Dask, in the same chunks of pixels and whole along all else."""
    return data.chunk({d: -1 for d in data.dims if d not in pixels}).unify_chunks()


def _of_blocks(
    call: _Call, large: xr.Dataset, like: xr.Dataset, pixels: Sequence[str], called: str
) -> dict[Hashable, Any]:
    """Return the variables with pixels that a call makes, by name."""
    import dask.array as da

    index = {d: i for i, d in enumerate((*pixels, *(d for d in large.dims if d not in pixels)))}
    blocks = [x for v in large.values() for x in (v.data, tuple(index[d] for d in v.dims))]
    # along all dimensions, though of one chunk: Dask fuses nothing with what leaves some out
    every = da.blockwise(
        _variables_block, tuple(index.values()), *blocks, call=call, pixels=tuple(pixels),
        concatenate=True, dtype=object, meta=np.empty((0,) * len(index), object),
        align_arrays=False, token=called,
    )  # fmt: skip
    found = {}
    for name, variable in like.data_vars.items():
        if not {*variable.dims} & {*pixels}:
            continue
        own = {d: i for i, d in enumerate(variable.dims, len(index)) if d not in pixels}
        found[name] = da.blockwise(
            _variable_block, tuple((index | own)[d] for d in variable.dims), every,
            tuple(index.values()), name_of=name, dtype=variable.dtype,
            new_axes={i: variable.sizes[d] for d, i in own.items()}, align_arrays=False,
            meta=np.empty((0,) * variable.ndim, variable.dtype), token=called,
        )  # fmt: skip
    return found


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("quantities of a block")
def _variables_block(
    *blocks: np.ndarray, call: _Call, pixels: tuple[str, ...]
) -> dict[Hashable, np.ndarray]:
    """Return all variables with pixels of a block."""
    found = call.of_blocks(*blocks)
    return {n: v.values for n, v in found.data_vars.items() if {*v.dims} & {*pixels}}


@task_name("a quantity of a block")
def _variable_block(variables: Any, name_of: Hashable) -> np.ndarray:
    while isinstance(variables, list):  # of one, for each dimension that is left out
        (variables,) = variables
    found: np.ndarray = variables[name_of]
    return found
