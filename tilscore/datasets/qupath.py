"""Nuclei and areas drawn in QuPath, on whole slides or fields: GeoJSON as QuPath exports it.

One folder, or `images/` and `annotations/` in it: `<name>.geojson` (or `.geojson.gz`, `.json`) beside
`<name>.<svs, ndpi, mrxs, tif, png, ...>`. In QuPath: draw a rectangle around what you annotate, place points (one set
of points a class) or keep detections, then File > Export objects as GeoJSON.

Nuclei: points, cells and detections, and annotations no larger than a nucleus. A nucleus without class is untyped.
Areas: larger annotations with a class of the regions table; where they overlap, the smaller one lies on top.
The annotated area: an annotation that is named or classed `ROI`, `Region*`, `Region of interest` or `Annotated area`,
or that has no class and is larger than any nucleus. It bounds what is known: **inside it every nucleus must be
marked**. A slide needs one; a field without one is taken to be annotated as a whole. `Ignore*` areas are unknown.
A file with areas only teaches
regions, and no nucleus is known in it; a file with a bare annotated area teaches that there is none.

Coordinates are level-0 pixels of the image as QuPath opens it, that is of the scanned part where the format states
one (MRXS and others): it is added, as for drawn areas elsewhere. A derived class counts by its base (`Tumor: Ki67+`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tilscore.datasets.classes import IGNORED, ClassMap, Entry
from tilscore.datasets.qupath_files import field_name, found_drawings
from tilscore.datasets.qupath_json import Drawing, Feature, read_drawing
from tilscore.datasets.reading import Facts, read_facts
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import AnnotationError, MppError
from tilscore.labels import UNKNOWN, Cell, Region
from tilscore.raster import fill_polygons
from tilscore.slide import Slide, open_slide
from tilscore.slide.mpp import DIFFERS, HOW_TO_GIVE
from tilscore.space import BoxUm, Grid, Window

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

LARGEST_NUCLEUS_UM2 = 500.0
"""A drawing that is larger is an area: a nucleus 25 um across, the largest that tumours have."""
FINEST_MPP = 0.2
"""Finer slides are read at `READ_MPP`: nothing is taught beyond it."""
READ_MPP = 0.25
LARGEST_PX = 100_000_000
"""Pixels of one annotated area: 300 MB, 6 mm2 at 0.25 um/px."""
AREA_WORDS = frozenset(
    {"roi", "region", "region*", "region of interest", "annotated area", "annotated", "field", "fov"}
)
IGNORE_WORDS = frozenset({"ignore", "ignore*"})
CLASSES = ClassMap(
    cells=(
        Entry("Inflammatory", Cell.INFLAMMATORY),
        Entry("Immune cells", Cell.INFLAMMATORY),
        Entry("Immune cell", Cell.INFLAMMATORY),
        Entry("Lymphocyte", Cell.INFLAMMATORY),
        Entry("Lymphocytes", Cell.INFLAMMATORY),
        Entry("Plasma cell", Cell.INFLAMMATORY),
        Entry("TIL", Cell.INFLAMMATORY),
        Entry("Epithelial", Cell.EPITHELIAL),
        Entry("Tumor", Cell.EPITHELIAL),
        Entry("Tumour", Cell.EPITHELIAL),
        Entry("Stromal", Cell.STROMAL),
        Entry("Stroma", Cell.STROMAL),
        Entry("Fibroblast", Cell.STROMAL),
        Entry("Endothelial", Cell.STROMAL),
        Entry("Macrophage", Cell.OTHER),
        Entry("Neutrophil", Cell.OTHER),
        Entry("Eosinophil", Cell.OTHER),
        Entry("Other", Cell.OTHER),
        Entry("Nucleus", UNTYPED),
        Entry("Unknown", UNTYPED),
    ),
    regions=(
        Entry("Tumor", Region.TUMOUR),
        Entry("Tumour", Region.TUMOUR),
        Entry("Epithelium", Region.TUMOUR),
        Entry("Stroma", Region.STROMA),
        Entry("Immune cells", Region.STROMA),
        Entry("Necrosis", Region.NECROSIS),
        Entry("Fat", Region.FAT),
        Entry("Adipose", Region.FAT),
        Entry("Other", Region.OTHER),
        Entry("Background", Region.OTHER),
    ),
)


@dataclass
class _Marks:
    """What a drawing says, in microns on the slide."""

    xy: list[tuple[float, float]] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    areas: list[tuple[int, BaseGeometry]] = field(default_factory=list)
    annotated: list[BaseGeometry] = field(default_factory=list)
    ignored: list[BaseGeometry] = field(default_factory=list)


def read_qupath(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The annotated areas of all drawings in a folder, one by one: a sample an area.

    Parameters
    ----------
    mpp : um/px of level 0, where the images do not state it (pictures never do).

    Raises
    ------
    DataError : no drawing, an unknown class, an image that is missing or one of two, two drawings of one image, a row
        of `fields.csv` without a drawing.
    AnnotationError : not GeoJSON, no annotated area on a slide, or a drawing that is not of this image.
    SlideError : an image that cannot be read, whose resolution is missing, or that states another one than `mpp`.
    """
    images = found_drawings(root)
    names = frozenset(field_name(path) for path in images)
    facts = read_facts(root, {field_name(path): image.name for path, image in images.items()})
    for path, image in images.items():
        drawing = read_drawing(path)
        with _opened(image, mpp) as slide:
            yield from _samples(slide, field_name(path), _sort(drawing, slide, classes), path, facts, names)


def _opened(image: Path, mpp: float | None) -> Slide:
    """The image at its own resolution, else at that of the set."""
    if mpp is not None:
        return open_slide(image, mpp=_needed(mpp, image))
    try:
        return open_slide(image)
    except MppError as err:
        do = (err.do or "").replace(HOW_TO_GIVE, "give the set its `mpp`")
        raise MppError(err.what, where=err.where, found=err.found, do=do) from err


def _needed(mpp: float, image: Path) -> float | None:
    """`mpp` where the image states no resolution that can be true; None where it states this one itself."""
    try:
        with open_slide(image, allow_upsampling=True) as slide:
            stated = slide.mpp
    except MppError:
        return mpp
    if abs(stated - mpp) > DIFFERS * stated:
        found, do = f"{stated:.4g} and {mpp:g} um/px", "leave `mpp` out; pictures that need it are a set of their own"
        raise MppError("the image states another resolution than `mpp`", where=image, found=found, do=do)
    return None


def _sort(drawing: Drawing, slide: Slide, classes: ClassMap) -> _Marks:
    """Nuclei and areas of a drawing, from the pixels of the image as QuPath opens it to microns on the slide."""
    from shapely import affinity

    out = _Marks()
    origin = np.array([slide.bounds_um.x0, slide.bounds_um.y0])
    for one in drawing.features:
        if one.points is not None:
            xy = one.points * slide.mpp + origin
            _add_nuclei(out, xy, _label(one, classes, drawing.path))
            continue
        assert one.area is not None
        area = affinity.affine_transform(one.area, [slide.mpp, 0, 0, slide.mpp, *origin])
        _add_area(out, one, area, classes, drawing.path)
    return out


def _add_area(out: _Marks, one: Feature, area: BaseGeometry, classes: ClassMap, where: Path) -> None:
    word, large = one.word.lower(), area.area > LARGEST_NUCLEUS_UM2
    is_cell, is_region = (any(e.name.lower() == word for e in es) for es in (classes.cells, classes.regions))
    if {word, one.name.lower()} & AREA_WORDS or (large and not word):
        out.annotated.append(area)
    elif word in IGNORE_WORDS:
        out.ignored.append(area)
    elif is_region and (large or not is_cell):
        out.areas.append((classes.region(word, where), area))
    elif large and is_cell:
        found, do = f"{one.word}, {area.area:.0f} um2", "give it a class of a region, or mark nuclei"
        raise AnnotationError("an area with a class of nuclei", where=where, found=found, do=do)
    elif large:
        classes.region(one.word, where)
    else:
        _add_nuclei(out, np.array([[area.centroid.x, area.centroid.y]]), _label(one, classes, where))


def _label(one: Feature, classes: ClassMap, where: Path) -> int:
    return classes.cell(one.word, where) if one.word else UNTYPED


def _add_nuclei(out: _Marks, xy: NDArray[np.float64], label: int) -> None:
    out.xy += [(float(x), float(y)) for x, y in xy]
    out.label += [label] * len(xy)


def _samples(
    slide: Slide, name: str, marks: _Marks, path: Path, facts: Facts, names: frozenset[str]
) -> Iterator[Sample]:
    """The annotated areas of a drawing; of several, `S1-1`, `S1-2`, or `S1/1`, ... where a drawing is called `S1-1`."""
    import shapely

    level0 = slide.level0
    ground = shapely.box(0, 0, level0.width_um, level0.height_um)
    _check(marks, ground, slide, path)
    grid = level0 if slide.mpp >= FINEST_MPP else level0.at(READ_MPP)
    whole = shapely.union_all(marks.annotated).intersection(ground) if marks.annotated else ground
    parts = [p for p in getattr(whole, "geoms", [whole]) if p.geom_type == "Polygon"]
    parts.sort(key=lambda p: (p.bounds[1], p.bounds[0]))
    windows = [grid.covering_window(BoxUm(*part.bounds)).clip() for part in parts]
    for window in windows:
        if window.w * window.h > LARGEST_PX:
            found, do = f"{window.w} x {window.h} px", "draw smaller ones"
            raise AnnotationError("annotated area too large to be held", where=path, found=found, do=do)
    numbered = [f"{name}-{i + 1}" for i in range(len(parts))]
    if not names.isdisjoint(numbered):
        numbered = [f"{name}/{i + 1}" for i in range(len(parts))]
    owner = _owners(parts, windows, marks)
    for i, (part, window, number) in enumerate(zip(parts, windows, numbered, strict=True)):
        keys = facts.sample_keys(name if len(parts) == 1 else number, name)
        keys["n_left_out"] = 0 if i else int((owner < 0).sum())
        yield _sample(slide, window, part, marks, owner == i, keys)


def _owners(parts: list[BaseGeometry], windows: list[Window], marks: _Marks) -> NDArray[np.int64]:
    """[n] the area that has each nucleus: one that holds it, else one whose picture shows it, else -1."""
    import shapely

    x, y = np.array(marks.xy).reshape(-1, 2).T
    owner = np.full(len(x), -1, np.int64)
    holds = [shapely.intersects_xy(part, x, y) for part in parts]
    shows = [(x >= b.x0) & (x < b.x1) & (y >= b.y0) & (y < b.y1) for b in (w.box for w in windows)]
    for those in (holds, shows):
        for i, here in enumerate(those):
            owner[here & (owner < 0)] = i
    return owner


def _check(marks: _Marks, ground: BaseGeometry, slide: Slide, path: Path) -> None:
    if not marks.annotated and not slide.is_field:
        do = "draw a rectangle around what is annotated, call it ROI, and export it with the rest"
        raise AnnotationError("no annotated area on a slide", where=path, do=do)
    xy = np.array(marks.xy).reshape(-1, 2)
    x0, y0, x1, y1 = ground.bounds
    off = ~((xy >= (x0, y0)) & (xy <= (x1, y1))).all(axis=1)
    lost = [a for a in marks.annotated if not a.intersects(ground)]
    if off.any() or lost:
        what = f"{int(off.sum())} nuclei and {len(lost)} annotated areas off the image"
        raise AnnotationError("is not of this image", where=path, found=what, do=f"is it of {slide.path.name}?")


def _sample(
    slide: Slide, window: Window, part: BaseGeometry, marks: _Marks, own: NDArray[np.bool_], keys: dict[str, Any]
) -> Sample:
    """One annotated area and its `own` nuclei: its bounding box, known inside its outline."""
    grid = Grid(window.grid.mpp, window.w, window.h)
    corner = np.array([window.box.x0, window.box.y0])

    def filled(shape: BaseGeometry) -> NDArray[np.bool_]:
        polygons = [p for p in getattr(shape, "geoms", [shape]) if p.geom_type == "Polygon"]
        return fill_polygons(
            grid, [[np.asarray(r.coords) - corner for r in (p.exterior, *p.interiors)] for p in polygons]
        )

    inside = filled(part)
    for shape in marks.ignored:
        inside &= ~filled(shape)
    regions = None
    if marks.areas:
        regions = np.full(grid.shape, UNKNOWN, np.uint8)
        for to, shape in sorted(marks.areas, key=lambda a: -a[1].area):
            regions[filled(shape) & inside] = to
    xy = (np.array(marks.xy).reshape(-1, 2) - corner) / grid.mpp
    here = own & ((xy >= 0) & (xy < (window.w, window.h))).all(axis=1)
    regions_only = bool(marks.areas) and all(label == IGNORED for label in marks.label)
    return Sample(
        source="qupath",
        image=slide.read(window),
        mpp=grid.mpp,
        x_px=xy[here, 0].astype(np.float32),
        y_px=xy[here, 1].astype(np.float32),
        label=np.array(marks.label, np.int8)[here],
        known=np.zeros(grid.shape, bool) if regions_only else inside,
        regions=regions,
        **keys,
    )
