"""The list of a cohort's slides: read, checked, pooled to biopsies."""
