"""The overlay as a stage: the quality-control pictures of one slide, and the page that shows them together."""

from tilscore.overlay.compose import (
    DISCLAIMER,
    ScoreLike,
    Title,
    compose,
    headline,
    in_words,
    interval_text,
    write_overlay,
)
from tilscore.overlay.panels import OverlayConfig, Panels, draw_panels

__all__ = [
    "DISCLAIMER",
    "OverlayConfig",
    "Panels",
    "ScoreLike",
    "Title",
    "compose",
    "draw_panels",
    "headline",
    "in_words",
    "interval_text",
    "write_overlay",
]
