"""Microns per pixel: read from the file or given by hand, checked, and never guessed.

The objective's power is not a resolution (a "40x" scan may have 0.17 or 0.28 um/px): it is only told as a hint.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from tilscore.errors import MppError

FILE_RANGE = (0.1, 1.5)
"""um/px that a file's own metadata may state; beyond lie placeholders such as 72 or 300 dpi."""
GIVEN_RANGE = (0.02, 10.0)
"""um/px that may be given by hand."""
LOW_RESOLUTION = 0.55
"""um/px from which nuclei are read with less detail than the networks' 0.5 um/px: flag `low_resolution`."""
COARSEST = 0.8
"""um/px above which a lymphocyte is under 10 px wide and slides are refused unless upsampling is allowed."""
SQUARE_TOLERANCE = 0.015
"""Relative difference of the x and y resolution that still counts as square pixels."""
DIFFERS = 0.05
"""Relative difference between the given and the file's mpp that is flagged."""
OBJECTIVE_PRODUCT = (5.0, 20.0)
"""mpp times objective power is about 10; outside this range the two contradict each other."""

_FINEST_PRINT_DPI = 1200
HOW_TO_GIVE = "pass --mpp, or an mpp column in the slide list"
_UM_PER = {
    **dict.fromkeys(("um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "micron", "microns", "micrometer"), 1.0),
    **dict.fromkeys(("inch", "in"), 25400.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
}


@dataclass(frozen=True)
class Found:
    """What a file says of its resolution.

    Parameters
    ----------
    x, y : um per pixel as stated, number or text; None where nothing is stated.
    source : where it was stated, e.g. `openslide.mpp-x`.
    objective : nominal power of the objective, a hint only.
    """

    x: object = None
    y: object = None
    source: str = ""
    objective: float | None = None


@dataclass(frozen=True)
class Resolution:
    """The resolution in use: um/px of level 0, where it comes from, and what is to be said of it."""

    mpp: float
    source: str
    flags: tuple[str, ...] = ()


def resolve(found: Found, given: float | None, *, where: Path, allow_upsampling: bool = False) -> Resolution:
    """Choose and check the resolution of a slide; `given` wins over the file.

    Raises
    ------
    MppError : missing, not square, implausible, or too coarse.
    """
    if given is not None:
        mpp, source = _checked_given(given, where), "given"
    else:
        mpp, source = _checked_found(found, where), found.source
    flags = _contradictions(found, mpp, source)
    if mpp > COARSEST and not allow_upsampling:
        raise MppError(
            f"resolution is too coarse to see lymphocytes (the limit is {COARSEST} um/px)",
            where=where,
            found=f"{mpp:g} um/px from {source}",
            do="use a scan of 20x or better, or --allow-upsampling, knowing that counts will be poor",
        )
    if mpp > COARSEST:
        flags = ("upsampled", *flags)
    if mpp > LOW_RESOLUTION:
        flags = ("low_resolution", *flags)
    return Resolution(mpp, source, flags)


def number(value: object) -> float | None:
    """`value` as a finite number, or None; text must be a plain decimal number."""
    try:
        parsed = float(value.strip()) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) else None


def _stated(value: object) -> float | None:
    """A number in a file; systems that write a decimal comma leave it in what is to be read by all."""
    return number(value.replace(",", ".") if isinstance(value, str) else value)


def in_um(value: object, unit: str) -> float | None:
    """A length in `unit` as microns; None where the unit is no length or the value no number."""
    length, scale = number(value), _UM_PER.get(unit.strip().lower())
    return None if length is None or scale is None else length * scale


def _checked_given(given: float, where: Path) -> float:
    mpp = number(given)
    if mpp is None or not GIVEN_RANGE[0] <= mpp <= GIVEN_RANGE[1]:
        raise MppError(
            f"the mpp given by hand must lie between {GIVEN_RANGE[0]} and {GIVEN_RANGE[1]} um/px",
            where=where,
            found=given,
            do="a 40x scan has about 0.25, a 20x scan about 0.5",
        )
    return mpp


def _checked_found(found: Found, where: Path) -> float:
    if found.x is None and found.y is None:
        raise MppError(f"the file states no resolution{_hint(found)}", where=where, do=HOW_TO_GIVE)
    x, y = _stated(found.x), _stated(found.y)
    stated = f"{found.x} x {found.y} from {found.source}" if found.x != found.y else f"{found.x} from {found.source}"
    if x is None or y is None or x <= 0 or y <= 0:
        raise MppError("the file's resolution is no positive number", where=where, found=stated, do=HOW_TO_GIVE)
    mpp = (x + y) / 2
    if abs(x - y) > SQUARE_TOLERANCE * mpp:
        do = f"if that is an error of the file, {HOW_TO_GIVE}"
        raise MppError("pixels are not square", where=where, found=stated, do=do)
    if not FILE_RANGE[0] <= mpp <= FILE_RANGE[1]:
        what = "the file's resolution cannot be that of a slide"
        dots = round(25400 / mpp)
        if mpp > FILE_RANGE[1] and dots <= _FINEST_PRINT_DPI and abs(25400 / mpp - dots) < 0.01:
            what += f" (it looks like a print setting of {dots} dpi)"
        raise MppError(what, where=where, found=f"{mpp:.6g} um/px from {found.source}", do=HOW_TO_GIVE)
    return mpp


def _contradictions(found: Found, mpp: float, source: str) -> tuple[str, ...]:
    flags = []
    stated = _stated(found.x)
    if source == "given" and stated is not None and abs(stated - mpp) > DIFFERS * mpp:
        flags.append("mpp_differs_from_file")
    if found.objective and not OBJECTIVE_PRODUCT[0] <= found.objective * mpp <= OBJECTIVE_PRODUCT[1]:
        flags.append("mpp_against_objective")
    return tuple(flags)


def _hint(found: Found) -> str:
    if not found.objective:
        return ""
    return f" (its objective is said to be {found.objective:g}x, which is no resolution)"


def from_tiff_tags(x_res: object, y_res: object, unit: int) -> Found:
    """The resolution of the baseline TIFF tags: pixels per inch (unit 2) or cm (unit 3)."""
    um = {2: 25400.0, 3: 10000.0}.get(unit)
    if um is None or x_res is None or y_res is None:
        return Found()
    return Found(_um_per_pixel(um, x_res), _um_per_pixel(um, y_res), "tiff-resolution")


def from_imagej(description: str, x_res: object, y_res: object) -> Found:
    """The resolution as ImageJ writes it, and QuPath's export to it: pixels per the unit that the description names."""
    named = re.search(r"^unit=(.*)$", description, re.MULTILINE)
    um = in_um(1, named[1].replace("\\u00B5", "\N{MICRO SIGN}")) if named else None
    if um is None or x_res is None or y_res is None:
        return Found()
    return Found(_um_per_pixel(um, x_res), _um_per_pixel(um, y_res), "imagej.unit")


def _um_per_pixel(um: float, res: object) -> float | str:
    numerator, denominator = res if isinstance(res, tuple) else (res, 1)
    per_unit = number(numerator)
    if not per_unit or not denominator:
        return f"{numerator}/{denominator} pixels per unit"
    return um * float(denominator) / per_unit


_APERIO = re.compile(r"\|\s*(MPP|AppMag)\s*=\s*([^|]*)")


def from_aperio(description: str) -> Found:
    """The resolution in the ImageDescription of an Aperio SVS."""
    stated = {key: value.strip() for key, value in _APERIO.findall(description)}
    mpp = stated.get("MPP")
    return Found(mpp, mpp, "aperio.MPP" if mpp is not None else "", number(stated.get("AppMag")))
