"""Time and memory of the paired analysis on made cohorts: 100 patients, and some 10,000 slides.

.venv/bin/python scripts/bench_cohort.py [--patients 100 4600]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tilscore.cohort.paired import analyse
from tilscore.cohort.simulate.cohort import SimulateConfig, write_simulation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[100, 4600])
    for n in parser.parse_args().patients:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder)
            cfg = SimulateConfig(patients=n, pairs=2 * n // 5, series=n // 5, effect_log={"post": 0.4})
            truth = write_simulation(made, cfg)
            wall, cpu = time.monotonic(), time.process_time()
            analyse(made / "slides.csv", made / "scores.csv", made / "out")
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{n} patients, {truth['n_slides']} slides: {wall:.1f} s ({cpu:.1f} s of CPU), peak {peak_gb:.2f} GB")


if __name__ == "__main__":
    main()
