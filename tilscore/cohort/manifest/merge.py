"""Results of several centres as one cohort: one manifest and one table of scores, and what differs between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tilscore.cohort.manifest.pool import MADE_WITH, pool_biopsies, read_scores, scores_file
from tilscore.cohort.manifest.read import read_manifest
from tilscore.cohort.manifest.sheet import Sheet, read_sheet
from tilscore.cohort.tables import made_from, plain, plain_rows, write_table
from tilscore.errors import UsageError
from tilscore.files import write_json
from tilscore.inputs.names import safe_id
from tilscore.inputs.words import COLUMNS, bare, is_missing, is_scored, several
from tilscore.results.provenance import read_notes, settings_of, version_of

SCHEMA_VERSION = 1
CODES = ("own", "study")
WANTED = ("centre", "manifest", "results")
MUCH = 0.25
"""Share of a centre's slides with one trouble from which it is told."""
_CENTRE = re.compile(r"[^\W_]\w*(-\w+)*")
_SAME = ["n_tils", "stroma_mm2", "tumour_mm2", "tissue_mm2", "til_density_per_mm2"]
_FLAGS = {"stain_out_of_range": "stain_out_of_range", "blurred": "blurred"}


@dataclass(frozen=True)
class Centre:
    """What one centre sent.

    Attributes
    ----------
    slides : its manifest. scores : of the slides that the manifest lists. n_unlisted : scores of other slides.
    files : what was read.
    """

    name: str
    slides: pd.DataFrame
    scores: pd.DataFrame
    n_unlisted: int
    files: dict[str, Path]


def merge(centres: Path, out: Path, *, codes: str | None = None) -> dict[str, Any]:
    """The verb: write `slides.csv`, `scores.csv`, `biopsies.csv`, `merged.csv` and `merged.json` of all centres.

    Slides are called `CENTRE_slide`, whichever centres there are, so that names stay when one joins later.

    Parameters
    ----------
    centres : a CSV, one line a centre, with the columns `centre`, `manifest` and `results` (a folder of `run` or its
        scores.csv), from its own folder on.
    codes : whose codes `patient_id` holds. `own`: each centre's, so that the centre is put before them; `study`: one
        code is one patient in all centres; None: as they are, but a code in two centres is refused.

    Returns
    -------
    dict : what `merged.json` holds: `centres` (the rows of `merged.csv`), `notes`, `versions`, `inputs`.

    Raises
    ------
    UsageError : a list or manifest with errors, a code of two centres, a slide of two. DataError : unreadable scores.
    """
    if codes not in (None, *CODES):
        raise UsageError("unknown word", where="--codes", found=codes, do="one of: " + ", ".join(CODES))
    read = [_read(*row) for row in _listed(Path(centres))]
    _keep_apart(Path(out), read)
    _no_shared_slides(read)
    if codes is None:
        _no_shared_codes(read)
    slides = pd.concat([_slides(one, own=codes == "own") for one in read], ignore_index=True)
    scores = pd.concat([one.scores.assign(slide_id=_ids(one, one.scores)) for one in read], ignore_index=True)
    if (twice := slides["slide_id"][slides["slide_id"].str.casefold().duplicated()]).size:
        raise UsageError("two slides get one name", where="slide_id", found=twice.iloc[0], do="shorten or rename them")
    table = pd.DataFrame([_about(one) for one in read])
    result = {
        "schema_version": SCHEMA_VERSION,
        **made_from({"centres": Path(centres)} | {k: v for one in read for k, v in one.files.items()}, "pandas"),
        "codes": codes,
        "centres": plain_rows(table),
        "notes": [*_notes(read, table), *_several(table)],
    }
    out = Path(out)
    for name in ("biopsies.csv", "merged.csv", "merged.json"):
        (out / name).unlink(missing_ok=True)
    write_table(out / "slides.csv", slides.dropna(axis="columns", how="all"))
    write_table(out / "scores.csv", scores)
    write_table(out / "biopsies.csv", pool_biopsies(read_manifest(out / "slides.csv"), read_scores(out)))
    write_table(out / "merged.csv", table)
    result = dict(plain(result))
    write_json(out / "merged.json", result)
    return result


def _listed(path: Path) -> list[tuple[str, Path, Path]]:
    """Name, manifest and results of each centre."""
    sheet: Sheet = read_sheet(path)
    do = f"one line a centre, with the columns {', '.join(WANTED)}"
    if not sheet.rows or (lack := [name for name in WANTED if name not in sheet.columns]):
        what = f"no column {lack[0]!r}" if sheet.rows else "no line of a centre"
        wrong = next((p.message for p in sheet.problems if p.severity == "error"), "")
        raise UsageError(what, where=path, found=wrong if wrong and not sheet.rows else None, do=do)
    found: dict[str, tuple[str, Path, Path]] = {}
    for row in sheet.rows:
        where = f"{path} line {row.line}"
        cells = {name: row.cells.get(name, "") for name in WANTED}
        for name, text in cells.items():
            if is_missing(text):
                raise UsageError("is empty", where=f"{where} column {name!r}", do=do)
        name = cells["centre"]
        if not _CENTRE.fullmatch(name):
            letters = "letters and digits, joined by - or _"
            raise UsageError("is no name that files can have", where=f"{where} column 'centre'", found=name, do=letters)
        if name.casefold() in found:
            do = "one manifest and one results folder of a centre: run it once more with all its slides"
            raise UsageError("a centre is there twice", where=where, found=name, do=do)
        found[name.casefold()] = name, path.parent / cells["manifest"], path.parent / cells["results"]
    return list(found.values())


def _read(name: str, manifest: Path, results: Path) -> Centre:
    slides, scores = read_manifest(manifest), read_scores(results)
    listed = scores["slide_id"].isin(slides["slide_id"])
    files = {f"{name}_manifest": manifest, f"{name}_scores": scores_file(results)}
    kept = _with_settings(scores[listed].reset_index(drop=True), Path(results))
    return Centre(name, slides, kept, int((~listed).sum()), files)


def _keep_apart(out: Path, read: list[Centre]) -> None:
    """Raise where a centre's own file would be written over."""
    for one in read:
        for path in one.files.values():
            if path.resolve().parent == out.resolve():
                do = f"name another folder: {out} holds what {one.name} sent"
                raise UsageError("would be written over", where=path, do=do)


def _with_settings(scores: pd.DataFrame, results: Path) -> pd.DataFrame:
    """The scores with `settings` and `version`, from provenance.json where an older table does not have them."""
    out = scores.copy()
    for column, of in (("settings", settings_of), ("version", version_of)):
        if column not in out:
            out[column] = ""
        lacking = (out[column] == "") & (out["status"] == "ok")
        if results.is_dir() and lacking.any():
            told = out.loc[lacking, "slide_id"].map(lambda name, of=of: of(read_notes(results / name)))
            out.loc[lacking, column] = told
    return out


def _no_shared_codes(read: list[Centre]) -> None:
    """Raise where a code is in two centres: two persons, or one."""
    first: dict[str, str] = {}
    shared: dict[str, tuple[str, str]] = {}
    for one in read:
        for code in dict.fromkeys(one.slides["patient_id"]):
            other = first.setdefault(bare(code), one.name)
            if other != one.name:
                shared.setdefault(code, (other, one.name))
    if shared:
        code, (a, b) = next(iter(shared.items()))
        do = "give --codes own where each centre has codes of its own, --codes study where one code is one patient"
        found = f"{code!r} of {a} and {b}"
        raise UsageError(f"{several(len(shared), 'patient_id')} stand in two centres", found=found, do=do)


def _no_shared_slides(read: list[Centre]) -> None:
    """Raise where slides of two centres have all their numbers in common: one slide, counted twice."""
    parts = [
        one.scores.assign(_centre=one.name).reindex(columns=["slide_id", "_centre", "status", *_SAME]) for one in read
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table[(table["status"] == "ok") & (table["n_tils"] > 0) & table[_SAME].notna().all(axis=1)]
    for _, same in table.groupby(_SAME, sort=False):
        if same["_centre"].nunique() > 1:
            a, b = same.drop_duplicates("_centre").head(2).to_dict("records")
            found = f"{a['slide_id']!r} of {a['_centre']} and {b['slide_id']!r} of {b['_centre']}"
            do = "take it out of one centre's manifest"
            raise UsageError("one slide is in two centres: all numbers of it are equal", found=found, do=do)


def _ids(one: Centre, table: pd.DataFrame) -> pd.Series:
    return table["slide_id"].map(lambda name: safe_id(f"{one.name}_{name}"))


def _slides(one: Centre, *, own: bool) -> pd.DataFrame:
    """The manifest of a centre as part of the merged one: names that only its own disk knows are gone."""
    table = one.slides.copy()
    ids = _ids(one, table)
    table["path"] = [f"{new}{Path(path).suffix}" for new, path in zip(ids, table["path"], strict=True)]
    table["slide_id"], table["centre"] = ids, one.name
    if own:
        table["patient_id"] = f"{one.name}-" + table["patient_id"]
    kept = [c for c in table.columns if c not in ("roi", "mpp", "line")]
    return table[[*(c for c in COLUMNS if c in kept), *(c for c in kept if c not in COLUMNS)]]


def _about(one: Centre) -> dict[str, Any]:
    """A row of `merged.csv`."""
    scored = one.slides[one.slides["stain"].map(is_scored)]
    ok = one.scores[one.scores["status"] == "ok"]
    row: dict[str, Any] = {"centre": one.name, "n_patients": scored["patient_id"].nunique(), "n_slides": len(scored)}
    row |= {f"n_{state}": int((one.scores["status"] == state).sum()) for state in ("ok", "not_evaluable", "failed")}
    row["n_unscored"] = int((~scored["slide_id"].isin(one.scores["slide_id"])).sum())
    row |= {name: ";".join(sorted({*ok[name].fillna("")} - {""})) if name in ok else "" for name in MADE_WITH}
    row["n_no_interval"] = int(ok["til_density_low"].isna().sum())
    codes = ok["reasons"].fillna("").str.split(";") if "reasons" in ok else pd.Series([[]] * len(ok), dtype=object)
    row |= {f"n_{name}": int(codes.map(lambda said, code=code: code in said).sum()) for name, code in _FLAGS.items()}
    mpp = ok["mpp_um"].dropna() if "mpp_um" in ok else pd.Series(dtype=float)
    row |= {"mpp_um_min": mpp.min() if len(mpp) else None, "mpp_um_max": mpp.max() if len(mpp) else None}
    for name in ("til_density_per_mm2", "stroma_mm2"):
        row[f"{name}_median"] = ok[name].median() if len(ok) else None
    return row


def _notes(read: list[Centre], table: pd.DataFrame) -> list[str]:
    """What is to know of single centres."""
    notes = []
    for one, row in zip(read, table.to_dict("records"), strict=True):
        n = row["n_ok"]
        said = []
        if row["n_unscored"]:
            said.append(
                f"{row['n_unscored']} of {several(row['n_slides'], 'slide')} of the manifest are not in its scores"
            )
        if one.n_unlisted:
            said.append(f"{several(one.n_unlisted, 'score')} of slides that its manifest does not list are left out")
        if row["n_failed"] + row["n_not_evaluable"] > MUCH * row["n_slides"]:
            said.append(f"{row['n_failed']} slides failed and {row['n_not_evaluable']} are not evaluable")
        if n and row["n_stain_out_of_range"] > MUCH * n:
            said.append(f"the stain of {row['n_stain_out_of_range']} of {n} slides lies beyond what the model knows")
        if n and row["n_blurred"] > MUCH * n:
            said.append(f"{row['n_blurred']} of {n} slides are blurred")
        if n and row["n_no_interval"] == n:
            said.append("no score has an interval: an older version wrote its table, or its slides are small")
        others = sorted({*one.slides["centre"]} - {"", one.name})
        if others:
            said.append(f"its manifest calls the centre {', '.join(others)}; the list's name was taken")
        if said:
            notes.append(f"{one.name}: {'; '.join(said)}.")
    return notes


def _several(table: pd.DataFrame) -> list[str]:
    """Models, settings and versions that differ between centres, and who does not tell them."""
    notes = []
    do = {
        "model": "Their scores cannot be compared, and cohort rank refuses them: score all slides with one",
        "settings": "Their scores cannot be compared before provenance.json tells what differs: score all with one",
        "version": "Read in its changes whether scores differ, or score all with one",
    }
    for name, remedy in do.items():
        known = table[table[name] != ""]
        if len({part for text in known[name] for part in text.split(";")}) > 1:
            told = ", ".join(f"{c}: {text}" for c, text in zip(known["centre"], known[name], strict=True))
            notes.append(f"Centres differ in {name} ({told}). {remedy}.")
        silent = table.loc[(table[name] == "") & (table["n_ok"] > 0), "centre"]
        if len(silent):
            notes.append(f"The scores of {', '.join(silent)} do not tell their {name}: ask for the results folder.")
    return notes
