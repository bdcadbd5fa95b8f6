"""Time and memory of the spatial statistics and of the interval: 1,000,000 cells on 100 mm2.

python scripts/bench_spatial.py
"""

from __future__ import annotations

import resource
import time

import numpy as np

from tilscore.cells import Cells
from tilscore.labels import Cell, Region
from tilscore.raster import Raster
from tilscore.score.interval import density_interval, share_interval
from tilscore.space import Grid
from tilscore.spatial import spatial_statistics
from tilscore.spatial.config import SpatialConfig
from tilscore.spatial.processes import gaussian_field, poisson, thomas
from tilscore.spatial.run import _STATISTICS, _entry, _scene

rng = np.random.default_rng(0)
grid = Grid(4.0, 3500, 3500)
field = gaussian_field(rng, (1750, 1750), 8.0, lambda r: np.exp(-((r / 200) ** 2))).repeat(2, 0).repeat(2, 1)
field += gaussian_field(rng, (1750, 1750), 8.0, lambda r: np.exp(-((r / 60) ** 2))).repeat(2, 0).repeat(2, 1)
bed = np.zeros(grid.shape, bool)
bed[500:3000, 500:3000] = True
values = np.where(bed, np.where(field > 0.3, Region.TUMOUR, Region.STROMA), 0).astype(np.uint8)
tils = thomas(rng, 2500, 14000, 14000, parents_per_mm2=20, sigma_um=60)
tumour = poisson(rng, 7500, 14000, 14000)
regions = Raster(values, grid)
tils = tils[regions.sample(*tils.T) > 0]
tumour = tumour[regions.sample(*tumour.T) > 0]
x, y = np.concatenate([tils, tumour]).T
label = np.repeat([Cell.INFLAMMATORY, Cell.EPITHELIAL], [len(tils), len(tumour)])
cells = Cells(x, y, label, rng.uniform(0.5, 1, len(x)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{len(cells)} cells ({len(tils)} TILs) in {bed.sum() * grid.pixel_mm2:.0f} mm2; {before:.2f} GB before")
stroma = values == Region.STROMA
scene = _scene(cells, regions, bed, SpatialConfig(), 0.0, None)
jobs = {n: lambda m=m, n=n: _entry(n, m, scene, True) for n, m in _STATISTICS.items()}
jobs["density_interval"] = lambda: density_interval(*tils.T, np.full(len(tils), 0.9), stroma, grid)
jobs["density_interval of all cells"] = lambda: density_interval(x, y, np.full(len(x), 0.9), bed, grid)
jobs["share_interval"] = lambda: share_interval(stroma & (field > 0), stroma, grid)
jobs["spatial_statistics"] = lambda: spatial_statistics(cells, regions, bed)
for name, job in jobs.items():
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    took = f"{time.perf_counter() - wall:7.2f} s, processor {time.process_time() - cpu:6.2f} s"
    print(f"{name:32} {took}, peak {peak:.2f} GB", flush=True)
