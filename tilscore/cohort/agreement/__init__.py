"""Readers, machines, and the map from a score to pathologists' sTIL %."""
