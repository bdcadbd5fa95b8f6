"""What the readers share: pictures, masks, partner files, nucleus centres, patients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tilscore.errors import ConfigError, DataError, printable
from tilscore.slide.alpha import on_white

if TYPE_CHECKING:
    import pandas as pd

Points = tuple[NDArray[np.float32], NDArray[np.float32]]
"""x and y [n] in continuous pixel coordinates."""
NEAR_UM = 2.5
"""Where a set labels some nuclei only: this near to a labelled centre there is no other."""
_TCGA = re.compile(r"TCGA[-_]([0-9A-Z]{2})[-_]([0-9A-Z]{4})", re.IGNORECASE)


def tcga(name: str) -> tuple[str, str]:
    """Patient (`TCGA-A1-A0SK`) and centre (`TCGA-A1`, the tissue source site) in a file name; "" where none."""
    found = _TCGA.search(name)
    if found is None:
        return "", ""
    site, person = (g.upper() for g in found.groups())
    return f"TCGA-{site}-{person}", f"TCGA-{site}"


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Pixels [h w 3] RGB of a PNG, JPEG, BMP or TIFF picture; transparent parts of a PNG are white, as in a run.

    Raises
    ------
    DataError : missing, damaged, grey, or of more than 8 bits, in which dark grey levels would become black.
    """
    if path.suffix.lower() in (".tif", ".tiff", ".svs"):
        return _read_tiff(path)
    # A BMP's fourth channel means nothing, and only a flag other than `UNCHANGED` turns a JPEG as its camera says.
    flag = cv2.IMREAD_UNCHANGED if path.suffix.lower() == ".png" else cv2.IMREAD_ANYCOLOR
    bgr = decoded(path, flag)
    if bgr is None:
        raise DataError("image is missing or damaged", where=path, do="unpack or download it again")
    if bgr.ndim != 3 or bgr.dtype != np.uint8:
        do = "export it as 8-bit RGB"
        raise DataError("is not an 8-bit colour image", where=path, found=f"{bgr.shape} {bgr.dtype}", do=do)
    bgr = on_white(bgr) if bgr.shape[2] == 4 else bgr
    return np.ascontiguousarray(bgr[..., ::-1])


def decoded(path: Path, flag: int) -> np.ndarray | None:
    """A picture as OpenCV decodes it, None where it is missing or damaged.

    OpenCV itself opens no file on Windows whose path has letters beyond the system's code page.

    Raises
    ------
    DataError : OpenCV refuses it, as it does more than 2**30 pixels.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:
        return None
    try:
        return cv2.imdecode(data, flag) if data.size else None
    except cv2.error as err:
        do = "cut it into smaller pictures"
        raise DataError("picture cannot be decoded", where=path, found=printable(err.err, 120), do=do) from err


def _read_tiff(path: Path) -> NDArray[np.uint8]:
    pixels = _tiff_array(path, "image")
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise DataError("is not an 8-bit colour image", where=path, found=f"{pixels.shape} {pixels.dtype}")
    return np.ascontiguousarray(pixels[..., :3])


def _tiff_array(path: Path, what: str) -> np.ndarray:
    import tifffile

    try:
        return np.asarray(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as err:
        do = "unpack or download it again"
        raise DataError(f"{what} is missing or damaged", where=path, found=err, do=do) from err


def read_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mask [h w] or [h w 3] (channels in the file's order, red first) of an image of `shape`.

    Where a file has a palette, its numbers are the mask, not the colours that they are shown in.

    Raises
    ------
    DataError : missing, damaged, of another size than its image, or with values that do not fit into 8 bits.
    """
    mask: np.ndarray | None
    if path.suffix.lower() in (".tif", ".tiff") and path.is_file():
        mask = _tiff_array(path, "mask")
    elif (numbered := palette_numbers(path)) is not None:
        mask = numbered
    else:
        mask = decoded(path, cv2.IMREAD_UNCHANGED)
        mask = mask[..., 2::-1] if mask is not None and mask.ndim == 3 else mask
    if mask is None:
        raise DataError("mask is missing or damaged", where=path, do="unpack or download it again")
    if mask.shape[:2] != tuple(shape[:2]):
        raise DataError("mask has another size than its image", where=path, found=f"{mask.shape[:2]}, {shape[:2]}")
    if mask.min(initial=0) < 0 or mask.max(initial=0) > 255:
        raise DataError("mask holds a value beyond 0 to 255", where=path, found=f"{mask.min()} to {mask.max()}")
    return np.ascontiguousarray(mask, np.uint8)


def palette_numbers(path: Path) -> np.ndarray | None:
    """[h w] numbers of a picture with a palette; None where it has none, or is none."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture) if picture.mode == "P" else None
    except (OSError, ValueError, Image.DecompressionBombError):  # OpenCV has the last word on large ones
        return None


def read_table(path: Path, **how: Any) -> pd.DataFrame:
    """A CSV whose first row names its columns; `how` as for `pandas.read_csv`.

    Raises
    ------
    DataError : rows have more values than there are columns: the first ones would be taken for the rows' names.
    """
    import pandas as pd

    table: pd.DataFrame = pd.read_csv(path, **how)
    if not isinstance(table.index, pd.RangeIndex):
        do = "write decimal points, and a name for each column"
        raise DataError("rows have more values than columns", where=path, found=", ".join(table.columns), do=do)
    return table


def read_mat(path: Path, *keys: str) -> dict[str, np.ndarray]:
    """The arrays `keys` of a MATLAB file."""
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError("MATLAB file is missing", where=path, do="unpack it again")
    try:
        held = loadmat(path)
        return {k: np.asarray(held[k]) for k in keys}
    except KeyError as err:
        found = ", ".join(k for k in held if not k.startswith("_"))
        raise DataError(f"holds no array {err}", where=path, found=found) from err
    except (OSError, ValueError, TypeError, NotImplementedError) as err:
        raise DataError("MATLAB file is damaged", where=path, found=err, do="unpack it again") from err


def found_files(root: Path, *patterns: str, what: str) -> list[Path]:
    """The files under `root` that fit the first pattern that fits any, sorted."""
    for pattern in patterns:
        files = sorted(p for p in root.glob(pattern) if not p.name.startswith("."))
        if files:
            return files
    raise DataError(f"no {what} in this folder", where=root, do=f"give the folder that holds {' or '.join(patterns)}")


def folder(root: Path, *names: str) -> Path:
    """The first of these folders under `root` that exists."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataError(f"no folder {' or '.join(names)} in it", where=root, do="unpack the set again, or give its folder")


def outline_centre(*rings: NDArray[np.floating]) -> tuple[float, float]:
    """Centre of mass of one or more polygons [n 2] together; the mean of the corners where they have no area."""
    corners = np.concatenate(rings).astype(np.float64)
    origin = corners[0]
    area, moment = 0.0, np.zeros(2)
    for ring in rings:
        here = ring.astype(np.float64) - origin
        after = np.roll(here, -1, axis=0)
        cross = here[:, 0] * after[:, 1] - after[:, 0] * here[:, 1]
        way = np.sign(cross.sum())
        area += way * cross.sum() / 2
        moment += way * ((here + after) * cross[:, None]).sum(axis=0) / 6
    x, y = corners.mean(axis=0) if area < 1e-9 else origin + moment / area
    return float(x), float(y)


def plain_word(word: object) -> str:
    """A word as options compare it: without case, `_` and `-` equal to a space."""
    return re.sub(r"[\s_-]+", " ", str(word)).strip().lower()


def chosen(words: str | Iterable[object] | None, known: Iterable[str], *, option: str, where: Path) -> set[str]:
    """The words of a reader's option, each a `plain_word`; a lone string is one word.

    Raises
    ------
    ConfigError : a word that is none of `known`: left alone, it would leave nothing out, or choose nothing.
    """
    there = {plain_word(k): k for k in known}
    given = [words] if isinstance(words, str) else list(words or ())
    for word in given:
        if plain_word(word) not in there:
            do = f"use {', '.join(sorted(set(there.values())))}"
            raise ConfigError(f"no such word for the option {option}", where=where, found=word, do=do)
    return {plain_word(word) for word in given}


def near(points: Points, shape: tuple[int, ...], mpp: float, reach_um: float = NEAR_UM) -> NDArray[np.bool_]:
    """[h w] the ground within `reach_um` of a point; by default, where a set that labels some nuclei only is known."""
    out = np.zeros(shape[:2], np.uint8)
    for x, y in zip(*points, strict=True):
        cv2.circle(out, (round(float(x) - 0.5), round(float(y) - 0.5)), max(1, round(reach_um / mpp)), 1, -1)
    return out.astype(bool)


def no_points() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]]:
    """`x_px, y_px, label` of a sample without nuclei."""
    return np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int8)


@dataclass(frozen=True)
class Facts:
    """What `fields.csv` says of the fields of a folder, by name."""

    rows: dict[str, dict[str, str]]

    def sample_keys(self, name: str, image: str = "") -> dict[str, Any]:
        """`name, group, patient, centre, organ, scanner` of a `Sample`.

        Parameters
        ----------
        image : name of the image of which the field is a part; empty = the field itself.
        """
        image = image or name
        row = self.rows.get(image, {})
        patient, centre = tcga(image)
        patient = row.get("patient") or patient
        return {
            "name": name,
            "group": patient or image,
            "patient": patient,
            "centre": row.get("centre") or centre,
            "organ": row.get("organ", "").lower(),
            "scanner": row.get("scanner", "").lower(),
        }


def read_facts(root: Path, images: Mapping[str, str]) -> Facts:
    """The table `fields.csv` of a folder: `name` and, as far as known, `patient, centre, organ, scanner`.

    Without it a TCGA barcode in the name tells patient and centre.

    Parameters
    ----------
    images : name of each field of the folder, and the file of its image, by which the table may name it too.

    Raises
    ------
    DataError : another column, a name that stands there twice, or one that no field has.
    """
    path = root / "fields.csv"
    if not path.exists():
        return Facts({})
    try:
        table = read_table(path, dtype=str, keep_default_na=False).map(str.strip)
    except (OSError, ValueError) as err:
        raise DataError("is not a table", where=path, found=err) from err
    columns = ["name", "patient", "centre", "organ", "scanner"]
    odd = [c for c in table.columns if c not in columns]
    field_of = {file: name for name, file in images.items()} | {name: name for name in images}
    rows = {field_of.get(row.get("name"), row.get("name")): row for row in table.to_dict("records")}
    if odd or "name" not in table.columns or len(rows) < len(table):
        found = f"column {odd[0]}" if odd else "a name missing or there twice"
        raise DataError("is not a table of the fields", where=path, found=found, do=f"use {', '.join(columns)}")
    lost = [name for name in rows if name not in images]
    if lost:
        do = f"give the names of the annotated images, e.g. {min(images)}"
        raise DataError("names a field that is not there", where=path, found=lost[0], do=do)
    return Facts(rows)
