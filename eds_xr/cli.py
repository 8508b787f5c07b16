"""The command ``eds-xr``."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eds_xr.app import commands
from eds_xr.schema import EdsError

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # coloured boxes around the help would take four fifths of its time
    help="STEM-EDS spectrum images to quantified phases, out of core.",
)

OVERWRITE = Annotated[bool, typer.Option(help="Replace an existing store.")]


def main() -> None:
    """Run the command; what a user can mend ends in one line, not in a traceback."""
    _end_on_signals()
    try:
        app(standalone_mode=True)
    except EdsError as error:
        print(f"eds-xr: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does: what is half written is removed."""
    ends = [s for name in ("SIGTERM", "SIGHUP") if (s := getattr(signal, name, None)) is not None]

    def end(number: int, _: object) -> None:
        for one in ends:  # a second one shall not interrupt the removal
            signal.signal(one, signal.SIG_IGN)
        if not told:
            print(f"eds-xr: stopped by {signal.Signals(number).name}", file=sys.stderr)
            told.append(number)
        raise SystemExit(128 + number)

    def end_again(lost: sys.UnraisableHookArgs) -> None:
        """Repeat what was raised within a callback of the garbage collector, which swallows it."""
        if not (told and isinstance(lost.exc_value, SystemExit)):
            sys.__unraisablehook__(lost)
            return
        signal.signal(told[0], end)
        threading.Timer(0.02, os.kill, (os.getpid(), told[0])).start()

    told: list[int] = []
    sys.unraisablehook = end_again
    for one in ends:
        if signal.getsignal(one) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(one, end)


@app.command()
def reproduce(
    sample: Annotated[str, typer.Option(help="71GPa, 88GPa or simulated.")] = "71GPa",
    file: Annotated[Path | None, typer.Option(help="A spectrum image of your own.")] = None,
    archive: Annotated[
        Path | None, typer.Option(help="The published archive, where there is no network.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for figures and numbers.")] = Path(
        "eds_xr_results"
    ),
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
) -> None:
    """Repeat the deep-mantle study: figures, spectra, compositions."""
    from eds_xr.analysis.deep_mantle import reproduce as deep_mantle
    from eds_xr.report.terminal import print_analysis

    started = time.perf_counter()
    steps = _Steps(total=deep_mantle.number_of_steps(sample, file))
    found = deep_mantle.reproduce(
        out, sample=sample, file=file, archive=archive, seed=seed, say=steps
    )
    print_analysis(found.tree)
    print(f"{out.resolve()}: {', '.join(deep_mantle.RESULTS)}")
    print(f"done in {time.perf_counter() - started:.0f} s")


@app.command()
def analyse(
    files: Annotated[list[str], typer.Argument(help="Vendor files or Zarr stores; or URLs.")],
    recipe: Annotated[
        Path | None, typer.Option(help="TOML file of choices; what it leaves out is found.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder; each map gets one of its own in it.")] = Path(
        "eds_xr_results"
    ),
    seed: Annotated[
        int | None, typer.Option(help="Of all chance, instead of the recipe's.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace results of earlier analyses.")] = False,
) -> None:
    """Analyse maps of any sample: phases, spectra, compositions."""
    from dataclasses import replace

    from eds_xr.analysis import files as analysed
    from eds_xr.analysis.recipe import Recipe, read_recipe
    from eds_xr.report.terminal import print_analysis

    chosen = Recipe() if recipe is None else read_recipe(recipe)
    chosen = chosen if seed is None else replace(chosen, seed=seed)
    compositions, failed = {}, 0
    maps = analysed.analyse_files(files, out, recipe=chosen, overwrite=overwrite, say=_Steps())
    for name, found in maps:
        print(f"{name}:")
        if isinstance(found, EdsError):
            print(f"eds-xr: {found}", file=sys.stderr)
            failed += 1
            continue
        tree = analysed.open_analysis(found)
        print_analysis(tree)
        print(found.resolve())
        if "composition" in tree.children:
            compositions[name] = tree["composition"].to_dataset()
    if len(files) > 1 and compositions:
        print(analysed.write_comparison(compositions, out, overwrite=overwrite))
    if failed:
        raise EdsError(f"{failed} of {len(files)} maps could not be analysed, see above")


@app.command()
def replay(
    result: Annotated[str, typer.Argument(help="What analyse wrote; or a saved spectrum image.")],
    source: Annotated[
        str | None, typer.Option(help="Where the file that it was made from is now.")
    ] = None,
) -> None:
    """Make a result again; tell which step first differs."""
    from eds_xr.analysis import replay as replaying

    first = ""
    for done in replaying.replay(result, source=source):
        print(f"{done.step}: {done.difference or 'the same'}", flush=True)
        first = first or (done.step if done.difference else "")
    if first:
        raise EdsError(f"{result} is not repeated: {first} is the first step that differs")


app.command()(commands.explore)
app.command()(commands.label)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Vendor file.")],
    store: Annotated[str | None, typer.Argument(help="Zarr store to write; or a URL.")] = None,
    signal: Annotated[str | None, typer.Option(help="Which signal of the file.")] = None,
    frames: Annotated[
        str | None, typer.Option(help="Passes to sum: 0:100 (start:stop), 7, or 1,4,7.")
    ] = None,
    keep_frames: Annotated[bool, typer.Option(help="Keep the frames, do not sum them.")] = False,
    align: Annotated[bool, typer.Option(help="Correct the drift between the frames.")] = False,
    detectors: Annotated[
        str | None, typer.Option(help="Of several: sum, or apart (along detector).")
    ] = None,
    pyramid: Annotated[bool, typer.Option(help="Write sums of 2, 4 and 8 pixels a side.")] = False,
    overwrite: OVERWRITE = False,
) -> None:
    """Convert a vendor file to a Zarr store, block by block."""
    from eds_xr.store import conversion

    done = conversion.convert(
        source,
        store,
        signal=signal,
        frames=None if frames is None else _frames(frames),
        keep_frames=keep_frames,
        align=align,
        detectors=detectors,
        pyramid=pyramid,
        overwrite=overwrite,
    )
    print(done)


@app.command()
def info(
    source: Annotated[Path, typer.Argument(help="Vendor file or Zarr store.")],
    counts: Annotated[
        bool | None, typer.Option(help="Add up the counts (by default where it takes seconds).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a file holds, without loading it."""
    from eds_xr.store import conversion

    found = conversion.info(source, counts=counts)
    if as_json:
        print(json.dumps(found, indent=1, default=str))
    else:
        _show(found["spectrum_images"])


@app.command()
def simulate(
    store: Annotated[Path, typer.Argument(help="Zarr store to write.")],
    shape: Annotated[tuple[int, int, int], typer.Option(help="y, x, energy.")] = (256, 256, 2048),
    dose: Annotated[float, typer.Option(help="Counts per pixel of the matrix.")] = 180.0,
    seed: Annotated[int, typer.Option(help="Of grains and counts.")] = 0,
    overwrite: OVERWRITE = False,
) -> None:
    """Simulate an assemblage of any size with a known truth."""
    from eds_xr.samples import simulate as simulation
    from eds_xr.store import saving

    image = simulation.spectrum_image(shape, dose, seed=seed)
    print(saving.save(image, store, overwrite=overwrite))


@app.command()
def quantify(
    store: Annotated[str, typer.Argument(help="Zarr store of a spectrum image; or a URL.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Phases: a label image (.zarr, .tif, .png), or ImageJ's .roi or .zip."),
    ] = None,
    elements: Annotated[
        str, typer.Option(help="Of the sample: Mg,Si,Fe. By default those the store names.")
    ] = "",
    stray: Annotated[str, typer.Option(help="Of the grid and the microscope: Cu,Ga.")] = "",
    lines: Annotated[str, typer.Option(help="Lines instead of the main ones: Fe_Ka,U_Ma.")] = "",
    k_factors: Annotated[
        Path | None, typer.Option(help="CSV with element, line, k, standard_deviation.")
    ] = None,
    detector: Annotated[str, typer.Option(help="window_nm=300,...; or CSV of efficiency.")] = "",
    oxygen: Annotated[
        str, typer.Option(help="measured (or left out), or by stoichiometry.")
    ] = "measured",
    thickness: Annotated[
        str | None,
        typer.Option(help="charge_balance: as thick as makes the charges of all ions balance."),
    ] = None,
    valences: Annotated[str, typer.Option(help="Charges other than the usual: Fe=3,S=-2.")] = "",
    range_kev: Annotated[
        str, typer.Option(help="Of the fit: 0.4:12.5 takes in O. By default 0.7:12.5.")
    ] = "",
    thickness_nm: Annotated[float | None, typer.Option(help="For absorption.")] = None,
    density_g_cm3: Annotated[float | None, typer.Option(help="For absorption.")] = None,
    take_off_angle_deg: Annotated[
        float | None, typer.Option(help="Of the detector above the film, likewise.")
    ] = None,
    hole: Annotated[
        str | None, typer.Option(help="Recorded in the hole or on the support: subtracted.")
    ] = None,
    hole_scale: Annotated[
        str, typer.Option(help="dose (live time, current), or a line of the grid alone: Cu_Ka.")
    ] = "dose",
    beam_energy_kev: Annotated[
        float | None, typer.Option(help="Of the recording, where the store does not tell it.")
    ] = None,
    assume_thin_film: Annotated[
        bool, typer.Option(help="Take it for a thin film, although an SEM, or below 40 keV.")
    ] = False,
    half: Annotated[
        int | None,
        typer.Option(help="Labels were made on the first of hold_out('half', seed=HALF)."),
    ] = None,
    weight: Annotated[bool, typer.Option(help="Print weight per cent, not atomic.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write all numbers there.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing CSV file.")] = False,
) -> None:
    """Quantify the phases of a labelled spectrum image."""
    from eds_xr.analysis.labelled_spectra import fitted, labelled_spectra, without_hole
    from eds_xr.composition.k_factors.factors import read_k_factors
    from eds_xr.composition.quantify import quantify as to_composition
    from eds_xr.composition.recording.thin_film import with_beam
    from eds_xr.composition.valences import valences_from_text
    from eds_xr.places import check_free
    from eds_xr.report import tables
    from eds_xr.report.terminal import print_table
    from eds_xr.xray.own_detector import detector_from_text, with_detector

    if csv is not None:
        check_free(csv, overwrite=overwrite)  # before the work, too
    table = None if k_factors is None else read_k_factors(k_factors)
    spectra = with_beam(labelled_spectra(store, labels, half), beam_energy_kev)
    if detector:
        spectra = with_detector(spectra, detector_from_text(detector))
    named, others = _names(elements), _names(stray)
    if hole is not None:
        spectra = without_hole(spectra, hole, hole_scale, [*named, *others])
    with _warnings_printed():
        net = fitted(spectra, named, others, _names(lines), _range_kev(range_kev))
        found = to_composition(
            net, table, oxygen=oxygen, thickness_nm=thickness_nm, density_g_cm3=density_g_cm3,
            thickness=thickness, valences=valences_from_text(valences),
            take_off_angle_deg=take_off_angle_deg, assume_thin_film=assume_thin_film,
        )  # fmt: skip
    print_table(found, "weight_fraction" if weight else "atomic_fraction")
    if csv is not None:
        print(tables.write_csv(found, csv, overwrite=overwrite))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _range_kev(text: str) -> tuple[float, float]:
    """Return the energies that ``0.4:12.5`` tells; by default those of fits."""
    from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV

    if not text:
        return FIT_RANGE_KEV
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError:
        raise EdsError(f"--range-kev must be two energies, 0.4:12.5; found {text!r}") from None
    return low, high


@contextmanager
def _warnings_printed() -> Iterator[None]:
    """Print what is warned of inside the ``with`` block."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        print(f"warning: {warning.message}")


def _frames(text: str) -> slice | list[int]:
    """Return which frames are meant by ``0:100``, ``7`` or ``1,4,7``."""
    try:
        if ":" in text:
            return slice(*(int(part) if part else None for part in text.split(":")))
        return [int(part) for part in text.split(",")]
    except (ValueError, TypeError):
        raise EdsError(
            f"--frames must be start:stop (or start:stop:step), a number, or numbers with commas; "
            f"found {text!r}"
        ) from None


class _Steps:
    """Print each step with its number (of a total that is known) and the time since the last."""

    def __init__(self, total: int | None = None) -> None:
        self.done, self.since = 0, time.perf_counter()
        self.of = "" if total is None else f"/{total}"

    def __call__(self, message: str) -> None:
        now = time.perf_counter()
        self.done += 1
        print(f"[{self.done:2d}{self.of}] {now - self.since:5.1f} s  {message}", flush=True)
        self.since = now


def _show(images: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from eds_xr.readers.summary import as_lines

    for image in images:
        table = Table(title=image["name"], title_justify="left", show_header=False, box=None)
        for what, how_much in as_lines(image):
            table.add_row(what, how_much)
        Console().print(table)
    if len(images) > 1:
        print("choose one with eds-xr convert --signal NAME")


if __name__ == "__main__":
    main()
