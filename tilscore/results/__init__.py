"""The folder of results: its table of scores; of each slide the files, what made them, and whose they are."""
