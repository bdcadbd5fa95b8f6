"""tilscore: stromal tumour-infiltrating lymphocyte scores from H&E breast whole-slide images.

Research use only; not a medical device. Importing the package imports neither torch nor a slide reader; what is to
be called from Python lies in its modules and is shown in `docs/python.md`: `tilscore.pipeline.process` and others.
"""

__version__ = "0.1.0"
NOTE = "Research use only. Not a medical device."
"""Stands wherever a user sees a result."""
