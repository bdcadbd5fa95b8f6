"""Intraclass correlation of many readers, for complete and incomplete designs.

One row a score: (case, reader, score), at most one score a cell. Cells may be missing at random: the variances come
from sums of squares fitted by least squares and set equal to their expectations (one way: Searle, Casella & McCulloch
1992, section 3.6; two ways: Henderson's method 3). In a complete design they are the mean squares of Shrout & Fleiss
1979.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tilscore.errors import DataError
from tilscore.stats.agreement import LEVEL, Estimate, Floats, absent


@dataclass(frozen=True)
class IccResult:
    """ICC of a single score.

    Parameters
    ----------
    icc1 : ICC(1), one way: readers are whoever read the case.
    icc2 : ICC(2,1), absolute agreement: readers are a sample of all readers.
    icc3 : ICC(3,1), consistency: these readers, their mean levels left out.
    within_sd : SD of single scores of one case, in the unit of the score.
    reader_sd : SD of the readers' mean levels; error_sd : what is left. None where they cannot be told apart.
    n_cases, n_readers, n_scores : what it rests on.
    complete : every reader scored every case.
    """

    icc1: Estimate
    icc2: Estimate
    icc3: Estimate
    within_sd: float | None
    reader_sd: float | None
    error_sd: float | None
    n_cases: int
    n_readers: int
    n_scores: int
    complete: bool


def icc(case: ArrayLike, reader: ArrayLike, score: ArrayLike) -> IccResult:
    """ICC(1), ICC(2,1) and ICC(3,1) with F-based intervals.

    Parameters
    ----------
    case, reader : [n] names. score : [n] finite.

    Intervals: Shrout & Fleiss 1979 and, for ICC(2,1), Satterthwaite's degrees of freedom as in McGraw & Wong 1996. They
    suppose normal scores; where cells are missing they are approximations with the mean numbers of scores k0.

    Raises
    ------
    DataError : a reader has two scores of one case, or a score is not finite.
    """
    y = np.asarray(score, np.float64)
    cases, i = np.unique(np.asarray(case).astype(str), return_inverse=True)
    readers, j = np.unique(np.asarray(reader).astype(str), return_inverse=True)
    if not np.isfinite(y).all():
        raise DataError("a score is not finite", do="leave out missing scores")
    if len(np.unique(i * len(readers) + j)) < len(y):
        raise DataError("a reader has two scores of one case", do="keep one, such as the last")
    one, within = _one_way(i, len(cases), y)
    two, three, reader_sd, error_sd = _two_way(i, len(cases), j, len(readers), y)
    complete = len(y) == len(cases) * len(readers)
    return IccResult(one, two, three, within, reader_sd, error_sd, len(cases), len(readers), len(y), complete)


def sum_of_squares_within(group: NDArray[np.intp], n_groups: int, y: Floats) -> float:
    """Sum of squares about the mean of each group."""
    mean = np.bincount(group, y, n_groups) / np.bincount(group, minlength=n_groups)
    return float(((y - mean[group]) ** 2).sum())


def _bounds(f: float, df1: float, df2: float, k: float) -> tuple[float, float]:
    tail = 0.5 - LEVEL / 2
    low, high = f / stats.f.isf(tail, df1, df2), f * stats.f.isf(tail, df2, df1)
    return float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1))


def _one_way(i: NDArray[np.intp], a: int, y: Floats) -> tuple[Estimate, float | None]:
    n = len(y)
    if a < 2 or n - a < 1:
        return absent(a, "fewer than 2 cases, or no case with 2 scores"), None
    sizes = np.bincount(i, minlength=a)
    k0 = (n - float((sizes**2).sum()) / n) / (a - 1)
    inside = sum_of_squares_within(i, a, y)
    within = inside / (n - a)
    between = (float(((y - y.mean()) ** 2).sum()) - inside) / (a - 1)
    if between + within <= 1e-12 * max(1.0, float(np.abs(y).max()) ** 2):
        return absent(a, "all scores are equal"), within**0.5
    value = (between - within) / (between + (k0 - 1) * within)
    if within == 0:
        return Estimate(1.0, 1.0, 1.0, a), 0.0
    return Estimate(value, *_bounds(between / within, a - 1, n - a, k0), a), within**0.5


def _two_way(
    i: NDArray[np.intp], a: int, j: NDArray[np.intp], b: int, y: Floats
) -> tuple[Estimate, Estimate, float | None, float | None]:
    n = len(y)
    dummies = np.zeros((n, b))
    dummies[np.arange(n), j] = 1
    sizes = np.bincount(i, minlength=a)
    centred = dummies - (np.stack([np.bincount(i, dummies[:, c], a) for c in range(b)], 1) / sizes[:, None])[i]
    y_centred = y - (np.bincount(i, y, a) / sizes)[i]
    effect, _, rank_found, _ = np.linalg.lstsq(centred, y_centred, rcond=1e-10)
    rank = int(rank_found)
    error_df, case_df = n - a - rank, a + rank - b
    if rank < 1 or error_df < 1 or case_df < 1:
        none = absent(a, "too few cases read by the same readers")
        return none, none, None, None
    residual = float(((y_centred - centred @ effect) ** 2).sum())
    error = residual / error_df
    case_ms = (sum_of_squares_within(j, b, y) - residual) / case_df
    reader_ms = (sum_of_squares_within(i, a, y) - residual) / rank
    k_case, k_reader = (n - b) / case_df, (n - a) / rank
    if case_ms + reader_ms + error <= 1e-12 * max(1.0, float(np.abs(y).max()) ** 2):
        none = absent(a, "all scores are equal")
        return none, none, 0.0, 0.0
    case_var, reader_var = (case_ms - error) / k_case, (reader_ms - error) / k_reader
    three = case_var / (case_var + error)
    two = case_var / (case_var + reader_var + error)
    sds = float(max(reader_var, 0.0) ** 0.5), float(error**0.5)
    if error <= 1e-14 * case_ms:
        return Estimate(two, None, None, a, "no interval without error"), Estimate(1.0, 1.0, 1.0, a), *sds
    bounds = _agreement_bounds(two, (case_ms, reader_ms, error), (k_case, k_reader), (case_df, rank, error_df))
    return (
        Estimate(two, *bounds, a),
        Estimate(three, *_bounds(case_ms / error, case_df, error_df, k_case), a),
        *sds,
    )


def _agreement_bounds(
    value: float, ms: tuple[float, float, float], sizes: tuple[float, float], dfs: tuple[int, int, int]
) -> tuple[float, float]:
    """Limits of ICC(2,1): McGraw & Wong 1996, table 7, with k scores a case and n scores a reader."""
    (case, reader, error), (k, n), (case_df, reader_df, error_df) = ms, sizes, dfs
    if value >= 1:
        return value, value
    w = k * value / (n * (1 - value))
    v = 1 + k * value * (n - 1) / (n * (1 - value))
    df = (w * reader + v * error) ** 2 / ((w * reader) ** 2 / reader_df + (v * error) ** 2 / error_df)
    low, high = stats.f.isf(0.5 - LEVEL / 2, case_df, df), stats.f.isf(0.5 - LEVEL / 2, df, case_df)
    rest = k * reader + (k * n - k - n) * error
    lower = n * (case - low * error) / (low * rest + n * case)
    return float(lower), float(n * (high * case - error) / (rest + n * high * case))
