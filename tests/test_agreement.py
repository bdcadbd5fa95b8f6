"""Agreement figures against published worked examples, identities and the readers' tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tilscore.cohort.agreement.figures import every_pair, others_mean
from tilscore.errors import DataError
from tilscore.stats.agreement import (
    bland_altman,
    categories,
    ccc,
    ccc_interval,
    mae,
    pearson,
    quadratic_kappa,
    spearman,
    weighted_kappa,
)
from tilscore.stats.icc import icc
from tilscore.stats.pairfigures import FIGURES, figures_of, pair_sums, pooled_pairs

# Shrout & Fleiss 1979, table 2: 6 targets by 4 judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
# Bland & Altman 1986, table: first readings of peak flow, Wright and mini Wright meter, 17 subjects.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
# Agresti 1990, p. 368 (data set SexualFun of the R package vcd).
FUN = np.array([[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]])


def long(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, j = np.nonzero(np.isfinite(matrix))
    return i, j, matrix[i, j]


def test_icc_of_shrout_and_fleiss() -> None:
    """Estimates: Shrout & Fleiss 1979, table 4. Intervals: as psych::ICC of R prints them for these data."""
    found = icc(*long(JUDGES))
    published = {"icc1": (0.17, -0.133, 0.72), "icc2": (0.29, 0.019, 0.76), "icc3": (0.71, 0.342, 0.95)}
    for name, (value, low, high) in published.items():
        figure = getattr(found, name)
        assert figure.value == pytest.approx(value, abs=0.005)
        assert (figure.low, figure.high) == (pytest.approx(low, abs=0.001), pytest.approx(high, abs=0.005))
    assert found.complete
    assert (found.n_cases, found.n_readers, found.n_scores) == (6, 4, 24)


def test_icc_with_missing_cells_agrees_with_a_mixed_model() -> None:
    """Incomplete crossed design: variances by least squares against statsmodels' REML, on the same cells."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(5)
    matrix = rng.normal(0, 8, (80, 1)) + rng.normal(0, 4, (1, 8)) + rng.normal(0, 5, (80, 8))
    matrix[rng.random(matrix.shape) < 0.4] = np.nan
    case, reader, score = long(matrix)
    found = icc(case, reader, score)
    assert not found.complete
    one = MixedLM(score, np.ones((len(score), 1)), groups=case).fit()
    variance = float(np.asarray(one.cov_re).item())
    assert found.icc1.value == pytest.approx(variance / (variance + one.scale), abs=0.02)
    dummies = np.eye(8)[reader]  # readers fixed: ICC(3,1)
    three = MixedLM(score, dummies, groups=case).fit()
    variance = float(np.asarray(three.cov_re).item())
    assert found.icc3.value == pytest.approx(variance / (variance + three.scale), abs=0.02)
    assert found.error_sd == pytest.approx(three.scale**0.5, abs=0.1)


def test_icc_intervals_cover_when_cells_are_missing() -> None:
    rng = np.random.default_rng(1)
    hits = np.zeros(3)
    for _ in range(150):
        matrix = rng.normal(0, 8, (40, 1)) + rng.normal(0, 4, (1, 10)) + rng.normal(0, 5, (40, 10))
        matrix[rng.random(matrix.shape) < 0.5] = np.nan
        found = icc(*long(matrix))
        truths = (64 / (64 + 16 + 25), 64 / (64 + 16 + 25), 64 / (64 + 25))
        for k, (figure, truth) in enumerate(zip((found.icc1, found.icc2, found.icc3), truths, strict=True)):
            assert figure.low is not None
            assert figure.high is not None
            hits[k] += figure.low <= truth <= figure.high
    # ICC(1) supposes other readers for each case; here they are shared, so its interval is too narrow.
    assert (hits[1:] >= 134).all()  # 95 % of 150: 142.5 - 3 standard errors


def test_icc_refuses_and_abstains() -> None:
    with pytest.raises(DataError, match="two scores"):
        icc(["a", "a"], ["r", "r"], [1, 2])
    single = icc(["a", "b"], ["r", "r"], [1, 2])
    assert single.icc1.value is None
    assert single.icc1.reason
    assert single.icc3.value is None
    assert icc(*long(np.full((4, 3), 7.0))).icc1.value is None


def test_ccc_of_peak_flow() -> None:
    """DescTools::CCC and epiR::epi.ccc of R document these data: 0.942742."""
    assert ccc(WRIGHT, MINI).value == pytest.approx(0.942742, abs=1e-6)


def test_ccc_interval_of_epi_ccc() -> None:
    """epiR 1.0-15 prints for 25 pairs: rho.c 0.9461401 (0.8857455, 0.9750329), C.b 0.9910435, l.shift -0.1038458."""
    found = ccc_interval(0.9461401, 0.9461401 / 0.9910435, -0.1038458, 25)
    assert (found.low, found.high) == (pytest.approx(0.8857455, abs=1e-6), pytest.approx(0.9750329, abs=1e-6))


def test_bland_and_altman_1986() -> None:
    """Lancet 1986, 2 SD: bias -2.1 (-22.0 to 17.8), SD 38.8, limits -79.7 (-114.3 to -45.1), 75.5 (40.9 to 110.1)."""
    found = bland_altman(WRIGHT, MINI, multiplier=2, exact=False)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    for figure, published in (
        (found.bias, (-2.1, -22.0, 17.8)),
        (found.low_limit, (-79.7, -114.3, -45.1)),
        (found.high_limit, (75.5, 40.9, 110.1)),
    ):
        assert (figure.value, figure.low, figure.high) == pytest.approx(published, abs=0.2)


def test_exact_limits_are_the_noncentral_t_and_cover() -> None:
    found = bland_altman(WRIGHT, MINI)
    q = stats.nct.ppf([0.025, 0.975], 16, 1.96 * 17**0.5) / 17**0.5
    assert found.high_limit.low == pytest.approx(found.bias.value + q[0] * found.sd, rel=1e-4)
    assert found.high_limit.high == pytest.approx(found.bias.value + q[1] * found.sd, rel=1e-4)
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        limit = bland_altman(rng.normal(0, 1, 10), np.zeros(10)).high_limit
        assert limit.low is not None
        assert limit.high is not None
        hits += limit.low <= 1.96 <= limit.high
    assert 181 <= hits <= 199  # 95 % of 200: 190 +- 3 standard errors


def test_proportional_bias() -> None:
    """y = 2 x: difference = -x, mean = 1.5 x, slope -2/3; and no slope where there is none."""
    x = np.arange(1, 30, dtype=float)
    assert bland_altman(x, 2 * x).slope.value == pytest.approx(-2 / 3)
    assert bland_altman(x + 1e-13 * np.arange(len(x)), 100 - x).slope.value is None  # all means are 50 but for rounding
    noise = np.random.default_rng(3).normal(0, 1, 29)
    slope = bland_altman(x + noise, x - noise).slope
    assert slope.low is not None
    assert slope.high is not None
    assert slope.low < 0 < slope.high


def test_kappa_of_vcd() -> None:
    """vcd::Kappa(SexualFun) of R: unweighted 0.1293 (ASE 0.06860), equal spacing 0.2374 (ASE 0.07832)."""
    for disagreement, value, error in (
        (lambda i, j: i != j, 0.1293, 0.0686),
        (lambda i, j: abs(i - j), 0.2374, 0.07832),
    ):
        found = weighted_kappa(FUN, disagreement)
        assert found.value == pytest.approx(value, abs=5e-5)
        assert found.high is not None
        assert found.low is not None
        assert (found.high - found.low) / 2 / stats.norm.ppf(0.975) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(("y", "value"), [([5.0, 20, 50], 1.0), ([5.0, 5, 5], 0.0)])
def test_kappa_without_a_variance_has_no_interval(y: list[float], value: float) -> None:
    found = quadratic_kappa([5.0, 20, 50], y)
    assert (found.value, found.low, found.high) == (pytest.approx(value), None, None)


def test_kappa_of_cohen_1968() -> None:
    """Psychological Bulletin 70: 213, table 1: proportions of 200 cases, own weights, weighted kappa 0.348."""
    p = np.array([[0.44, 0.07, 0.09], [0.05, 0.20, 0.05], [0.01, 0.03, 0.06]])
    found = weighted_kappa(200 * p, np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]]))
    assert found.value == pytest.approx(0.348, abs=5e-4)


def test_quadratic_kappa_agrees_with_statsmodels() -> None:
    from statsmodels.stats.inter_rater import cohens_kappa

    found, other = weighted_kappa(FUN), cohens_kappa(FUN, wt="fc")
    assert found.value == pytest.approx(other.kappa)
    assert (found.low, found.high) == (pytest.approx(other.kappa_low), pytest.approx(other.kappa_upp))


percents = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=5, max_size=40)


@given(percents)
@settings(max_examples=30)
def test_quadratic_kappa_is_the_ccc_of_categories(pairs: list[tuple[int, int]]) -> None:
    """Identity of Fleiss & Cohen 1973 with moments over n; a cut belongs to the lower category."""
    x, y = np.array(pairs).T
    a, b = categories(x), categories(y)
    assert a.tolist() == [0 if v <= 10 else 1 if v <= 40 else 2 for v in x]
    kappa, value = quadratic_kappa(x, y).value, ccc(a, b).value
    if value is not None:
        assert kappa == pytest.approx(value)


@given(percents, st.floats(0.1, 20), st.floats(-50, 50))
@settings(max_examples=30)
def test_laws_of_pairs(pairs: list[tuple[int, int]], scale: float, shift: float) -> None:
    x, y = np.array(pairs, float).T
    forward, back, moved = ccc(x, y), ccc(y, x), ccc(x * scale + shift, y * scale + shift)
    if forward.value is None:
        assert forward.reason
        return
    assert forward.value == pytest.approx(back.value)
    assert forward.value == pytest.approx(moved.value)
    r = pearson(x, y).value
    assert r is not None
    assert abs(forward.value) <= abs(r) + 1e-9
    assert spearman(x, y).value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert mae(x * scale, y * scale).value == pytest.approx(scale * float(np.abs(x - y).mean()))


@given(percents)
@settings(max_examples=40)
def test_pooled_figures_are_the_plain_ones(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    values = figures_of(pair_sums(x, y, np.zeros(len(x), np.intp)).sum(0))
    limits = bland_altman(x, y)
    plain = {"pearson": pearson(x, y), "ccc": ccc(x, y), "mae": mae(x, y), "kappa_quadratic": quadratic_kappa(x, y)}
    plain |= {"bias": limits.bias, "limit_low": limits.low_limit, "limit_high": limits.high_limit}
    assert set(plain) == set(FIGURES)
    for name, figure in plain.items():
        if figure.value is None:
            assert not np.isfinite(values[name])
        else:
            assert float(values[name]) == pytest.approx(figure.value, abs=1e-6)


def test_resampling_cases_gives_wider_intervals_than_pairs() -> None:
    """Five copies of each case tell nothing new: the interval must not shrink."""
    rng = np.random.default_rng(2)
    x = rng.normal(30, 10, 60)
    y = x + rng.normal(0, 8, 60)
    case = np.arange(60).astype(str)
    once, five = pooled_pairs(x, y, case), pooled_pairs(np.tile(x, 5), np.tile(y, 5), np.tile(case, 5))
    for name in ("ccc", "mae"):
        assert five[name].value == pytest.approx(once[name].value)
        assert five[name].low == pytest.approx(once[name].low, abs=1e-9)
    assert (once["ccc"].low, once["ccc"].high) == pytest.approx((ccc(x, y).low, ccc(x, y).high), abs=0.05)


def test_leave_one_out_and_pairs_by_hand() -> None:
    frame = pd.DataFrame({"case": list("aaabb"), "reader": list("pqrpq"), "score": [10.0, 20, 60, 5, 7]})
    left = others_mean(frame, 3)
    assert left["others"].tolist() == [40, 35, 15]
    x, y, case = every_pair(frame)
    found = sorted(zip(case.tolist(), x.tolist(), y.tolist(), strict=True))
    assert found == sorted(
        [("a", p, q) for p in (10, 20, 60) for q in (10, 20, 60) if p != q] + [("b", 5, 7), ("b", 7, 5)]
    )
