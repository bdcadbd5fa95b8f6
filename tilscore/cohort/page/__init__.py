"""The cohort on one page."""
