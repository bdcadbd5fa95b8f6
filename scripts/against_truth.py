"""Print a phantom's score beside its truth; exit 1 where density or stroma is off by more than the tolerance."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    """Compare two JSON files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help="PHANTOM.truth.json")
    parser.add_argument("score", type=Path, help="RESULTS/<slide_id>/score.json")
    parser.add_argument("--tolerance", type=float, default=0.10, help="relative (default: %(default)s)")
    args = parser.parse_args()
    truth, score = (json.loads(p.read_text(encoding="utf-8")) for p in (args.truth, args.score))

    print(f"\n{'':24}{'truth':>10}{'measured':>10}{'error':>9}")
    worst = 0.0
    for key in ("til_density_per_mm2", "stroma_mm2", "tumour_mm2", "tissue_mm2", "n_tils", "stil_area_pct"):
        if score[key] is None:
            print(f"{key:24}{truth[key]:10.2f}{'none':>10}   {score['status']}: {', '.join(score['reasons'])}")
            worst = 1.0
            continue
        error = score[key] / truth[key] - 1 if truth[key] else float(score[key] != 0)
        if key in ("til_density_per_mm2", "stroma_mm2"):
            worst = max(worst, abs(error))
        print(f"{key:24}{truth[key]:10.2f}{score[key]:10.2f}{error:9.1%}")
    print(f"\nlook at {args.score.with_name('report.html')} and {args.score.with_name('overlay.png')}")
    return 0 if worst <= args.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
