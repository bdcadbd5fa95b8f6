"""Made cohorts of known truth."""

from tilscore.cohort.simulate.cohort import simulate
from tilscore.cohort.simulate.draws import SimulateConfig

__all__ = ["SimulateConfig", "simulate"]
