"""The change between the biopsies of a patient."""
