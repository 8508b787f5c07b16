"""The choices of a recipe, a table of the file each; values are checked where they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

from eds_xr.analysis import recipe_values as values
from eds_xr.composition.film.given_charges import CHARGE_BALANCE
from eds_xr.composition.results import BY_STOICHIOMETRY
from eds_xr.schema import EdsError
from eds_xr.xray.own_detector import detector_attrs


def option(check: values.Check, comment: str, default: Any = None, **metadata: str) -> Any:
    """Return a field with the check of its values, and what the file says of it."""
    return field(default=default, metadata={"check": check, "comment": comment, **metadata})


class Checked:
    """Values are checked where a recipe is made, whoever makes it."""

    table: ClassVar[str] = ""

    def called(self) -> str:
        """Return what errors call the table of the file that holds this."""
        return f"[{self.table}] " if self.table else ""

    def __post_init__(self) -> None:
        for one in options(type(self)):
            given = getattr(self, one.name)
            if given is not None or one.default is not None:
                checked = one.metadata["check"](given, f"{self.called()}{key_of(one)}")
                object.__setattr__(self, one.name, checked)


@dataclass(frozen=True)
class ElementChoice(Checked):
    """Which elements are there."""

    table: ClassVar[str] = "elements"
    sample: tuple[str, ...] | None = option(values.elements, "of the sample; left out: identified")
    stray: tuple[str, ...] | None = option(
        values.elements, "of grid, holder and microscope; left out: identified"
    )
    majors: tuple[str, ...] | None = option(
        values.elements, "they may choose pixels; left out: those that stand out"
    )


@dataclass(frozen=True)
class PixelChoice(Checked):
    """Which counts choose the pixels."""

    table: ClassVar[str] = "choice"
    by: str = option(
        values.one_of("majors", "halves", "all"),
        "majors: lines of traces choose no pixel; halves: each half of the counts is measured "
        "where the other chose; all",
        "majors",
    )
    range_kev: tuple[float, float] | None = option(
        values.range_kev, "channels that choose; left out: the whole axis"
    )


@dataclass(frozen=True)
class PhaseRecipe(Checked):
    """One phase: how it is recognised, what it lies in, how its formula is written."""

    name: str = option(values.name, "", "")
    like: Mapping[str, float] | None = option(
        values.shares, "shares of net counts by which a component is recognised"
    )
    host: str | None = option(
        values.text, 'the phase in which it is embedded; left out: found; "": none'
    )
    pinned: tuple[str, ...] | None = option(
        values.lines, "lines of the host that it lacks; left out: chosen by the data"
    )
    oxygens: float | None = option(values.real_number(0), "of its formula; left out: no formula")
    sites: tuple[tuple[str, ...], ...] | None = option(
        values.sites, "elements that are written together in its formula"
    )

    def called(self) -> str:
        """Return what errors call it."""
        return f"[[phase]] {self.name or 'without a name'}: "


@dataclass(frozen=True)
class SegmentationChoice(Checked):
    """What counts as present, and as pure."""

    table: ClassVar[str] = "segmentation"
    least_share: float = option(
        values.real_number(0, below=1), "of a pixel's counts: the phase is present", 0.1
    )
    pure_share: float = option(
        values.real_number(0, below=1), "of a pixel's counts: less of all others is pure", 0.02
    )
    smoothness: float = option(
        values.real_number(0, closed=True), "of boundaries; 0: each pixel for itself", 1.0
    )
    scribbles: str | None = option(
        values.name,
        "painted phases, in a file beside this one: a session (.edsx), ImageJ's regions or a label "
        "image; left out: phases are found",
    )


@dataclass(frozen=True)
class FitChoice(Checked):
    """Where lines are fitted."""

    table: ClassVar[str] = "fit"
    range_kev: tuple[float, float] | None = option(values.range_kev, "of the fits of lines")
    other_ranges_kev: tuple[tuple[float, float], ...] | None = option(
        values.ranges_kev, "as good as that; what they change is an error; []: none"
    )


@dataclass(frozen=True)
class QuantificationChoice(Checked):
    """How net counts become a composition."""

    table: ClassVar[str] = "quantification"
    k_factors: str | None = option(
        values.name, "a CSV file, beside this one; left out: computed from tables"
    )
    oxygen: str = option(
        values.one_of("measured", BY_STOICHIOMETRY),
        "measured, or by stoichiometry: what the charges ask for",
        "measured",
    )
    thickness_nm: float | None = option(
        values.real_number(0), "with density: absorption is corrected"
    )
    density_g_cm3: float | None = option(values.real_number(0), "")
    valences: Mapping[str, float] | None = option(
        values.charges, "of stoichiometry or charge balance; left out: the usual ones"
    )
    thickness: str | None = option(
        values.one_of(CHARGE_BALANCE),
        "charge_balance: the film is as thick as makes the charges balance; fit the anions, too",
    )


@dataclass(frozen=True)
class InstrumentChoice(Checked):
    """What the file does not tell of the recording."""

    table: ClassVar[str] = "instrument"
    beam_energy_kev: float | None = option(
        values.real_number(0), "of the recording; left out: the file's"
    )
    assume_thin_film: bool = option(
        values.yes_or_no, "true: a film thin for its beam, although an SEM, or below 40 keV", False
    )
    hole: str | None = option(
        values.name, "a file recorded in the hole or on the support alone: it is subtracted"
    )
    hole_scale: str | None = option(
        values.name,
        'a line that the sample has not, as "Cu_Ka"; left out: by live time (and current)',
    )
    take_off_angle_deg: float | None = option(
        values.real_number(0), "of the detector above the film; left out: the file's"
    )


@dataclass(frozen=True)
class DetectorChoice(Checked):
    """The detector: its layers, or a table of its efficiency."""

    table: ClassVar[str] = "detector"
    window_nm: float | None = option(
        values.real_number(0, closed=True), "of polymer; 0: windowless; left out: as recorded"
    )
    dead_layer_nm: float | None = option(values.real_number(0, closed=True), "of silicon")
    contact_nm: float | None = option(values.real_number(0, closed=True), "of aluminium")
    thickness_mm: float | None = option(values.real_number(0), "of the crystal")
    energy_kev: tuple[float, ...] | None = option(
        values.real_numbers, "instead: energies at which the efficiency is known ..."
    )
    efficiency: tuple[float, ...] | None = option(values.real_numbers, "... and the efficiency")

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            detector_attrs(self.given())
        except EdsError as error:
            raise EdsError(f"[detector]: {error}") from None

    def given(self) -> dict[str, Any] | None:
        """Return the detector as :func:`eds_xr.with_detector` takes it; None for as recorded."""
        every = {one.name: getattr(self, one.name) for one in options(type(self))}
        return {name: value for name, value in every.items() if value is not None} or None


def options(kind: type[Any], section: str | None = None) -> Iterator[Field[Any]]:
    """Yield the choices of a table; of a recipe, those of a section."""
    for one in fields(kind):
        if "check" in one.metadata and section in (None, one.metadata.get("section", "")):
            yield one


def key_of(one: Field[Any]) -> str:
    """Return what the file calls a choice."""
    section = one.metadata.get("section")
    return f"[{section}] {one.name}" if section else one.name
