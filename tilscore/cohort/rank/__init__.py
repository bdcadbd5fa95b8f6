"""How unusual a patient is."""

from tilscore.cohort.rank.placement import RankConfig
from tilscore.cohort.rank.run import rank

__all__ = ["RankConfig", "rank"]
