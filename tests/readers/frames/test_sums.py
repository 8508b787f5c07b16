"""Frames of a recording: chosen, summed, kept, and brought back from their drift."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from eds_xr import readers, store
from eds_xr.provenance import history
from eds_xr.readers.frames import drift
from eds_xr.readers.frames.sums import summed, with_frames
from eds_xr.readers.protocol import Axis, Recording, row_regions
from eds_xr.schema import EdsError


class ArrayFrames:
    """Frames of an array [frame, y, x, energy]."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.number, self.shape = values, len(values), values.shape[1:]

    def counts(self, frame: int) -> np.ndarray:
        return self.values[frame].sum(axis=-1, dtype=np.uint64)

    def add(self, frame: int, rows: slice, out: np.ndarray) -> None:
        assert out.flags.c_contiguous  # what compiled readers may rely on
        assert out.shape[0] == rows.stop - rows.start
        out += self.values[frame, rows].astype(out.dtype)


def opener(values: np.ndarray) -> Any:
    @contextmanager
    def opened() -> Iterator[ArrayFrames]:
        yield ArrayFrames(values)

    return opened


def axes(names: str, shape: tuple[int, ...]) -> tuple[Axis, ...]:
    full = {"f": "frame", "y": "y", "x": "x", "e": "energy"}
    units = {"f": "1", "y": "nm", "x": "nm", "e": "keV"}
    return tuple(
        Axis(full[n], np.arange(float(size)), units[n], full[n])
        for n, size in zip(names, shape, strict=True)
    )


def stream(values: np.ndarray, **attrs: Any) -> Recording:
    """Return a recording whose frames a reader sums."""
    fullest = values.sum(axis=(0, -1), dtype=np.uint64).max()
    dtype, shape = np.min_scalar_type(fullest), values.shape[1:]
    return Recording(
        "EDS",
        axes("yxe", shape),
        dtype,
        lambda rows: summed(opener(values), shape, dtype, rows),
        attrs=attrs,
        open_frames=opener(values),
    )


def stack(values: np.ndarray, **attrs: Any) -> Recording:
    """Return a recording with the frames as a dimension of its array."""

    def blocks(rows: int) -> Iterator[np.ndarray]:
        for region in row_regions(values.shape, rows):
            yield values[region].copy()

    return Recording("EDS", axes("fyxe", values.shape), values.dtype, blocks, attrs=attrs)


BOTH = pytest.mark.parametrize("recorded", [stream, stack])


def whole(recording: Recording, rows: int = 5) -> np.ndarray:
    out = np.zeros(recording.shape, recording.dtype)
    regions = row_regions(recording.shape, rows)
    for region, block in zip(regions, recording.row_blocks(rows), strict=True):
        assert block.dtype == recording.dtype
        out[region] = block
    return out


def poisson(shape: tuple[int, ...], mean: float = 0.4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, shape).astype(np.uint8)


COUNTS = poisson((6, 11, 7, 16))
SELECTIONS = st.one_of(
    st.slices(6),
    st.integers(-6, 5),
    st.lists(st.integers(0, 5), unique=True, min_size=1),
).filter(lambda c: not isinstance(c, slice) or len(range(6)[c]) > 0)


def drifting(
    moves: np.ndarray, shape: tuple[int, int], mean: float, seed: int = 0, channels: int = 4
) -> np.ndarray:
    """Return frames [frame, y, x, energy] of a scene that has moved by whole pixels."""
    rng = np.random.default_rng(seed)
    margin = int(np.abs(moves).max(initial=0)) + 1
    grains = gaussian_filter(rng.normal(size=[n + 2 * margin for n in shape]), 3)
    scene = np.clip(1 + 0.5 * grains / grains.std(), 0.05, None) * mean / channels
    frames = [
        scene[margin - y : margin - y + shape[0], margin - x : margin - x + shape[1]]
        for y, x in moves
    ]
    return rng.poisson(np.repeat(np.array(frames)[..., None], channels, axis=-1)).astype("u1")


# --- sums --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), unique=True), st.integers(1, 12))
def test_summed__equals_numpy(chosen: list[int], rows: int) -> None:
    shape, dtype = COUNTS.shape[1:], np.dtype("u2")
    blocks = list(summed(opener(COUNTS), shape, dtype, rows, chosen or None))
    assert all(len(block) <= rows for block in blocks)
    expected = COUNTS[chosen or slice(None)].sum(axis=0, dtype="u2")
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize(
    ("each", "frames", "dtype"),
    [(1, 255, "u1"), (1, 256, "u2"), (255, 257, "u2"), (255, 258, "u4")],
)
def test_with_frames__dtype_holds_the_fullest_pixel(each: int, frames: int, dtype: str) -> None:
    values = np.zeros((frames, 2, 2, 3), "u1")
    values[:, 1, 0, 2] = each
    for chosen, expected in ((slice(None), dtype), ([0], "u1")):
        with with_frames(stream(values), chosen) as recording:
            assert recording.dtype == expected
    assert whole(stream(values)).max() == each * frames


# --- chosen and kept ---------------------------------------------------------------------------


@BOTH
@settings(max_examples=40)
@given(chosen=SELECTIONS, rows=st.integers(1, 12))
def test_with_frames__sum_of_chosen_equals_numpy(recorded: Any, chosen: Any, rows: int) -> None:
    index = chosen if isinstance(chosen, slice | list) else [chosen]
    with with_frames(recorded(COUNTS), chosen) as recording:
        assert recording.dims == ("y", "x", "energy")
        np.testing.assert_array_equal(whole(recording, rows), COUNTS[index].sum(axis=0))


@BOTH
def test_with_frames__kept(recorded: Any) -> None:
    with with_frames(recorded(COUNTS), slice(1, None, 2), keep_frames=True) as recording:
        assert recording.dims == ("frame", "y", "x", "energy")
        assert recording.dtype == np.uint8
        np.testing.assert_array_equal(recording.axes[0].values, [1, 3, 5])
        np.testing.assert_array_equal(whole(recording), COUNTS[1::2])


def test_with_frames__no_choice_leaves_the_recording_as_it_is() -> None:
    for recording in (stream(COUNTS), stack(COUNTS)):
        with with_frames(recording) as same:
            assert same is recording
    with with_frames(stack(COUNTS), keep_frames=True) as same:
        np.testing.assert_array_equal(whole(same), COUNTS)


def test_with_frames__times_are_those_of_the_chosen_frames() -> None:
    with with_frames(stream(COUNTS, live_time_s=12.0), slice(0, 3)) as recording:
        assert recording.attrs["live_time_s"] == 6.0
        (step,) = [h for h in map(str, recording.attrs["history"]) if '"frames"' in h]
        assert '"chosen": "0:3:1"' in step
        assert '"of": 6' in step


def test_with_frames__each_pixel_has_the_time_of_the_frames_that_cover_it():
    counts = np.random.default_rng(0).poisson(3.0, (4, 6, 7, 8)).astype(np.uint16)
    with with_frames(stream(counts, live_time_s=84.0), align=True) as recording:
        coverage, time = (recording.images[n] for n in ("coverage", "live_time_s"))
        np.testing.assert_allclose(time, coverage * (84.0 / 42 / 4), rtol=1e-6)


def test_with_frames__signed_values_of_a_stack() -> None:
    losses = COUNTS.astype("i2") * 3000 - 9000
    with with_frames(stack(losses), slice(None)) as recording:
        assert recording.dtype == np.int32
        np.testing.assert_array_equal(whole(recording), losses.sum(axis=0))


def test_with_frames__floats_of_a_stack() -> None:
    values = COUNTS.astype("f4") / 4
    with with_frames(stack(values), [0, 5]) as recording:
        np.testing.assert_allclose(whole(recording), values[[0, 5]].sum(axis=0))


@BOTH
@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (6, "not all there: found 6 frames, from 0 to 5"),
        ([0, -7], "not all there"),
        (slice(3, 3), "chooses none of the 6 frames"),
        ([], "chooses none"),
        ([1, 1], "names a frame twice"),
        ([0.5], "must be a slice or whole numbers"),
        ("1", "must be a slice or whole numbers"),
    ],
)
def test_with_frames__wrong_choice(recorded: Any, chosen: Any, message: str) -> None:
    with pytest.raises(EdsError, match=message), with_frames(recorded(COUNTS), chosen):
        pass


@pytest.mark.parametrize("asked", [{"chosen": 0}, {"align": True}, {"keep_frames": True}])
def test_with_frames__file_without_frames(asked: dict[str, Any]) -> None:
    single = Recording("EDS", axes("yxe", (2, 3, 4)), np.dtype("u1"), lambda rows: iter([]))
    with pytest.raises(EdsError, match="is stored as one image"), with_frames(single, **asked):
        pass


def test_with_frames__file_that_ends_early() -> None:
    short = stack(COUNTS)
    object.__setattr__(short, "row_blocks", lambda rows: iter([]))
    with pytest.raises(EdsError, match="ends before its last frame"), with_frames(short, 0):
        pass


# --- drift -------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(st.data())
def test_estimate__is_within_a_pixel(data: st.DataObject) -> None:
    steps = st.tuples(st.integers(-2, 2), st.integers(-2, 2))
    walk = data.draw(st.lists(steps, min_size=2, max_size=8))
    moves = np.cumsum(walk, axis=0)
    frames = drifting(moves, (48, 56), mean=40, seed=data.draw(st.integers(0, 99)))
    found = drift.estimate(lambda i: frames[i].sum(axis=-1).astype(float), len(moves))
    error = found - moves - np.median(found - moves, axis=0)
    assert np.abs(error).max() <= 1.0  # the field's edges, that do not move, draw a little


def test_estimate__finds_whole_pixels() -> None:
    moves = np.array([[0, 0], [1, 0], [1, -1], [2, -1], [2, -2], [3, -2]])
    frames = drifting(moves, (96, 112), mean=40, seed=5)
    found = drift.estimate(lambda i: frames[i].sum(axis=-1).astype(float), len(moves))
    rounded = np.rint(found).astype(int)
    np.testing.assert_array_equal(rounded - rounded[0], moves - moves[0])


def test_estimate__few_counts() -> None:
    moves = np.stack([np.arange(60) // 8, -(np.arange(60) // 12)], axis=1)
    frames = drifting(moves, (64, 64), mean=0.25, seed=3)  # 1,000 counts a frame
    found = drift.estimate(lambda i: frames[i].sum(axis=-1).astype(float), 60)
    error = found - moves - np.median(found - moves, axis=0)
    assert np.sqrt((error**2).mean()) < 1.0
    assert np.abs(error).max() < 3.5


def test_estimate__nothing_to_see() -> None:
    assert not drift.estimate(lambda i: np.zeros((8, 8)), 3).any()
    assert not drift.estimate(lambda i: np.ones((8, 8)), 1).any()


@BOTH
@pytest.mark.parametrize("keep_frames", [False, True])
def test_with_frames__aligned(recorded: Any, keep_frames: bool) -> None:
    moves = np.array([[0, 0], [1, -2], [3, -3], [4, -6], [2, -4]])
    frames = drifting(moves, (40, 48), mean=40)
    asked = {"align": True, "keep_frames": keep_frames}
    with with_frames(recorded(frames), **asked) as recording:
        image = whole(recording, 7)
    applied = np.array(recording.attrs["drift_applied_px"])
    np.testing.assert_array_equal(applied - applied[0], moves)
    assert np.abs(np.array(recording.attrs["drift_px"]) - applied).max() <= 0.5
    back = np.array([drift.moved(f, -m) for f, m in zip(frames, applied, strict=True)])
    np.testing.assert_array_equal(image, back if keep_frames else back.sum(axis=0))
    lost = recording.attrs["counts_lost_to_drift"]
    assert lost > 0
    assert image.sum(dtype=int) + lost == frames.sum(dtype=int)
    covered = np.array([drift.moved(np.ones((40, 48)), -m) for m in applied]).sum(axis=0)
    np.testing.assert_array_equal(recording.images["coverage"], covered)
    y0, y1, x0, x1 = recording.attrs["covered_by_all_frames_px"]
    assert (covered[y0 : y1 + 1, x0 : x1 + 1] == 5).all()
    assert (covered == 5).sum() == (y1 + 1 - y0) * (x1 + 1 - x0)


def test_with_frames__the_reader_s_own_image_is_used() -> None:
    moves = np.array([[0, 0], [2, 1], [4, 2]])
    bright = drifting(moves, (48, 48), mean=80)
    seen = []

    class WithImage(ArrayFrames):
        def image(self, frame: int) -> np.ndarray:
            seen.append(frame)
            return bright[frame].sum(axis=-1)

    @contextmanager
    def opened() -> Iterator[ArrayFrames]:
        yield WithImage(poisson((3, 48, 48, 4), 0.01))

    recording = stream(poisson((3, 48, 48, 4), 0.01))
    object.__setattr__(recording, "open_frames", opened)
    with with_frames(recording, align=True) as aligned:
        applied = np.array(aligned.attrs["drift_applied_px"])
    assert set(seen) == {0, 1, 2}
    np.testing.assert_array_equal(applied - applied[0], moves)


def test_with_frames__drift_out_of_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    far = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, -30.0], [3.0, 2.0]])
    monkeypatch.setattr(drift, "estimate", lambda image, number: far)
    frames = poisson((4, 11, 7, 16))
    with with_frames(stream(frames), align=True) as recording:
        image = whole(recording, 3)
    assert recording.attrs["covered_by_all_frames_px"] == []
    np.testing.assert_array_equal(image, frames[0] + drift.moved(frames[3], np.array([-3, -2])))
    assert recording.attrs["counts_lost_to_drift"] == frames.sum(dtype=int) - image.sum(dtype=int)


# --- in a store --------------------------------------------------------------------------------


@BOTH
def test_convert__aligned_and_chosen(
    recorded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moves = np.array([[0, 0], [1, -2], [3, -3], [9, 9]])
    frames = drifting(moves, (40, 48), mean=40)
    monkeypatch.setattr(readers, "read", lambda _: [recorded(frames)])
    target = tmp_path / "a.zarr"
    image = store.open(store.convert("a.emd", target, frames=slice(0, 3), align=True))
    assert image.dims == ("y", "x", "energy")
    assert len(image.attrs["drift_px"]) == 3
    assert image.coverage.max() == 3
    steps = {step["step"]: step for step in history(image)}
    assert steps["frames"]["drift_applied_px"] == image.attrs["drift_applied_px"]
    assert int(image.sum()) + image.attrs["counts_lost_to_drift"] == frames[:3].sum(dtype=int)
    store.convert("a.emd", target, frames=[3, 0], keep_frames=True, overwrite=True)
    image = store.open(target)
    np.testing.assert_array_equal(image, frames[[3, 0]])
    np.testing.assert_array_equal(image.frame, [3, 0])
