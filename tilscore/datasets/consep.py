"""CoNSeP: outlined and typed nuclei of colon, 1000 px at 0.25 um/px (Graham et al. 2019, Med Image Anal 58:101563).

Get it from warwick.ac.uk/fac/cross_fac/tia/data/hovernet (no licence stated there: research; ask for more). Layout:
`Train/Images/train_1.png` with `Train/Labels/train_1.mat`, the same for `Test`. The MATLAB file holds `inst_map`
[h w] (0 = none, k = nucleus k), `type_map` [h w], `inst_type` and `inst_centroid`.

Centres are the centres of mass of `inst_map`. The set tells no patient: an image is a group; the 41 images come from
16 slides. Inflammatory includes granulocytes. Lizard and CoNIC contain these images: never train on one and test on
the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tilscore.datasets.classes import ClassMap, Entry
from tilscore.datasets.instances import instance_centres, instance_codes, instance_map
from tilscore.datasets.reading import found_files, read_mat, read_rgb
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.errors import DataError
from tilscore.labels import Cell

MPP = 0.25
CLASSES = ClassMap(
    cells=(
        Entry("no type", UNTYPED, 0),
        Entry("other", Cell.OTHER, 1),
        Entry("inflammatory", Cell.INFLAMMATORY, 2),
        Entry("healthy epithelial", Cell.EPITHELIAL, 3),
        Entry("dysplastic/malignant epithelial", Cell.EPITHELIAL, 4),
        Entry("fibroblast", Cell.STROMAL, 5),
        Entry("muscle", Cell.STROMAL, 6),
        Entry("endothelial", Cell.STROMAL, 7),
    )
)


def read_consep(root: Path, *, classes: ClassMap = CLASSES, mpp: float | None = None) -> Iterator[Sample]:
    """The images of `Train` and `Test`, or of the one that `root` is, one by one.

    Raises
    ------
    DataError : not this layout, an unknown class code, or a partner file that is missing or does not fit.
    """
    for table in found_files(root, "Labels/*.mat", "*/Labels/*.mat", what="Labels/*.mat"):
        image = read_rgb(table.parents[1] / "Images" / f"{table.stem}.png")
        maps = read_mat(table, "inst_map", "type_map")
        inst, types = (instance_map(maps[k], table) for k in ("inst_map", "type_map"))
        if not inst.shape == types.shape == image.shape[:2]:
            raise DataError("maps have another size than the image", where=table, found=f"{inst.shape}, {types.shape}")
        _, (x, y) = instance_centres(inst)
        label = classes.cell_codes(instance_codes(inst, types), table)
        yield Sample(
            name=table.stem,
            source="consep",
            image=image,
            mpp=mpp or MPP,
            x_px=x,
            y_px=y,
            label=label,
            group=table.stem,
            centre="UHCW",
            organ="colon",
        )
