"""The overlay as a stage: the pictures of one slide, the page that shows them together, and the report."""

from tilscore.overlay.compose import Title, compose, write_overlay
from tilscore.overlay.panels import OverlayConfig, draw_panels
from tilscore.overlay.report import write_report

__all__ = ["OverlayConfig", "Title", "compose", "draw_panels", "write_overlay", "write_report"]
