"""Makes the tables of X-ray lines that the package ships, from xraydb and from xraylib.

``PYTHONPATH=tests python -m support.line_tables`` writes them anew. Two files in
``eds_xr/xray/tables``, plain facts and figures:

``lines.csv``
    Each line with its energy, and which share of the radiative decays of its sub-shell it is, by
    each table. Both columns are complete: a line that one table lacks has the other's value
    there, and the rest of the sub-shell is scaled down for it. ``rate_uncertainty`` is the least
    relative standard uncertainty of that share; where the tables differ by more, that counts.
``subshells.csv``
    Edge, fluorescence yield and Coster-Kronig probabilities of each sub-shell, by each table.

"elam": Elam, Ravel and Sieber (Radiat. Phys. Chem. 63 (2002) 121), through xraydb; for K lines
with Scofield's Kb / Ka. "xraylib": Schoonjans et al. (Spectrochim. Acta B 66 (2011) 776): rates of
Scofield (K, L) and Bhalla (M), yields of Hubbell and Krause, energies from Deslattes and Bearden.
"""

import csv
from collections.abc import Callable
from functools import cache
from io import StringIO
from pathlib import Path

import xraydb
import xraylib

import eds_xr.xray

FOLDER = Path(eds_xr.xray.__file__).parent / "tables"
SUBSHELLS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")
#: A line of less than this share of its family, roughly, is left out.
LEAST_SHARE = 0.001
#: No line is known better [keV]: half of the lines that both tables have differ by less than 1 eV,
#: and bonds move them as much. M lines are differences of levels, up to 2 eV from Bearden's.
LEAST_ENERGY_UNCERTAINTY = {"K": 0.001, "L": 0.001, "M": 0.002}

#: xraydb's name, and xraylib's transitions, of lines that Elam gives. "Mz" is not among them where
#: he has Mb, too: its 0.0029 is the same for all elements there, and another's a fortieth.
_ELAM = {
    "Ka1": "KL3", "Ka2": "KL2", "Ka3": "KL1", "Kb1": "KM3", "Kb2": "KN2 KN3 KO KP", "Kb3": "KM2",
    "Kb4": "KN4 KN5", "Kb5": "KM4 KM5", "La1": "L3M5", "La2": "L3M4", "Lb1": "L2M4",
    "Lb2,15": "L3N4 L3N5", "Lb3": "L1M3", "Lb4": "L1M2", "Lb5": "L3O4 L3O5 L3O45", "Lb6": "L3N1",
    "Lg1": "L2N4", "Lg2": "L1N2", "Lg3": "L1N3", "Lg6": "L2O4", "Ll": "L3M1", "Ln": "L2M1",
    "Ma": "M5N6 M5N7", "Mb": "M4N6", "Mg1": "M3N5",
}  # fmt: skip
#: Names of others. Those that neither list names are called by their transition: "M2N4".
_OTHERS = {
    "Lb7": "L3O1", "Lb9": "L1M5", "Lb10": "L1M4", "Lg4": "L1O2 L1O3", "Lg5": "L2N1",
    "Lg8": "L2O1", "Lg11": "L1N4 L1N5", "Mg2": "M3N4", "Mz1": "M5N3", "Mz2": "M4N2",
    "M1O2,3": "M1O2 M1O3", "M3O4,5": "M3O4 M3O5", "M4O2": "M4O2",
}  # fmt: skip
_TRANSITIONS = {name: tuple(t.split()) for name, t in {**_ELAM, **_OTHERS}.items()}
_NAMES = {t: name for name, transitions in _TRANSITIONS.items() for t in transitions}
_ALL = sorted(
    n.removesuffix("_LINE") for n in dir(xraylib)
    if n.endswith("_LINE") and n.startswith(SUBSHELLS) and n[1:2] + n[2:3] != "A_"
)  # fmt: skip

#: Kb to Ka by atomic number: relativistic Hartree-Fock with exchange, Scofield (Phys. Rev. A 9
#: (1974) 1041, table V), linear between its elements. Elam's table has a line through measured
#: ratios of heavier elements instead: some 0.12 down to magnesium, where the 3p shell is empty,
#: and up to 5 % off elsewhere. Cr and Cu, which Scofield gives for free atoms with one 4s
#: electron, follow the trend of their neighbours, as Schönfeld and Janssen (Nucl. Instrum. Meth. A
#: 369 (1996) 527) recommend. Na and Mg have no 3p electrons, and no ratio there: 0.01 is nominal,
#: for what the valence band of a solid emits; xraylib has 0. With Kb free, the published 71 GPa
#: map gives 0.00 for Mg, 0.032 for Si and 0.125 for Ca; xraylib has 0.028 and 0.126 there.
_KB_TO_KA = {
    11: 0.0100, 12: 0.0100, 13: 0.0134, 14: 0.0294, 15: 0.0472, 16: 0.0659, 17: 0.0862, 18: 0.1088,
    19: 0.1211, 20: 0.1315, 22: 0.1355, 23: 0.1367, 24: 0.1376, 25: 0.1385, 26: 0.1391, 28: 0.1401,
    29: 0.1406, 30: 0.1410, 32: 0.1504, 33: 0.1560, 34: 0.1624, 35: 0.1683, 36: 0.1727, 37: 0.1780,
    38: 0.1831, 40: 0.1913, 42: 0.1981, 47: 0.2130, 50: 0.2230, 51: 0.2266, 54: 0.2368, 56: 0.2433,
    60: 0.2504, 63: 0.2549, 64: 0.2570, 65: 0.2575, 68: 0.2612, 70: 0.2634, 72: 0.2666, 73: 0.2682,
    74: 0.2698, 78: 0.2758, 79: 0.2772, 80: 0.2788, 81: 0.2804, 82: 0.2821, 85: 0.2873, 90: 0.2952,
    92: 0.2975, 96: 0.3019, 98: 0.3037,
}  # fmt: skip

#: Relative standard uncertainty of a sub-shell's photons beside the others of its shell: first
#: atomic number, value. Elam and xraylib have the same yields of L and M (Krause; McGuire), so
#: that they cannot tell it: it is the half difference between theirs and the calculated ones of
#: EADL (Cullen et al., UCRL-50400 vol. 30 (1991), as in fisx 1.3.2), median of the elements.
_STRENGTH_UNCERTAINTY = {
    "K": ((1, 0.0),),
    "L1": ((1, 0.4), (40, 0.15)),
    "L2": ((1, 0.15), (30, 0.05)),
    "L3": ((1, 0.15), (30, 0.05)),
    "M1": ((1, 0.2), (56, 0.1)),
    "M2": ((1, 0.3), (40, 0.1), (72, 0.3)),
    "M3": ((1, 0.1),),
    "M4": ((1, 0.75), (57, 0.06)),
    "M5": ((1, 0.75), (57, 0.06)),
}


#: Relative standard uncertainty of rates that two tables agree on: from an atomic number on.
#: Half differences, median of the lines: K 0.004, L 0.03 to 0.05 (Elam, xraylib); for M, where Elam
#: is nominal, 0.17 to 0.21 (xraylib, EADL). K: 0.02 is half the difference between Scofield's Kb
#: with and without exchange; where 3p is a valence shell, bonds change Kb (71 GPa: Si 0.032, Ca
#: 0.125, both 5 % off). L up to copper: 3d is one, and the share of Ll and Ln varies with it.
_RATE_UNCERTAINTY = {
    "K": ((1, 0.05), (20, 0.02)),
    "L": ((1, 0.4), (19, 0.2), (30, 0.08), (40, 0.04)),
    "M": ((1, 0.2),),
}
#: The same of lines that only one has.
_ALONE_UNCERTAINTY = {"K": 0.05, "L": 0.1, "M": 0.25}
#: The same of Ma and Mb, and of the other lines of M4 and M5, while 4f fills: xraylib has a full 4f
#: shell from Gd on, and none up to Eu. EADL has, for Ma of Nd, Gd, Er: 0.12, 0.41, 0.72.
_4F_UNCERTAINTY = {"Ma": 0.2, "Mb": 0.2}, 0.5


@cache
def table_texts() -> dict[str, str]:
    """Return the text of each file."""
    lines, subshells = [], []
    for number in range(1, 99):
        present = [s for s in SUBSHELLS if s in _edges(number)]
        subshells += [_subshell_row(number, s) for s in present]
        for shell in "KLM":
            lines += _family_rows(number, [s for s in present if s[0] == shell])
    outer = [f"{table}_to_{i}" for table in ("elam", "xraylib") for i in (2, 3, 4, 5)]
    return {
        "lines.csv": _text(
            ["element", "line", "subshell", "energy_kev", "energy_uncertainty_kev",
             "elam", "xraylib", "rate_uncertainty"], lines,
        ),
        "subshells.csv": _text(
            ["element", "subshell", "edge_kev", "elam_yield", "xraylib_yield",
             "strength_uncertainty", *outer], subshells,
        ),
    }  # fmt: skip


def _family_rows(number: int, subshells: list[str]) -> list[list[str]]:
    rates = {s: (_elam_rates(number, s), _xraylib_rates(number, s)) for s in subshells}
    strengths = {s: _strength(number, s) for s in subshells if any(rates[s])}
    total = sum(strengths.values())
    rows = []
    for subshell in strengths:
        elam, other = rates[subshell]
        both = _completed(elam, other), _completed(other, elam)
        for name in both[0]:
            energy, uncertainty = _energy_kev(number, subshell, name)
            share = max(r[name] for r in both) * strengths[subshell] / total if total else 0
            if share >= LEAST_SHARE and energy > 0:
                doubt = _rate_uncertainty(number, subshell, name, name in elam and name in other)
                rows.append([
                    xraydb.atomic_symbol(number), name, subshell, f"{energy:.5g}",
                    f"{uncertainty:.2g}", *(f"{r[name]:.4g}" for r in both), f"{doubt:g}",
                ])  # fmt: skip
    return rows


def _strength(number: int, subshell: str) -> float:
    """Return the photons of a sub-shell, roughly, in units of its shell."""
    electrons = {"K": 2, "1": 2, "2": 2, "3": 4, "4": 4, "5": 6}[subshell[-1]]
    yields = (_repaired_yield(number, subshell, read) for read in (_elam_yield, _xraylib_yield))
    return electrons * max(yields) / _edges(number)[subshell].energy


def _rate_uncertainty(number: int, subshell: str, name: str, in_both: bool) -> float:
    found = [u for z, u in _RATE_UNCERTAINTY[subshell[0]] if z <= number][-1]
    if subshell in ("M4", "M5") and 57 <= number <= 70:
        return _4F_UNCERTAINTY[0].get(name, _4F_UNCERTAINTY[1])
    return found if in_both else max(found, _ALONE_UNCERTAINTY[subshell[0]])


def _completed(own: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Return rates, sum 1, with the other table's values of lines that this one lacks."""
    total, other_total = sum(own.values()), sum(other.values())
    lacking = {n: r / other_total for n, r in other.items() if n not in own}
    rest = max(0.0, 1 - sum(lacking.values())) if total else 0.0
    found = {n: r / total * rest for n, r in own.items()} | lacking
    scale = sum(found.values())
    return {n: found[n] / scale if found[n] > 1e-9 else 0.0 for n in sorted(found)}


def _elam_rates(number: int, subshell: str) -> dict[str, float]:
    found = {}
    lines = _elam_lines(number)
    for name, line in lines.items():
        if name == "Mz" and subshell in ("M4", "M5") and "Mb" not in lines and number < 48:
            found["Mz2" if subshell == "M4" else "Mz1"] = 1.0
        elif line.initial_level == subshell and not (name in ("Ma", "Mb") and number < 57):
            found["Mg1" if name == "Mg" else name] = line.intensity  # no 4f electrons before La
    if subshell == "K" and any(n.startswith("Kb") for n in found):
        ratio = _kb_to_ka(number)
        for group, share in (("Ka", 1 / (1 + ratio)), ("Kb", ratio / (1 + ratio))):
            total = sum(r for n, r in found.items() if n.startswith(group))
            found |= {n: r / total * share for n, r in found.items() if n.startswith(group)}
    return found


def _xraylib_rates(number: int, subshell: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for transition in _ALL:
        if transition.startswith(subshell) and _in_own_shell(transition, subshell):
            rate = _known(xraylib.RadRate, number, getattr(xraylib, transition + "_LINE"))
            if rate > 0:
                name = _NAMES.get(transition, transition)
                found[name] = found.get(name, 0.0) + rate
    if subshell == "K" and number in (24, 29):  # free atoms with one 4s electron, see `_KB_TO_KA`
        below, above = (_xraylib_rates(z, "K") for z in (number - 1, number + 1))
        found = {n: (below[n] + above[n]) / 2 for n in found}
    if subshell == "K" and number in (11, 12):  # calculated, not lacking: no 3p electrons
        found |= {"Kb1": 0.0, "Kb3": 0.0}
    return found


def _in_own_shell(transition: str, subshell: str) -> bool:
    """Tell a transition ("L3M5") from a group of them ("LA")."""
    final = transition[len(subshell) :]
    return final in ("O", "P") if final.isalpha() else final[:1] in "LMNOPQ" and final[1:].isdigit()


def _energy_kev(number: int, subshell: str, name: str) -> tuple[float, float]:
    """Return energy and uncertainty: xraylib's where it has one, else Elam's, else the edge's."""
    known = _elam_lines(number)
    theirs = "Mg" if name == "Mg1" else name
    elam = known[theirs].energy / 1000 if theirs in known else 0.0
    least = LEAST_ENERGY_UNCERTAINTY[subshell[0]]
    parts = []
    for transition in _TRANSITIONS.get(name, (name,)):
        line = getattr(xraylib, transition + "_LINE")
        energy, rate = (_known(f, number, line) for f in (xraylib.LineEnergy, xraylib.RadRate))
        if energy > 0:
            parts.append((energy, max(rate, 1e-9)))
    if parts:
        energy = sum(e * r for e, r in parts) / sum(r for _, r in parts)
        # of lines that he gives together, Elam's energy is one's
        apart = min(abs(e - elam) for e, _ in parts) / 2 if elam else 2 * least
        return energy, max(least, apart)
    return elam or _edges(number)[subshell].energy / 1000, (2 if elam else 5) * least


def _subshell_row(number: int, subshell: str) -> list[str]:
    element = xraydb.atomic_symbol(number)
    edge = _edges(number)[subshell]
    elam = _repaired_yield(number, subshell, _elam_yield)
    other = _repaired_yield(number, subshell, _xraylib_yield)
    uncertainty = [u for z, u in _STRENGTH_UNCERTAINTY[subshell] if z <= number][-1]
    transfers: tuple[list[str], list[str]] = ([], [])
    for i in "2345":
        outer = subshell[0] + i
        mine = theirs = 0.0
        if subshell < outer in SUBSHELLS and subshell != "K" and outer in _edges(number):
            mine = xraydb.ck_probability(element, subshell, outer, total=False)
            constant = getattr(xraylib, f"F{subshell}{i}_TRANS")
            theirs = _known(xraylib.CosKronTransProb, number, constant)
            if subshell[0] == "M" and not _known(
                xraylib.CosKronTransProb, number, xraylib.FM13_TRANS
            ):
                theirs = mine  # xraylib has none of the lighter elements
        transfers[0].append(f"{mine:.4g}")
        transfers[1].append(f"{theirs:.4g}")
    return [
        element, subshell, f"{edge.energy / 1000:.6g}", f"{elam or other:.4g}",
        f"{other or elam:.4g}", f"{uncertainty:g}", *transfers[0], *transfers[1],
    ]  # fmt: skip


def _repaired_yield(number: int, subshell: str, read: Callable[[int, str], float]) -> float:
    """Return a yield, except where both libraries repeat a fault of their common source.

    M2 of gold is 0.0423 there, ten times its neighbours' (EADL: 0.0036), and the elements around
    it are interpolated to it. M5 is 0 up to lanthanum, and rises from there to its first value,
    that of neodymium: up to there M4's stands for it.
    """
    if subshell == "M2" and 76 < number < 83:
        low, high = read(76, "M2"), read(83, "M2")
        return low + (high - low) * (number - 76) / 7
    return read(number, "M4" if subshell == "M5" and number < 60 else subshell)


def _elam_yield(number: int, subshell: str) -> float:
    return _edges(number)[subshell].fyield


def _xraylib_yield(number: int, subshell: str) -> float:
    return _known(xraylib.FluorYield, number, getattr(xraylib, f"{subshell}_SHELL"))


def _kb_to_ka(number: int) -> float:
    below = max((z for z in _KB_TO_KA if z <= number), default=min(_KB_TO_KA))
    above = min((z for z in _KB_TO_KA if z >= number), default=max(_KB_TO_KA))
    part = (number - below) / (above - below) if above > below else 0.0
    return _KB_TO_KA[below] + part * (_KB_TO_KA[above] - _KB_TO_KA[below])


@cache
def _edges(number: int) -> dict:
    return xraydb.xray_edges(xraydb.atomic_symbol(number))


@cache
def _elam_lines(number: int) -> dict:
    return xraydb.xray_lines(xraydb.atomic_symbol(number))


def _known(read: Callable[..., float], *key: int) -> float:
    """Return a value of xraylib, 0 where it has none."""
    try:
        return max(0.0, read(*key))
    except ValueError:
        return 0.0


def _text(head: list[str], rows: list[list[str]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    for file, content in table_texts().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
