"""The folder of results: its table of scores, what made each score, and which slide each of its folders is of."""
