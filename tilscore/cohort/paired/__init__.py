"""The change between the biopsies of a patient."""

from tilscore.cohort.paired.pairs import AnalyseConfig
from tilscore.cohort.paired.run import analyse

__all__ = ["AnalyseConfig", "analyse"]
