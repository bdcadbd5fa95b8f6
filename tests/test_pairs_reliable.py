"""A patient's own change: what the sampling explains is told by the other patients, and where they cannot, nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_pairs import CFG
from test_pairs_sampling import confounded_cohort

from tilscore.cohort.paired.pairs import build_pairs
from tilscore.cohort.paired.reliable import N_ALIKE, add_adjusted
from tilscore.stats.clustered import fit_clustered
from tilscore.stats.leaveoneout import leave_one_out


def cohort(changes: np.ndarray, error: np.ndarray, **after: np.ndarray) -> pd.DataFrame:
    """Biopsies of 300 TILs/mm2 that change by a log ratio, measured with an error of the log; all alike but `after`."""
    n = len(changes)
    side = pd.DataFrame({"patient_id": [f"P{i:02d}" for i in range(n)], "timepoint": "baseline"})
    side = side.assign(specimen="core", site="breast", stroma_mm2=2.0, n_cores=3, log=np.log(305.0))
    both = pd.concat([side, side.assign(timepoint="post", log=side["log"] + changes, **after)], ignore_index=True)
    reach = 1.96 * np.tile(error, 2) / np.sqrt(2)
    columns = {"til_density_per_mm2": 0 * reach, "til_density_low": -reach, "til_density_high": reach}
    return both.assign(**{name: np.exp(both["log"] + off) - 5 for name, off in columns.items()})


def indices(biopsies: pd.DataFrame) -> pd.DataFrame:
    pairs = add_adjusted(build_pairs(biopsies, CFG), CFG)
    names = {c: c.removeprefix("density_") for c in pairs if c.startswith("density_")}
    return pairs.rename(columns=names)


def test_left_out_is_a_fit_without_the_row() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 2, 15).astype(float), rng.normal(size=15)])
    d = rng.normal(size=15)
    found = leave_one_out(d, x)
    for i in range(15):
        others = np.arange(15) != i
        design = np.column_stack([np.ones(14), x[others]])
        told = fit_clustered(d[others], design, np.arange(14)).contrast(np.array([0.0, *x[i]]))
        assert (found.effect[i], found.se[i]) == pytest.approx((told.estimate, told.se))
    alone = leave_one_out(d, np.eye(15)[:, :1])
    assert np.isnan([alone.effect[0], alone.se[0]]).all()
    assert alone.leverage[0] == pytest.approx(1)
    assert (alone.effect[1:] == 0).all()


@pytest.mark.parametrize("change", [-3.0, 3.0])
def test_a_change_is_not_put_down_to_a_site_that_no_other_pair_has(change: float) -> None:
    """One patient of 24 fell to a twentieth, at another site: it had become a reliable increase, as the others rose."""
    changes = np.random.default_rng(1).normal(0.5, 0.3, 24)
    changes[0] = change
    site = np.array(["brain"] + ["breast"] * 23)
    found = indices(cohort(changes, np.full(24, 0.14), site=site))
    first, rest = found.iloc[0], found.iloc[1:]
    assert first[["adjusted", "rci_adjusted"]].isna().all()
    assert (first["reliable"], first["rci_reason"]) == (None, "rare_difference")
    assert abs(first["rci"]) > 20
    assert rest["adjusted"].to_numpy() == pytest.approx(rest["log_ratio"].to_numpy())
    assert rest["rci_adjusted"].to_numpy() == pytest.approx(rest["rci"].to_numpy())
    assert set(found["rci_basis"]) == {"adjusted"}


def test_a_change_counts_in_full_where_the_others_tell_the_sampling() -> None:
    """6 pairs end at a site that reads twice as high; one of them truly rose, which its own adjustment must not eat."""
    rng = np.random.default_rng(2)
    brain = np.arange(24) < N_ALIKE + 1
    changes = 0.05 * rng.normal(size=24) + np.log(2) * brain + 1.5 * (np.arange(24) == 0)
    found = indices(cohort(changes, np.full(24, 0.05), site=np.where(brain, "brain", "breast")))
    assert found.loc[0, "adjusted"] == pytest.approx(1.5, abs=0.2)  # with its own part: 1.25
    assert found["reliable"].tolist()[0] == "increase"
    assert found.loc[0, "adjusted_error_sd"] > 0.05
    few = indices(cohort(changes[1:], np.full(23, 0.05), site=np.where(brain, "brain", "breast")[1:]))
    assert few.loc[brain[1:], "rci_reason"].tolist() == ["rare_difference"] * N_ALIKE
    assert few.loc[~brain[1:], "rci_reason"].isna().all()


def test_measurement_error_alone_marks_one_in_twenty() -> None:
    """No change, few pairs at a level, errors that differ: the error of what is taken away counts too."""
    rng = np.random.default_rng(3)
    brain = np.arange(24) < N_ALIKE + 1
    marked = []
    for _ in range(150):
        error = rng.uniform(0.1, 0.4, 24)
        found = indices(
            cohort(error * rng.normal(size=24) + 0.7 * brain, error, site=np.where(brain, "brain", "breast"))
        )
        marked.append(found["reliable"].ne("none").to_numpy())
    at = np.array(marked)
    assert at[:, brain].mean() < 0.05 + 2 * np.sqrt(0.05 * 0.95 / at[:, brain].size)  # else 0.075
    assert at[:, ~brain].mean() < 0.05 + 2 * np.sqrt(0.05 * 0.95 / at[:, ~brain].size)


def test_a_pair_that_decides_its_own_adjustment_has_none() -> None:
    area = np.full(24, 2.0) * np.exp(0.05 * np.random.default_rng(4).normal(size=24))
    area[0] = 200.0
    found = indices(cohort(np.linspace(-1, 1, 24), np.full(24, 0.1), stroma_mm2=area))
    assert found["rci_reason"].tolist() == ["high_leverage"] + [None] * 23
    assert pd.isna(found.loc[0, "adjusted"])


def test_no_reliability_where_the_sampling_differs_and_is_not_adjusted_for() -> None:
    """Baseline cores, later resections: the density as measured rises in all, which is no reliable increase."""
    table = confounded_cohort(20)
    mean = table["til_density_per_mm2"]
    found = indices(table.assign(til_density_low=0.9 * mean, til_density_high=1.1 * mean))
    assert (found["rci"] > 1.96).mean() > 0.8
    assert found["reliable"].isna().all()
    assert set(found["rci_basis"]) == {"plain"}
    assert set(found["rci_reason"]) == {"sampling_differs"}
    assert found["adjusted"].to_numpy() == pytest.approx(found["log_ratio"].to_numpy())
    assert "rci_basis" not in add_adjusted(build_pairs(table, CFG), CFG)  # each measure has its own
    same = indices(cohort(np.linspace(-1, 1, 5), np.full(5, 0.1)))  # too few for a test, but nothing differs
    assert same["reliable"].tolist() == ["decrease", "decrease", "none", "increase", "increase"]
    assert set(same["rci_basis"]) == {"plain"}


def test_no_reliability_between_sites_of_one_group() -> None:
    """12 pairs have room for one coefficient: sites become breast and others, and liver to brain is no difference."""
    after = np.array(["brain", "liver", "lung", "brain", "liver", "lung", "brain"] + ["breast"] * 5)
    table = cohort(np.linspace(-1, 1, 12), np.full(12, 0.1), site=after)
    table.loc[(table["patient_id"] == "P06") & (table["timepoint"] == "baseline"), "site"] = "liver"
    found = indices(table)
    assert found["rci_reason"].tolist() == [None] * 6 + ["sampling_differs"] + [None] * 5
    assert set(found["rci_basis"]) == {"adjusted"}
