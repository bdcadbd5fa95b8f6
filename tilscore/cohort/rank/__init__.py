"""How unusual a patient is."""

from tilscore.cohort.rank.run import rank
from tilscore.cohort.rank.standing import RankConfig

__all__ = ["RankConfig", "rank"]
