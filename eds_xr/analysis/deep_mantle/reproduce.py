"""The deep-mantle study from a published or given file to figures, tables and numbers on disk."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path

from eds_xr.analysis.deep_mantle import figures, results, study
from eds_xr.atomic_write import written_file
from eds_xr.report.page.page import write_report
from eds_xr.samples import published, simulate
from eds_xr.schema import EdsError
from eds_xr.store import conversion, opening, saving

#: What is written, besides the store.
RESULTS = (
    "figure1.png",
    "figure2.png",
    "table1.png",
    "tables",
    "spectra.nc",
    "results.json",
    "report.html",
)
#: The sample ``simulated``, made on the spot.
SIMULATED_SHAPE, SIMULATED_DOSE = (160, 160, 1300), 180.0
_AGAIN = """eds-xr reproduce {options} --out again

# or, in Python:
from pathlib import Path
from eds_xr.analysis.deep_mantle.reproduce import reproduce

study = reproduce(Path("again"), {arguments})
"""


def reproduce(
    out: Path,
    *,
    sample: str = "71GPa",
    file: Path | None = None,
    archive: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
) -> study.Study:
    """Carry out the study and write its figures, tables and numbers (:data:`RESULTS`) to `out`.

    Computes: everything.

    Parameters
    ----------
    out : Path
        A folder; files of an earlier run are replaced.
    sample : str
        ``71GPa``, ``88GPa`` or ``simulated``.
    file : Path, optional
        A spectrum image instead: a vendor file, or a store.
    archive : Path, optional
        The published archive, where there is no network.
    seed : int
    say : callable
        Told of every step; there are :func:`number_of_steps`.

    Raises
    ------
    EdsError
        When `out` holds files of these names that no earlier run made; for a file that is not
        there; as :func:`eds_xr.analysis.deep_mantle.study.run`.
    """
    _claim(out)
    store, name, sha256 = _stored(sample, file, archive, out, seed, say)
    found = study.run(opening.open(store), seed=seed, say=say)
    say("figures and results")
    tables = results.tables(found)
    drawn = {
        "figure1.png": figures.figure_1(found),
        "figure2.png": figures.figure_2(found),
        "table1.png": figures.table_1(tables["composition"], tables["partition"]),
    }
    for file_name, figure in drawn.items():
        with written_file(out / file_name, overwrite=True) as partial:
            figure.savefig(partial)
    results.save_tables(tables, out / "tables")
    results.save_results(found, out / "spectra.nc")
    again = _repeat({"sample": sample, "file": file, "archive": archive, "seed": seed})
    write_report(found.tree, out / "report.html", repeat=again, overwrite=True)
    numbers = results.results(found, name=name, sha256=sha256)
    with written_file(out / "results.json", overwrite=True) as partial:
        partial.write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    return found


def number_of_steps(sample: str, file: Path | None) -> int:
    """Return how many steps are told: before the study, a file is fetched and converted."""
    if file is not None:
        return 10 if file.is_dir() else 11
    return 11 if sample == "simulated" else 12


def _repeat(given: dict[str, str | int | Path | None]) -> str:
    """Return the command and the Python that do the same again, with the files at their places."""
    chosen = {n: v for n, v in given.items() if v is not None}
    if "file" in chosen:
        del chosen["sample"]  # not looked at
    plain = {n: v.absolute() if isinstance(v, Path) else v for n, v in chosen.items()}
    options = " ".join(f"--{n} {shlex.quote(str(v))}" for n, v in plain.items())
    values = {n: f"Path({str(v)!r})" if isinstance(v, Path) else repr(v) for n, v in plain.items()}
    arguments = ", ".join(f"{n}={v}" for n, v in values.items())
    return _AGAIN.format(options=options, arguments=arguments)


def _claim(out: Path) -> None:
    """Mark a folder as ours; raise if it holds files of the names of ours that are not."""
    mark = out / ".eds_xr_reproduce"
    if not mark.exists():
        theirs = [name for name in RESULTS if (out / name).exists()]
        if theirs:
            raise EdsError(
                f"{out} holds {', '.join(theirs)}, which no earlier run is known to have made and "
                "this one would replace; give another folder (--out)"
            )
        out.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _stored(
    sample: str,
    file: Path | None,
    archive: Path | None,
    out: Path,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Path, str, str]:
    """Return the store of what is to be studied, its name and the hash of its source."""
    if file is None and sample == "simulated":
        say("simulating a spectrum image with a known truth")
        image = simulate.spectrum_image(SIMULATED_SHAPE, SIMULATED_DOSE, seed=seed)
        path = Path(saving.save(image, out / "simulated.zarr", overwrite=True))
        return path, sample, _sha256(path)
    if file is None:
        say(f"fetching the {sample} spectrum image (or finding it in the cache)")
        file = published.fetch(sample, archive=archive)
    else:
        sample = file.name
    if not file.exists():
        raise EdsError(f"{file} does not exist; give the path of a spectrum image")
    digest = _sha256(file)
    if file.is_dir():
        return file, sample, digest
    say(f"converting {file.name} to Zarr")
    path = Path(conversion.convert(file, out / f"{file.stem}.zarr", overwrite=True))
    return path, sample, digest


def _sha256(path: Path) -> str:
    """Return the hash of a file, or of all files of a folder in the order of their names."""
    digest = hashlib.sha256()
    for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    return digest.hexdigest()
