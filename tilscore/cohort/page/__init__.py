"""The cohort on one page."""

from tilscore.cohort.page.write import write_page

__all__ = ["write_page"]
