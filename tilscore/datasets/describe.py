"""What annotated sets hold, as text: `train --describe`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tilscore.datasets.classes import ClassMap, word
from tilscore.datasets.sample import UNTYPED, Sample
from tilscore.labels import Cell, Region


def describe_sets(samples: Sequence[Sample], maps: Mapping[str, ClassMap] | None = None) -> str:
    """Per set: images, area, nuclei per class, region areas, patients, centres, resolution, and its class map.

    Parameters
    ----------
    maps : class map of each set by its name (`class_map` of the registry), as far as they are to be shown.
    """
    sources = dict.fromkeys(s.source for s in samples)
    blocks = [_block(name, [s for s in samples if s.source == name], (maps or {}).get(name)) for name in sources]
    shared = _shared(samples)
    return "\n\n".join([*blocks, *([shared] if shared else [])])


def _block(name: str, samples: Sequence[Sample], classes: ClassMap | None) -> str:
    mpp = sorted({round(s.mpp, 4) for s in samples})
    patients = {s.patient for s in samples} - {""}
    lines = [
        name,
        f"  images      {len(samples)}, {sum(s.area_mm2 for s in samples):.2f} mm2"
        f" at {' to '.join(f'{m:g}' for m in dict.fromkeys((mpp[0], mpp[-1])))} um/px",
        f"  split by    {f'{len(patients)} patients' if patients else f'{len({s.group for s in samples})} groups'}",
        f"  centres     {_counted(Counter(s.centre for s in samples if s.centre))}",
        f"  organs      {_counted(Counter(s.organ for s in samples if s.organ))}",
        f"  scanners    {_counted(Counter(s.scanner for s in samples if s.scanner))}",
        *_annotation(samples),
    ]
    return "\n".join([*lines, *class_lines(classes)])


def _annotation(samples: Sequence[Sample]) -> list[str]:
    n = sum(s.annotated for s in samples)
    if not n:
        return ["  annotated   nothing: it tests no model, and teachers alone teach on it", *_left_out(samples)]
    return [
        *([f"  annotated   {n} of {len(samples)} images"] if n < len(samples) else []),
        f"  nuclei      {_nuclei(samples)}",
        *_left_out(samples),
        f"  known       {sum(s.known_mm2 for s in samples):.2f} mm2{_complete(samples)}",
        f"  regions     {_regions(samples)}",
    ]


def _counted(words: Counter[str]) -> str:
    shown = [f"{w} {n}" for w, n in words.most_common(6)]
    rest = len(words) - len(shown)
    return ", ".join(shown) + (f", {rest} more" if rest else "") if words else "not told"


def _nuclei(samples: Sequence[Sample]) -> str:
    label = np.concatenate([s.label for s in samples])
    counts = {c.name.lower(): int((label == c).sum()) for c in Cell}
    counts["untyped"] = int((label == UNTYPED).sum())
    return f"{len(label)}: " + ", ".join(f"{w} {n}" for w, n in counts.items() if n) if len(label) else "none labelled"


def _left_out(samples: Sequence[Sample]) -> list[str]:
    n = sum(s.n_left_out for s in samples)
    return [f"  left out    {n} nuclei marked outside every annotated area"] if n else []


def _complete(samples: Sequence[Sample]) -> str:
    classes = sorted({c for s in samples for c in s.complete})
    return f"; elsewhere complete: {', '.join(c.name.lower() for c in classes)}" if classes else ""


def _regions(samples: Sequence[Sample]) -> str:
    mm2 = {r.name.lower(): sum(s.mpp**2 / 1e6 * np.count_nonzero(s.regions == r) for s in samples) for r in Region}
    return ", ".join(f"{w} {v:.2f} mm2" for w, v in mm2.items() if v > 0) or "none drawn"


def class_lines(classes: ClassMap | None) -> list[str]:
    """A class map as indented lines: code, class of the set, what it becomes."""
    if classes is None:
        return []
    lines = []
    for title, entries, region in (("cells", classes.cells, False), ("regions", classes.regions, True)):
        if entries:
            width = max(len(e.name) for e in entries)
            lines.append(f"  class map, {title}")
            for e in entries:
                code = "   " if e.code is None else f"{e.code:3d}"
                lines.append(f"    {code} {e.name:<{width}}  {word(e.to, region=region)}")
    return lines


def _shared(samples: Sequence[Sample]) -> str:
    """Patients that several sets have: a split keeps them together."""
    sets: dict[str, set[str]] = {}
    for s in samples:
        if s.patient:
            sets.setdefault(s.patient, set()).add(s.source)
    pairs = Counter(" + ".join(sorted(names)) for names in sets.values() if len(names) > 1)
    if not pairs:
        return ""
    return "patients in several sets\n" + "\n".join(f"  {names}: {n}" for names, n in pairs.most_common())
