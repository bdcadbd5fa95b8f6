"""Probabilities that mean what they say, and operating points: fitted on fields that the network did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, logit

from tilscore.errors import DataError
from tilscore.evaluate.predict import FieldResult, by_set
from tilscore.labels import Cell
from tilscore.network.config import Calibration, ModelConfig

N_BINS = 15
"""Equal bins of probability for reliability and its error (Guo et al. 2017 use 15)."""
MIN_CASES = 50
"""Fewer of either outcome say too little for a fit; what they would have decided stays as it is."""
SLOPES = (0.05, 20.0)
SURE = 2.0
"""Standard errors by which a new calibration of the types must be better on patients left out than the one there is."""
N_PARTS = 4
"""Parts that the fields of one model are dealt into; each is judged under what the others say."""
CLOSE = 0.02
"""Loss of F1 that a threshold common to all classes is worth."""
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.01), 2)
"""Operating points that are tried, as calibrated P(nucleus)."""


def platt(logits: NDArray[np.floating], hit: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and shift of the logistic regression of `hit` [n] on `logits` [n] (Platt 1999), the slope above 0.

    Slope 1 and shift 0 where there are fewer than `MIN_CASES` hits or misses.
    """
    if min(int(hit.sum()), int((~hit).sum())) < MIN_CASES:
        return 1.0, 0.0
    x, sign = np.asarray(logits, float), np.where(hit, 1.0, -1.0)

    def cost(v: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = sign * (v[0] * x + v[1])
        pull = -sign * np.exp(log_expit(-z))
        return float(-log_expit(z).mean()), np.array([(pull * x).mean(), pull.mean()])

    best = minimize(cost, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[SLOPES, (-20, 20)])
    return float(best.x[0]), float(best.x[1])


def type_scaling(logits: NDArray[np.floating], label: NDArray[np.int64]) -> tuple[float, float]:
    """Slope (1 / temperature) and shift of the inflammatory class that make the classes most likely: see `Calibration`.

    Slope 1 with fewer than `MIN_CASES` nuclei; shift 0 with fewer that are inflammatory, or that are not.

    Parameters
    ----------
    logits : [n 4]. label : [n], values of `labels.Cell`.
    """
    if len(label) < MIN_CASES:
        return 1.0, 0.0
    x, rows = np.asarray(logits, float), np.arange(len(label))
    of_class = np.eye(len(Cell))[Cell.INFLAMMATORY]
    n = int((label == Cell.INFLAMMATORY).sum())
    widest = 10.0 if min(n, len(label) - n) >= MIN_CASES else 0.0

    def cost(v: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_p = log_softmax(v[0] * x + v[1] * of_class, axis=1)
        excess = np.exp(log_p)
        excess[rows, label] -= 1
        slopes = np.array([(excess * x).sum(), (excess * of_class).sum()])
        return float(-log_p[rows, label].mean()), slopes / len(label)

    best = minimize(cost, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[SLOPES, (-widest, widest)])
    return float(best.x[0]), float(best.x[1])


def fit_calibration(fields: Sequence[FieldResult], *, name: str = "", before: Calibration | None = None) -> Calibration:
    """Calibration and operating points from fields that were held out of training.

    Detection is fitted on every candidate that counts (`FieldResult.judged`) where every nucleus is marked, the types
    on all candidates that found a typed nucleus. The common operating point has the best detection F1, averaged over
    sets; each class's is the nearest to it at which the class's F1 is within `CLOSE` of its best: class curves are
    flat and their tops wander.

    Parameters
    ----------
    name : of the fields, for `Calibration.fitted_on`.
    before : what the model has. A calibration of the types that was fitted before stays, unless one fitted on some of
        these patients does better on the rest by `SURE` standard errors: patients differ more than nuclei.

    Raises
    ------
    DataError : no field.
    """
    if not fields:
        raise DataError("no field to calibrate on", do="give fields that were held out of training")
    marked = [f for f in fields if f.known_mm2 > 0] or fields
    logits = np.concatenate([f.found.logit[f.judged] for f in marked])
    hit = np.concatenate([(f.owner >= 0)[f.judged] for f in marked])
    slope, shift = platt(logits, hit)
    if before is not None and before.fitted_on and not _types_gain(fields, before):
        type_slope, type_shift = before.type_slope, before.inflammatory_shift
    else:
        type_slope, type_shift = type_scaling(*_typed(fields))
    sources = name or ", ".join(f"{s} ({len(own)} fields)" for s, own in by_set(list(fields)).items())
    fitted = Calibration(slope, shift, type_slope, type_shift, fitted_on=sources)
    return replace(fitted, class_thresholds=_thresholds([f.at(0.0, fitted) for f in fields]))


def _typed(fields: Sequence[FieldResult]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Type logits [n 4] and true classes [n] of the candidates that found a nucleus with a class."""
    label = np.concatenate([_label(f) for f in fields])
    return np.concatenate([f.found.type_logits for f in fields])[label >= 0], label[label >= 0]


def _types_gain(fields: Sequence[FieldResult], before: Calibration) -> bool:
    """Whether types calibrated on the patients of other parts are surely likelier than as they were `before`."""
    gains: dict[str, float] = {}
    parts = [part for part in deal(fields) if part]
    for part in parts if len(parts) > 1 else []:
        slope, shift = type_scaling(*_typed([f for other in parts if other is not part for f in other]))
        after = replace(before, type_slope=slope, inflammatory_shift=shift)
        for f in part:
            gains[f.group] = gains.get(f.group, 0.0) + _log_likelihood(f, after) - _log_likelihood(f, before)
    gain = np.array(list(gains.values()))
    return len(gain) > 1 and bool(gain.sum() > SURE * np.sqrt(len(gain)) * gain.std(ddof=1))


def _log_likelihood(f: FieldResult, calibration: Calibration) -> float:
    """Of the classes of a field's nuclei that were found, natural logarithm, summed."""
    logits, label = _typed([f])
    of_class = np.eye(len(Cell))[Cell.INFLAMMATORY]
    scaled = calibration.type_slope * logits.astype(float) + calibration.inflammatory_shift * of_class
    return float(log_softmax(scaled, axis=1)[np.arange(len(label)), label].sum())


def _label(f: FieldResult) -> NDArray[np.int64]:
    """[k] class of the nucleus that each candidate found; -1 where it found none, or one without a class."""
    label = np.append(f.sample.label.astype(np.int64), -1)
    return np.asarray(label[f.owner], np.int64)


def _thresholds(fields: list[FieldResult]) -> tuple[float, ...]:
    """One threshold a class; a class with too few nuclei in every set gets that of detection as a whole.

    All 0 where no set has enough nuclei on ground where every one is marked, or where none of them was found.
    """
    sets = list(by_set([f for f in fields if f.known_mm2 > 0]).values())
    whole = _mean_curve(sets, None)
    if whole is None or not whole.any():
        return (0.0,) * len(Cell)
    common = float(THRESHOLDS[int(whole.argmax())])
    out = []
    for cell in Cell:
        curve = _mean_curve(sets, cell)
        near = THRESHOLDS[curve >= curve.max() - CLOSE] if curve is not None else np.array([common])
        out.append(float(near[int(np.abs(near - common).argmin())]))
    return tuple(out)


def _mean_curve(sets: list[list[FieldResult]], cell: Cell | None) -> NDArray[np.float64] | None:
    """F1 at each of `THRESHOLDS`, averaged over the sets that have enough nuclei; None where none has."""
    curves = [c for own in sets if (c := _f1_curve(own, cell)) is not None]
    return np.mean(curves, axis=0) if curves else None


def _f1_curve(fields: list[FieldResult], cell: Cell | None) -> NDArray[np.float64] | None:
    """F1 of one class (None: of nuclei) at each of `THRESHOLDS`; None with fewer than `MIN_CASES` nuclei."""
    prob, hit = [], []
    n_true = 0
    for f in fields:
        label = _label(f)
        use = f.judged.copy()
        if cell is None:
            right = f.owner >= 0
            n_true += len(f.sample.label)
        else:
            right = label == cell
            n_true += int((f.sample.label == cell).sum())
            use &= (f.probs[1].argmax(axis=1) == cell) & ~((f.owner >= 0) & (label < 0))
        prob.append(f.probs[0][use])
        hit.append(right[use])
    if n_true < MIN_CASES:
        return None
    p, h = np.concatenate(prob), np.concatenate(hit)
    over = p[:, None] > THRESHOLDS
    return np.asarray(2 * (over & h[:, None]).sum(axis=0) / (over.sum(axis=0) + n_true), np.float64)


def calibrated(config: ModelConfig, fields: Sequence[FieldResult], *, name: str = "") -> ModelConfig:
    """`config` with the calibration fitted on `fields`, and its detection threshold at the lowest of the classes."""
    fitted = fit_calibration(fields, name=name, before=config.calibration)
    threshold, fitted = _operating_point(fitted, config.detection_threshold, config.calibration)
    return replace(config, calibration=fitted, detection_threshold=threshold)


def _operating_point(fitted: Calibration, threshold: float, before: Calibration) -> tuple[float, Calibration]:
    """Detection threshold and calibration to work with.

    Where the fields could not tell an operating point, the one `before` moves to the new scale: the same cells.
    """
    if any(fitted.class_thresholds):
        return min(fitted.class_thresholds), fitted

    def moved(p: float) -> float:
        raw = (logit(p) - before.detection_shift) / before.detection_slope
        return float(expit(fitted.detection_slope * raw + fitted.detection_shift))

    return moved(threshold), replace(fitted, class_thresholds=tuple(moved(p) for p in before.class_thresholds))


def cross_fit(parts: Sequence[Sequence[FieldResult]]) -> list[FieldResult]:
    """Each part under the calibration and operating points of the other parts: what a calibrated model would do.

    Parameters
    ----------
    parts : the held-out fields of each fold, found by that fold's network.

    Raises
    ------
    DataError : fewer than two parts that hold a field.
    """
    if sum(1 for part in parts if part) < 2:
        do = "give two folds or more, or one that held out two patients or more"
        raise DataError("calibration cannot be tested on the fields it is fitted on", do=do)
    filled = [part for part in parts if part]
    out = []
    for part in filled:
        others = [f for other in filled if other is not part for f in other]
        fitted = fit_calibration(others, before=part[0].calibration)
        out += [f.at(*_operating_point(fitted, f.threshold, f.calibration)) for f in part]
    return out


def deal(fields: Sequence[FieldResult]) -> list[list[FieldResult]]:
    """The fields of one model in `N_PARTS` parts for `cross_fit`; those of a patient (or image) in one."""
    number = {group: i for i, group in enumerate(dict.fromkeys(f.group for f in fields))}
    return [[f for f in fields if number[f.group] % N_PARTS == part] for part in range(N_PARTS)]


def bins_of(prob: NDArray[np.floating], hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[15 3] of each bin of probability: number of cases, sum of their probabilities, number of hits."""
    at = np.minimum((np.asarray(prob, float) * N_BINS).astype(np.int64), N_BINS - 1)
    sums = [np.bincount(at, weights=w, minlength=N_BINS) for w in (np.ones(len(at)), prob, hit)]
    return np.stack(sums, axis=1)


def calibration_error(bins: NDArray[np.floating]) -> float:
    """Expected calibration error (Naeini et al. 2015) of `bins` [15 3]; NaN without a case."""
    n = float(bins[:, 0].sum())
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / n) if n else float("nan")
