"""How far two kinds of things lie in the same places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def morisita_horn(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float | None:
    """Overlap of two sets of counts [n] in the same squares, 0 to 1 (Horn 1966); None where one is empty.

    2 sum(p q) / (sum(p^2) + sum(q^2)) with p and q the share of each kind in each square.
    """
    if one.sum() == 0 or other.sum() == 0:
        return None
    p, q = one / one.sum(), other / other.sum()
    return float(2 * (p * q).sum() / ((p * p).sum() + (q * q).sum()))
