"""Made cohorts of known truth."""
