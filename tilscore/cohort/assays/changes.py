"""The change of the score of each pair of biopsies beside the change of an assay, or beside what the patient has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tilscore.cohort.assays.changetests import (
    change_agreement,
    differing,
    given_sampling,
    groups_given_sampling,
    naive,
)
from tilscore.cohort.assays.levels import CFG, OFFSET_PER_MM2, VALUE, Levels
from tilscore.cohort.assays.table import of_patients, patient_columns, same_blocks, several_notes, stated_at
from tilscore.cohort.assays.tests import correlations, groups
from tilscore.cohort.manifest.models import model_notes, pair_notes
from tilscore.cohort.manifest.pool import MADE_WITH, pool_biopsies
from tilscore.cohort.paired.pairs import build_pairs
from tilscore.errors import UsageError
from tilscore.inputs.words import as_word, order, several

DELTA, LOG_RATIO, TRANSITION = "delta", "log_ratio", "transition"
"""How an assay is taken: as after minus before, as the log of after / before, or as the group before and after."""
_SIDES = ("before", "after")
_OF_PATIENT = ["centre", "arm", "response"]


@dataclass(frozen=True)
class Changes(Levels):
    """What is tested: the change of the score from baseline to a later time point, as `analyse` reports it."""

    @cached_property
    def _theirs(self) -> set[str]:
        return set(patient_columns(self.other, self.selected.outcome_columns))

    @cached_property
    def taken(self) -> dict[str, str]:
        """How each column that is tested is taken: what rows of the later time point state, as its change.

        Taken as they are: what is the patient's (see `patient_columns`) or was not measured again, and groups of more
        than two words, whose transitions are too many.

        Raises
        ------
        UsageError : a column has a name that another one's change gets.
        """
        taken = dict.fromkeys(self.selected.kinds, VALUE)
        for name in (n for n in taken if n in self.other.columns and n not in self._theirs):
            if len(stated_at(self.other, name, self.timepoint)) == 0:
                continue
            if self.selected.kinds[name] == "number":
                taken[name] = LOG_RATIO if name in self.selected.densities else DELTA
            elif self.other.table[name].replace("", np.nan).nunique() == 2:
                taken[name] = TRANSITION
        made = {f"{n}_{part}": n for n, how in taken.items() if how != VALUE for part in (*_SIDES, how)}
        if twice := [c for c in self.other.columns if c in made]:
            what = f"the change of {made[twice[0]]!r} would have the name of another column"
            raise UsageError(what, found=twice[0], do="rename one")
        return taken

    @cached_property
    def assayed(self) -> pd.DataFrame:
        """One row a patient (its index): of each assay its change, with `_before` and `_after`, or its value at
        baseline.

        A log ratio is that of both densities with the offset of the paired analysis; one below 0 is none. Rows without
        a time point state no change. Several blocks are averaged; groups that differ between them are none.
        """
        found = of_patients(self.other, "baseline", self.selected.outcome_columns, self.selected.grouped)
        made: dict[str, pd.Series] = {}
        for name, how in ((n, how) for n, how in self.taken.items() if how != VALUE):
            sides = [stated_at(self.other, name, at) for at in ("baseline", self.timepoint)]
            pool = _one_word if how == TRANSITION else _mean
            before, after = (pool(values).reindex(found.index) for values in sides)
            made |= {f"{name}_before": before, f"{name}_after": after}
            if how == TRANSITION:
                made[name] = (before + "->" + after).fillna("")
                continue
            if how == LOG_RATIO:
                before, after = (np.log(v.where(v >= 0) + OFFSET_PER_MM2) for v in (before, after))
            made[name] = after - before
        kept = found.drop(columns=[n for n in made if n in found])
        return pd.concat([kept, pd.DataFrame(made, index=found.index)], axis=1)

    def join(self, slides: pd.DataFrame) -> pd.DataFrame:
        """One row a patient (its index) with a score at baseline and at the time point, as `build_pairs` makes it: `y`,
        its change on the measure's scale; `shown`, the same as a ratio or in points; and the assays.

        Raises
        ------
        UsageError : an assay has the name of a column of pairs.
        """
        pairs = build_pairs(pool_biopsies(slides, self.scores), CFG, [self.what])
        here = pairs[pairs["timepoint"] == self.timepoint].set_index("patient_id")
        pairs = here.assign(y=here.get(self.what.delta, np.nan))
        pairs["shown"] = pairs.get(f"{self.what.name}_ratio", pairs["y"])
        pairs[_OF_PATIENT] = pairs[_OF_PATIENT].astype(object).where(pairs[_OF_PATIENT].notna(), "")
        if twice := [c for c in self.assayed.columns if c in pairs]:
            raise UsageError("an assay has the name of a column of the pairs", found=twice[0], do="rename it")
        return pairs.join(self.assayed)

    def check_pairs(self, slides: pd.DataFrame) -> None:
        """Refuse a time point at which nobody has a pair.

        Raises
        ------
        UsageError : so it is; it names the time points that have pairs.
        """
        found = build_pairs(pool_biopsies(slides, self.scores), CFG, [])["timepoint"].value_counts()
        if self.timepoint in found:
            return
        others = ", ".join(f"{t} ({found[t]})" for t in sorted(found.index, key=order))
        do = f"take one of these, with their pairs: {others}" if others else "score baselines and later biopsies"
        what = "no patient has a score both at baseline and then"
        raise UsageError(what, where="--timepoint", found=self.timepoint, do=do)

    def same_blocks(self, slides: pd.DataFrame, name: str) -> pd.DataFrame:
        """Slides of the blocks that an assay was made of, at either time; of a change, rows without a time have no
        say."""
        return same_blocks(slides, self.other, name, "baseline" if self.taken[name] == VALUE else "")

    def of_number(self, frame: pd.DataFrame, name: str, compared: Collection[str]) -> list[dict[str, Any]]:
        """Correlations of the change with a number or its change, and agreement of two log ratios."""
        plain, partial = correlations(frame, name, given_sampling)
        known = frame[frame["y"].notna() & frame[name].notna()]
        rows = [{"family": row["test"]} | row for row in (naive(plain, differing(known)), partial)]
        if name in compared and self.taken[name] == LOG_RATIO:
            rows += [
                {"family": "agreement"} | row for row in change_agreement(frame, name, f"H&E / assay{self._of_ratios}")
            ]
        return rows

    def of_group(self, frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
        """The change in groups, plain and given the sampling."""
        is_log = self.what.scale == "log"
        plain = naive(groups(frame, name, is_log=is_log), differing(frame[frame["y"].notna()]))
        if is_log and plain["test"] == "mann_whitney" and plain["status"] == "ok":
            plain["unit"] += self._of_ratios
        return [{"family": "group"} | plain, {"family": "group_partial"} | groups_given_sampling(frame, name)]

    @property
    def _of_ratios(self) -> str:
        return f", of the ratios {self.timepoint} / baseline"

    def written(self, whole: pd.DataFrame) -> pd.DataFrame:
        """The joined table; a change is named as such (`cd3_per_mm2_log_ratio`, `facs_cd8_frac_delta`)."""
        names = {name: f"{name}_{how}" for name, how in self.taken.items() if how != VALUE}
        return whole.drop(columns=["y", "shown"]).rename(columns=names)

    def model_notes(self, whole: pd.DataFrame) -> list[str]:
        """Pairs and biopsies that were scored by several models or settings."""
        sides = [whole[[f"{c}_{side}" for c in MADE_WITH]].set_axis(list(MADE_WITH), axis=1) for side in _SIDES]
        return [*pair_notes(whole), *model_notes(pd.concat(sides))]

    def notes(self, whole: pd.DataFrame) -> list[str]:
        """What is a change and what a value, with the pairs that have one, and how to read either."""
        n = several(len(whole), "pair")
        notes = [f"The score is its change from baseline to {self.timepoint}, as the paired analysis tells it: {n}."]
        heads = {
            LOG_RATIO: f"Taken as change too, log ratio {self.timepoint} / baseline",
            DELTA: f"Taken as change too, {self.timepoint} less baseline",
            TRANSITION: f"Taken as change too, group at baseline and at {self.timepoint}",
            "patient": "Taken as it is, of the patient",
            "baseline": "Taken as it is, of the baseline",
        }
        told: dict[str, list[str]] = {key: [] for key in heads}
        for name, how in self.taken.items():
            if name in self.other.columns:
                key = how if how != VALUE else "patient" if name in self._theirs else "baseline"
                told[key].append(f"{name} ({_n_stated(whole[name])})")
        notes += [f"{heads[key]} (in brackets: pairs that have it): {', '.join(c)}." for key, c in told.items() if c]
        notes += [text for name in self.taken for text in (*self._turned(whole, name), *self._below(whole, name))]
        turned = [name for name, how in self.taken.items() if how == TRANSITION]
        at_both = [several_notes(self.other, "baseline", (), self.selected.grouped)]
        at_both.append(several_notes(self.other, self.timepoint, (), turned))
        notes += list(dict.fromkeys(note for said in at_both for note in said))
        if differs := differing(whole):
            notes.append(f"Within pairs differ: {', '.join(differs)}. {_READ_FIRST}")
        if "response" not in self.taken and (whole["response"] != "").any():
            notes.append("Groups of response are held against each other in the paired analysis, and not here.")
        if told[LOG_RATIO] or told[DELTA]:
            notes.append(_SAME_PLACE)
        return [*notes, *([_TO_THE_MEAN] if told["patient"] or told["baseline"] else [])]

    def _turned(self, whole: pd.DataFrame, name: str) -> list[str]:
        """A note on a group of more than two words that patients have changed."""
        if name not in self.selected.grouped or self.taken[name] != VALUE or name not in self.other.columns:
            return []
        before, after = (_one_word(stated_at(self.other, name, at)) for at in ("baseline", self.timepoint))
        both = pd.concat([before, after], axis=1, keys=_SIDES).reindex(whole.index).dropna()
        if both.empty or name in self._theirs:
            return []
        n, at = int((both["before"] != both["after"]).sum()), self.timepoint
        return [f"{name}: the groups are those of the baseline; at {at} {n} of {len(both)} patients differ."]

    def _below(self, whole: pd.DataFrame, name: str) -> list[str]:
        if self.taken[name] != LOG_RATIO:
            return []
        n = int(((whole[f"{name}_before"] < 0) | (whole[f"{name}_after"] < 0)).sum())
        return [f"{name}: left out for a density below 0: {several(n, 'pair')}."] if n else []

    @property
    def lacking(self) -> str:
        """What is said of patients of the assays who are in no test."""
        return f"have no score both at baseline and at {self.timepoint}"

    @property
    def undated(self) -> str:
        """Which biopsy rows with a block but without a time point are taken to be of."""
        return "the baseline biopsy, where the assay is taken as it is"


def _mean(stated: pd.Series) -> pd.Series:
    """Of each patient (index) the mean."""
    return stated.groupby(level=0).mean()


def _one_word(stated: pd.Series) -> pd.Series:
    """Of each patient (index) the one word; patients with several are left out."""
    by = stated.map(as_word).groupby(level=0)
    return by.first()[by.nunique() == 1].astype(object)


def _n_stated(values: pd.Series) -> int:
    return int((values.notna() & (values != "")).sum())


_READ_FIRST = "Read the tests that are given the sampling before the plain ones, which are naive."
_SAME_PLACE = (
    "Two assays of one biopsy rise and fall together with the place it was taken from: that their changes agree does "
    "not show that the tumour changed."
)
_TO_THE_MEAN = (
    "What is high at baseline by chance falls by itself: an assay that goes with the baseline score goes with its "
    "change the other way (regression to the mean). The same assays at the baseline, without the change, tell which do."
)
