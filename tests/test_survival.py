"""Kaplan-Meier medians and the test of proportional hazards against R's `survival` 3.5-3 (R 4.2.2)."""

from __future__ import annotations

import numpy as np
import pytest

from tilscore.cohort.assays.survival import fit_cox
from tilscore.stats.survival import kaplan_meier_curve, proportional_hazards_p

MAINTAINED = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
NOT = [5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
OVARIAN = """59 1 72.3315 2 1;115 1 74.4932 2 1;156 1 66.4658 2 1;421 0 53.3644 2 2;431 1 50.3397 2 1;448 0 56.4301 1 1
464 1 56.9370 2 2;475 1 59.8548 2 2;477 0 64.1753 2 1;563 1 55.1781 1 2;638 1 56.7562 1 1;744 0 50.1096 1 2
769 0 59.6301 2 2;770 0 57.0521 2 2;803 0 39.2712 1 1;855 0 43.1233 1 1;1040 0 38.8932 2 1;1106 0 44.6000 1 1
1129 0 53.9068 1 2;1206 0 44.2055 2 2;1227 0 59.5890 1 2;268 1 74.5041 2 1;329 1 43.1370 2 1;353 1 63.2192 1 2
365 1 64.4247 2 2;377 0 58.3096 1 2"""
"""R's `ovarian`: time, event, age, residual disease, treatment."""


@pytest.mark.parametrize(
    ("times", "events", "median"),
    [
        (*MAINTAINED, (31, 13, None)),
        (*NOT, (23, 5, 33)),
        ([2, 3, 5, 8, 13, 21], [1] * 6, (6.5, 2, None)),  # half are left from 5 to 8, but for rounding
        (range(1, 51), [1] * 50, (25.5, 18, 32)),
        ([1, 2, 3, 4], [1, 1, 0, 0], (2, 1, None)),  # stays at one half
        ([1, 2, 3], [0, 0, 0], (None, None, None)),
    ],
)
def test_medians_as_r_has_them(times: list[int], events: list[int], median: tuple[float | None, ...]) -> None:
    """`summary(survfit(Surv(time, event) ~ 1, conf.type = "log-log"))$table`; the first two are R's `aml`."""
    found = kaplan_meier_curve(times, events).median
    assert found == pytest.approx([np.nan if m is None else m for m in median], nan_ok=True)


def test_limits_as_r_has_them() -> None:
    """The same `survfit`; where nobody is left R has no limits, and neither is 0 to 0."""
    curve = kaplan_meier_curve([2, 3, 5, 8, 13, 21], [1] * 6)
    assert curve.survival == pytest.approx([1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])
    low = [1, 0.273122850, 0.194616637, 0.110948260, 0.046082243, 0.007723104, np.nan]
    high = [1, 0.9747124, 0.9044342, 0.8037092, 0.6755644, 0.5168018, np.nan]
    assert curve.low == pytest.approx(low, nan_ok=True)
    assert curve.high == pytest.approx(high, abs=1e-7, nan_ok=True)


def test_proportional_hazards_of_ovarian() -> None:
    """`cox.zph(coxph(Surv(futime, fustat) ~ age + resid.ds + rx, ovarian), terms = FALSE)`."""
    data = np.array([list(map(float, row.split())) for row in OVARIAN.replace("\n", ";").split(";")])
    beta = [0.12854652, 0.69638586, -0.84889864]
    found = proportional_hazards_p(data[:, 2:], data[:, 0], data[:, 1], beta)
    assert found == pytest.approx([0.647027305, 0.289844207, 0.427063064], rel=1e-5)


def test_cox_of_rossi_to_the_digits_that_are_written() -> None:
    """`coxph(Surv(week, arrest) ~ fin + age + prio)` and its `cox.zph(, terms = FALSE)`; weeks are tied."""
    from lifelines.datasets import load_rossi

    data = load_rossi().astype(float)[["week", "arrest", "fin", "age", "prio"]]
    rows = fit_cox(data, "week", "arrest")
    assert [r["term"] for r in rows] == ["fin", "age", "prio"]
    assert [r["coefficient"] for r in rows] == pytest.approx([-0.3469544624, -0.0671053293, 0.0968931991], rel=1e-7)
    assert [r["se"] for r in rows] == pytest.approx([0.1902472655, 0.0208505462, 0.0272533758], rel=1e-6)
    assert [r["ph_p"] for r in rows] == pytest.approx([0.8005241215, 0.0119016312, 0.4713922337], rel=1e-5)
