"""The recipe of an analysis: every choice in one small TOML file.

What is left out (None) is found by the data. :func:`eds_xr.analyse` writes the recipe with its
result, with what it found, and takes it again: for another map, or to choose differently.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eds_xr.analysis import recipe_values as values
from eds_xr.analysis.recipe_choices import Checked, option, options
from eds_xr.analysis.recipe_choices import DetectorChoice as DetectorChoice
from eds_xr.analysis.recipe_choices import ElementChoice as ElementChoice
from eds_xr.analysis.recipe_choices import FitChoice as FitChoice
from eds_xr.analysis.recipe_choices import InstrumentChoice as InstrumentChoice
from eds_xr.analysis.recipe_choices import PhaseRecipe as PhaseRecipe
from eds_xr.analysis.recipe_choices import PixelChoice as PixelChoice
from eds_xr.analysis.recipe_choices import QuantificationChoice as QuantificationChoice
from eds_xr.analysis.recipe_choices import SegmentationChoice as SegmentationChoice
from eds_xr.atomic_write import written_file
from eds_xr.schema import EdsError


@dataclass(frozen=True)
class Recipe(Checked):
    """All choices of an analysis; None is found by the data.

    Attributes
    ----------
    seed : int
    instrument : InstrumentChoice
        ``beam_energy_kev``, ``assume_thin_film``, ``hole``, ``hole_scale``,
        ``take_off_angle_deg``.
    elements : ElementChoice
        ``sample``, ``stray``, ``majors``: tuples of symbols.
    choice : PixelChoice
        ``by`` (majors, halves, all) and ``range_kev``.
    number : int
        Of components.
    matrix : str
        Name of the phase in which others are embedded; empty for none.
    phases : tuple of PhaseRecipe
        ``name``, ``like``, ``host``, ``pinned``, ``oxygens``, ``sites``.
    segmentation : SegmentationChoice
        ``least_share``, ``pure_share``, ``smoothness``, ``scribbles``.
    fit : FitChoice
        ``range_kev``, ``other_ranges_kev``.
    quantification : QuantificationChoice
        ``k_factors``, ``oxygen``, ``thickness_nm``, ``density_g_cm3``, ``thickness``,
        ``valences``.
    detector : DetectorChoice
        ``window_nm``, ``dead_layer_nm``, ``contact_nm``, ``thickness_mm``; or ``energy_kev`` and
        ``efficiency``.

    Raises
    ------
    EdsError
        Naming the key, for a value of the wrong kind, an unknown element or line, a range that
        is none, a phase named twice, or a host or matrix that is none of the phases.
    """

    seed: int = option(values.whole_number(0), "of all chance", 0)
    instrument: InstrumentChoice = field(default_factory=InstrumentChoice)
    elements: ElementChoice = field(default_factory=ElementChoice)
    choice: PixelChoice = field(default_factory=PixelChoice)
    number: int | None = option(
        values.whole_number(1, 100), "of components; left out: suggested", section="phases"
    )
    matrix: str | None = option(
        values.text,
        'the phase in which others are embedded; left out: found; "": none',
        section="phases",
    )
    phases: tuple[PhaseRecipe, ...] = ()
    segmentation: SegmentationChoice = field(default_factory=SegmentationChoice)
    fit: FitChoice = field(default_factory=FitChoice)
    quantification: QuantificationChoice = field(default_factory=QuantificationChoice)
    detector: DetectorChoice = field(default_factory=DetectorChoice)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "phases", tuple(self.phases))
        names = [phase.name for phase in self.phases]
        if twice := {name for name in names if names.count(name) > 1}:
            raise EdsError(f"[[phase]] name: two phases are called {min(twice)!r}")
        if self.number is not None and self.number < len(names):
            raise EdsError(
                f"[phases] number is {self.number}, but {len(names)} phases are named; each has "
                "a component of its own"
            )
        links = {"[phases] matrix": self.matrix}
        links |= {f"{phase.called()}host": phase.host for phase in self.phases}
        for what, link in links.items():
            if names and link and link not in names:
                raise EdsError(
                    f"{what} is {link!r}, which is none of the phases; {_near(link, names)}"
                )
        self._check_hosts()

    def _check_hosts(self) -> None:
        host_of = {phase.name: phase.host for phase in self.phases}
        for name in host_of:
            seen, at = {name}, host_of[name]
            while at:
                if at in seen:
                    raise EdsError(f"[[phase]] {name}: host: the phases lie in one another")
                seen.add(at)
                at = host_of.get(at)

    @classmethod
    def from_toml(cls, text: str, *, source: str = "the recipe") -> Recipe:
        """Return the recipe that a TOML text holds.

        Computes: nothing.

        Parameters
        ----------
        text : str
        source : str
            What errors call it, such as the name of the file.

        Raises
        ------
        EdsError
            Naming source and key: for a text that is no TOML, an unknown key (with the nearest
            known one), or a value that cannot be.
        """
        try:
            return _from_tables(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise EdsError(f"{source} is no TOML file: {error}") from None
        except EdsError as error:
            raise EdsError(f"{source}: {error}") from None

    def to_toml(self) -> str:
        """Return the recipe as TOML; each choice with its meaning, open ones commented out."""
        blocks = [["# A recipe of eds_xr: eds-xr analyse map.emd --recipe THIS"]]
        blocks[0] += _lines_of(self, "")
        for name, (kind, attribute) in _SECTIONS.items():
            part = self if attribute is None else getattr(self, attribute)
            blocks.append([f"[{name}]", *_lines_of(part, name if kind is Recipe else "")])
            if kind is Recipe:
                blocks += [["[[phase]]", *_lines_of(phase, "")] for phase in self.phases]
        return "\n".join("\n".join(block) + "\n" for block in blocks)


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file.

    Computes: reads the file. Scribbles and a table of k-factors are looked for beside it.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Recipe

    Raises
    ------
    EdsError
        As :meth:`Recipe.from_toml`; for a file that cannot be read.
    """
    place = Path(path).expanduser()
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EdsError(f"cannot read the recipe {place}: {error}") from None
    recipe = Recipe.from_toml(text, source=str(path))
    beside = place.resolve().parent
    return with_files(recipe, lambda name: str(beside / Path(name).expanduser()))


def with_files(recipe: Recipe, found: Callable[[str], str]) -> Recipe:
    """Return a recipe with the files that it names where they are `found`."""
    instrument, phases, amounts = recipe.instrument, recipe.segmentation, recipe.quantification
    if phases.scribbles is not None:
        phases = replace(phases, scribbles=found(phases.scribbles))
    if amounts.k_factors is not None:
        amounts = replace(amounts, k_factors=found(amounts.k_factors))
    if instrument.hole is not None:
        instrument = replace(instrument, hole=found(instrument.hole))
    return replace(recipe, instrument=instrument, segmentation=phases, quantification=amounts)


def write_recipe(recipe: Recipe, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a recipe to a TOML file, whole or not at all.

    Computes: nothing; writes the file.

    Raises
    ------
    EdsError
        When there is such a file already, or it cannot be written.
    """
    target = Path(path)
    with written_file(target, overwrite=overwrite) as partial:
        partial.write_text(recipe.to_toml(), encoding="utf-8", newline="\n")
    return target


#: Tables of the file: what they make, and the attribute of the recipe that holds it.
_SECTIONS: dict[str, tuple[type[Checked], str | None]] = {
    "instrument": (InstrumentChoice, "instrument"),
    "elements": (ElementChoice, "elements"),
    "choice": (PixelChoice, "choice"),
    "phases": (Recipe, None),
    "segmentation": (SegmentationChoice, "segmentation"),
    "fit": (FitChoice, "fit"),
    "quantification": (QuantificationChoice, "quantification"),
    "detector": (DetectorChoice, "detector"),
}


def _from_tables(found: Mapping[str, Any]) -> Recipe:
    _check_keys(found, [*_keys(Recipe, ""), *_SECTIONS, "phase"], "")
    made: dict[str, Any] = {key: found[key] for key in _keys(Recipe, "") if key in found}
    for name, (kind, attribute) in _SECTIONS.items():
        table = _table(found.get(name, {}), f"[{name}]")
        _check_keys(table, _keys(kind, name if kind is Recipe else ""), f"[{name}] ")
        made |= dict(table) if attribute is None else {attribute: kind(**table)}
    phases = found.get("phase", [])
    if not isinstance(phases, list):
        raise EdsError("phase must be a list of tables, each under [[phase]]; found one [phase]")
    made["phases"] = tuple(_phase(_table(one, "[[phase]]")) for one in phases)
    return Recipe(**made)


def _phase(table: Mapping[str, Any]) -> PhaseRecipe:
    _check_keys(table, _keys(PhaseRecipe, ""), f"[[phase]] {table.get('name', '')}: ")
    return PhaseRecipe(**table)


def _table(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise EdsError(f"{what} must be a table: a line {what}, then its keys; found {given!r}")
    return given


def _check_keys(table: Mapping[str, Any], known: list[str], what: str) -> None:
    for key in table:
        if key not in known:
            homes = [f"[{n}]" for n, (kind, _) in _SECTIONS.items() if key in _keys(kind, n)]
            homes += ["[[phase]]"] if key in _keys(PhaseRecipe, "") else []
            cure = f"it belongs below {homes[0]}" if homes else _near(key, known)
            raise EdsError(f"{what}{key} is no key of a recipe; {cure}")


def _near(given: str, known: list[str]) -> str:
    lowered = {name.lower(): name for name in known}
    (nearest,) = difflib.get_close_matches(given.lower(), lowered, 1, cutoff=0)
    return f"do you mean {lowered[nearest]}?"


def _keys(kind: type[Any], section: str) -> list[str]:
    return [one.name for one in options(kind, section if kind is Recipe else "")]


def _lines_of(part: Checked, section: str) -> Iterator[str]:
    for one in options(type(part), section):
        given, comment = getattr(part, one.name), one.metadata["comment"]
        line = f"# {one.name} =" if given is None else f"{one.name} = {_toml(given)}"
        yield f"{line}  # {comment}" if comment else line


def _toml(given: Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str):  # JSON's escapes are TOML's, but for one character
        return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in given.items()) + "}"
    if isinstance(given, tuple):
        return "[" + ", ".join(map(_toml, given)) + "]"
    return repr(given)
