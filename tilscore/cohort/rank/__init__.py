"""How unusual a patient is."""
