"""Other measurements of the same patients, and what became of them."""
