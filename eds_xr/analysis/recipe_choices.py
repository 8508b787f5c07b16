"""What tables of a recipe are made of: choices with a check and a meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

from eds_xr.analysis import recipe_values as values
from eds_xr.schema import EdsError
from eds_xr.xray.own_detector import detector_attrs


def option(check: values.Check, comment: str, default: Any = None, **metadata: str) -> Any:
    """Return a field of a recipe: its check, and what the file says of it."""
    return field(default=default, metadata={"check": check, "comment": comment, **metadata})


class Checked:
    """Values are checked where a recipe is made, whoever makes it."""

    table: ClassVar[str] = ""

    def called(self) -> str:
        """Return what errors call the table of the file that holds this."""
        return f"[{self.table}] " if self.table else ""

    def __post_init__(self) -> None:
        for one in choices_of(type(self)):
            given = getattr(self, one.name)
            if given is not None or one.default is not None:
                checked = one.metadata["check"](given, f"{self.called()}{key_of(one)}")
                object.__setattr__(self, one.name, checked)


def choices_of(kind: type[Any], section: str | None = None) -> Iterator[Field[Any]]:
    """Return the choices of a table, or of a section of it."""
    for one in fields(kind):
        if "check" in one.metadata and section in (None, one.metadata.get("section", "")):
            yield one


def key_of(one: Field[Any]) -> str:
    """Return what errors call a choice."""
    section = one.metadata.get("section")
    return f"[{section}] {one.name}" if section else one.name


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
        every = {one.name: getattr(self, one.name) for one in choices_of(type(self))}
        return {name: value for name, value in every.items() if value is not None} or None
