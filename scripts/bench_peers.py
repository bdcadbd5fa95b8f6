"""Tissue rate of `tilscore run`, file to score, against forward passes alone of tiatoolbox's KongNet and HoVer-Net.

All on the same machine and the same region, alternated in one run; the peers with random weights (the speed is the
same) and with their published patch sizes and strides, two peer patches a turn. Medians are printed, and the ratios
turn by turn. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tilscore.labels import Area
from tilscore.modelstore import DEFAULT_MODEL
from tilscore.phantom import PhantomConfig, write_phantom
from tilscore.pipeline import process
from tilscore.raster import read_raster
from tilscore.run import Run
from tilscore.slide import SlideSpec, open_slide
from tilscore.space import Window

KONGNET = {"mpp": 0.5, "patch_px": 256, "stride_px": 248}
HOVERNET = {"mpp": 0.25, "patch_px": 256, "stride_px": 164}


def main() -> None:
    """Alternate the three and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=Path, help="a slide (default: a phantom of --size-mm)")
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--size-mm", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slide = args.slide or Path(folder) / "phantom.tif"
        if args.slide is None:
            write_phantom(slide, PhantomConfig(size_mm=(args.size_mm, args.size_mm), seed=3))
        spec = SlideSpec("slide", slide, args.mpp)
        ours = Ours(spec, Path(folder) / "out", args.model)
        kongnet, hovernet = peer("kongnet", spec), peer("hovernet", spec)
        ours()
        rates = [(ours(), kongnet(), hovernet()) for _ in range(args.rounds)]
    print(f"{torch.get_num_threads()} threads; tissue rate in mm2/s, median of {args.rounds} turns")
    for name, column in zip(
        ("tilscore, file to score", "KongNet forward", "HoVer-Net forward"), zip(*rates, strict=True), strict=True
    ):
        print(f"  {name:24} {statistics.median(column):.5f}   ({min(column):.5f} to {max(column):.5f})")
    for name, i in (("KongNet", 1), ("HoVer-Net", 2)):
        ratios = [r[0] / r[i] for r in rates]
        print(f"  tilscore / {name:12} {statistics.median(ratios):.0f}   ({min(ratios):.0f} to {max(ratios):.0f})")


class Ours:
    """The whole of `tilscore run` on one slide; the network stays loaded between slides, as in a batch."""

    def __init__(self, spec: SlideSpec, out: Path, model: str) -> None:
        self.spec, self.run = spec, Run(out, model_name=model)

    def __call__(self) -> float:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            if process([self.spec], self.run, ("tissue", "infer", "score")).n_failed:
                raise SystemExit("the slide failed")
        seconds = time.perf_counter() - start
        return read_raster(self.run.out / self.spec.slide_id / "tissue.tif").area_mm2(Area.TISSUE) / seconds


def peer(name: str, spec: SlideSpec) -> Callable[[], float]:
    """A forward pass over two patches from the middle of the slide, as tissue rate of the peer's own lattice."""
    if name == "kongnet":
        from tiatoolbox.models.architecture.kongnet import KongNet

        net: torch.nn.Module = KongNet(
            num_heads=6,
            num_channels_per_head=[3] * 6,
            target_channels=[2, 5, 8, 11, 14, 17],
            wide_decoder=False,
            min_distance=5,
            threshold_abs=0.5,
            class_dict=dict(enumerate("abcdef")),
            tile_shape=(2048, 2048),
        )
        how = KONGNET
    else:
        from tiatoolbox.models.architecture.hovernet import HoVerNet

        net, how = HoVerNet(num_types=6, mode="fast"), HOVERNET
    net.eval()
    n = int(how["patch_px"])
    with open_slide(spec.path, mpp=spec.mpp) as slide:
        grid = slide.level0.at(how["mpp"])
        window = Window(grid, grid.width_px // 2, grid.height_px // 2, 2 * n, n)
        image = slide.read(window).astype(np.float32)
    batch = torch.from_numpy(np.stack([image[:, :n], image[:, n:]])).permute(0, 3, 1, 2).contiguous()
    mm2 = len(batch) * (how["stride_px"] * how["mpp"]) ** 2 / 1e6

    def forward() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            net(batch)
        return mm2 / (time.perf_counter() - start)

    forward()
    return forward


if __name__ == "__main__":
    main()
