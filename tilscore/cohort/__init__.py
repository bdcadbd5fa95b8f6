"""The cohort: a manifest of slides, the biopsies of its patients, and what is to be learned from them."""
