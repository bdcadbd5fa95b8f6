"""The network: its layers, what `config.json` tells of it, from its maps to cells, and its rounding to integers."""
