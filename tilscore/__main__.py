"""`python -m tilscore`."""

import sys

from tilscore.cli import main

if __name__ == "__main__":
    sys.exit(main())
