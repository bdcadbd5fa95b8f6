"""Procedural H&E slides of known truth."""

from tilscore.phantom.config import PhantomConfig
from tilscore.phantom.draw import draw_window
from tilscore.phantom.layout import Phantom, make_phantom
from tilscore.phantom.write import training_tile, truth_of, write_phantom

__all__ = ["Phantom", "PhantomConfig", "draw_window", "make_phantom", "training_tile", "truth_of", "write_phantom"]
