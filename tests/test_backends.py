"""Which device and backend are taken, that they find the same cells, and the graphs that are kept from run to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_model import tiny_model

from tilscore.backends import make_backend, pick_device
from tilscore.backends.graphs import N_KEPT, graph_of
from tilscore.backends.openvino_backend import OpenVinoBackend, convert
from tilscore.backends.torch_backend import SIDE_PX, TorchBackend
from tilscore.errors import ModelError, UsageError
from tilscore.modelstore import Model, find_model
from tilscore.network.nets import CellMaps, TilNet
from tilscore.network.peaks import Peaks
from tilscore.phantom import training_tile


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TILSCORE_CACHE", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return find_model(str(tiny_model(tmp_path / "small")))


def cells(graph: object) -> Peaks:
    image = np.random.default_rng(0).integers(0, 255, (1, 160, 96, 3), dtype=np.uint8)
    return OpenVinoBackend(graph, "full").detect(image, 0.01)[0].peaks


def same(one: Peaks, other: Peaks) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_auto_is_what_torch_finds() -> None:
    """Though torch is not asked where no driver is."""
    found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto") == found


@pytest.mark.parametrize("device", ["cpu:1", "cuda:99", "cuda:x", "tpu"])
def test_a_device_that_is_not_here(device: str) -> None:
    with pytest.raises(UsageError, match="no such device"):
        pick_device(device)


def test_openvino_is_for_cpus(model: Model) -> None:
    assert make_backend(model, "cpu").name == "openvino-cpu"
    with pytest.raises(UsageError, match="CPU alone"):
        make_backend(model, "cuda", backend="openvino")


def test_a_kept_graph_computes_the_same_without_torch(model: Model, cache: Path) -> None:
    fresh = cells(graph_of(model))
    assert len(fresh.x_px) > 20
    assert same(fresh, cells(convert(model.load())))
    assert [p.name[:6] for p in cache.iterdir()] == ["small-"]
    code = f"""
import sys
import numpy as np
from tilscore.backends import make_backend, pick_device
from tilscore.modelstore import find_model
backend = make_backend(find_model({str(model.folder)!r}), pick_device("cpu"), precision="full")
image = np.random.default_rng(0).integers(0, 255, (1, 160, 96, 3), dtype=np.uint8)
np.savez("peaks.npz", *backend.detect(image, 0.01)[0].peaks)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=cache.parent, check=True)
    with np.load(cache.parent / "peaks.npz") as again:
        assert same(fresh, Peaks(*(again[f"arr_{i}"] for i in range(4))))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_graph_is_made_again(model: Model, cache: Path, damage: str) -> None:
    want = cells(graph_of(model))
    (path,) = cache.iterdir()
    kept = bytearray(path.read_bytes())
    kept[len(kept) // 2] ^= 64  # in the weights
    path.write_bytes({"cut": kept[: len(kept) // 3], "flipped": kept, "empty": b""}[damage])
    assert same(want, cells(graph_of(model)))
    assert path.read_bytes() != kept
    assert same(want, cells(graph_of(model)))


def test_other_weights_and_views_have_other_graphs(model: Model, cache: Path, tmp_path: Path) -> None:
    other = find_model(str(tiny_model(tmp_path / "other", seed=1)))
    found = [cells(graph_of(m, turns)) for m, turns in ((model, 1), (model, 2), (other, 1), (model, 1))]
    assert len(list(cache.iterdir())) == 3
    assert same(found[0], found[3])
    assert not same(found[0], found[1])
    assert not same(found[0], found[2])


def test_a_folder_that_cannot_be_written_keeps_none(model: Model, cache: Path) -> None:
    cache.write_text("a file")
    assert len(cells(graph_of(model)).x_px) > 20
    assert cache.read_text() == "a file"


def test_few_graphs_are_kept(model: Model, cache: Path) -> None:
    cache.mkdir()
    for i in range(N_KEPT + 3):
        (cache / f"old-{i}.zip").write_bytes(b"")
    graph_of(model)
    assert len(list(cache.iterdir())) == N_KEPT
    assert list(cache.glob("small-*.zip"))


@pytest.fixture(scope="module")
def lively_net() -> TilNet:
    """A network that has seen nothing but says a lot: what it says is the same on every backend."""
    torch.manual_seed(4)
    net = TilNet()
    image = torch.rand(2, 3, 256, 256) * 255
    for _ in range(3):
        net(image)
    with torch.no_grad():
        net.cell_head.bias[:4] = 0
    return net.eval()


def test_openvino_finds_the_same_cells_as_torch(lively_net: TilNet) -> None:
    """In blocks of every size, which one compiled network takes, and after a rest."""
    one, other = TorchBackend(lively_net, "cpu", "full"), OpenVinoBackend(convert(lively_net), "full")
    rng = np.random.default_rng(0)
    for height, width in ((256, 256), (320, 160), (256, 256)):
        image = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), dtype=np.uint8), (0, 0), 3)[None]
        a, b = one.detect(image, 0.5)[0], other.detect(image, 0.5)[0]
        other.rest()
        assert len(a.peaks.x_px) > 80
        for name, left, right in zip(Peaks._fields, a.peaks, b.peaks, strict=True):
            np.testing.assert_allclose(left, right, atol=0.02, err_msg=name)
        assert (a.regions == b.regions).mean() > 0.999


def test_openvino_without_memory_is_no_internal_error(lively_net: TilNet, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = OpenVinoBackend(convert(lively_net))

    class Full:
        def infer(self, *args: object, **how: object) -> None:
            raise RuntimeError("Check 'ptr' failed")

    monkeypatch.setattr(backend, "_request", Full())
    with pytest.raises(ModelError, match=r"'ptr' failed.*smaller --block-um"):
        backend.detect(np.zeros((1, 64, 64, 3), np.uint8), 0.5)


class Watched(torch.nn.Module):
    """A network that notes the shapes it is shown, and has memory for so many images."""

    def __init__(self, net: TilNet, most: int = 99, error: Exception | None = None) -> None:
        super().__init__()
        self.net, self.most = net, most
        self.error = error or torch.OutOfMemoryError()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> CellMaps:
        if len(image) > self.most:
            raise self.error
        self.shapes.append(tuple(image.shape))
        maps: CellMaps = self.net(image)
        return maps


def as_on_a_gpu(net: torch.nn.Module) -> TorchBackend:
    """What a GPU would be shown, on a CPU: batches of one shape."""
    backend = TorchBackend(net, "cpu", "full")
    backend.uniform, backend.batch = True, 4
    backend.rest()
    return backend


def blocks(*shapes: tuple[int, int, int]) -> list[np.ndarray]:
    """Batches [n h w 3] of tissue."""
    whole = training_tile(seed=3, size_px=512, mpp=0.5)[0]
    return [np.stack([np.roll(whole, 40 * i, 1)[:height, :width] for i in range(n)]) for n, height, width in shapes]


def kept(found: Peaks, images: np.ndarray) -> np.ndarray:
    """[n 7] the cells that a block keeps, those 64 um and more from the edges of what is read, one row each."""
    x, y = found.x_px, found.y_px
    keep = (x > 128) & (y > 128) & (x < images.shape[2] - 128) & (y < images.shape[1] - 128)
    rows = np.column_stack([x, y, found.detection, found.types])[keep]
    return rows[np.lexsort(np.round(rows[:, :2]).T)]


def test_a_gpu_sees_one_shape_and_finds_the_same_cells() -> None:
    net = find_model("tilscore-lite").load()
    watched = Watched(net)
    one, other = TorchBackend(net, "cpu", "full"), as_on_a_gpu(watched)
    for images in blocks((3, 480, 416), (2, 352, 480), (1, 384, 384), (4, 320, 416)):
        for a, b in zip(one.detect(images, 0.3), other.detect(images, 0.3), strict=True):
            assert a.regions.shape == b.regions.shape
            assert (a.regions == b.regions)[16:-16, 16:-16].mean() > 0.98
            assert len(kept(a.peaks, images)) > 5
            apart = np.abs(kept(a.peaks, images) - kept(b.peaks, images))
            assert apart[:, :2].max() < 1.5
            assert apart[:, 2:].max() < 0.1
    assert set(watched.shapes) == {(4, 3, 512, 512), (1, 3, 512, 512)}
    other.rest()
    other.detect(blocks((1, 256, 224))[0], 0.5)
    assert watched.shapes[-1] == (1, 3, SIDE_PX, SIDE_PX)


FULL = [torch.OutOfMemoryError(), RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GiB)")]


@pytest.mark.parametrize("error", FULL, ids=["cuda", "mps"])
def test_a_gpu_that_has_too_little_memory_is_shown_fewer_blocks(lively_net: TilNet, error: Exception) -> None:
    watched = Watched(lively_net, most=2, error=error)
    backend = as_on_a_gpu(watched)
    (images,) = blocks((4, 256, 256))
    assert len(backend.detect(images, 0.5)) == 4
    assert len(backend.detect(images[:2], 0.5)) == 2
    assert set(watched.shapes) == {(2, 3, 256, 256)}
    watched.most = 0
    with pytest.raises(ModelError, match=r"not enough memory.*smaller --block-um"):
        backend.detect(images, 0.5)
    watched.error = RuntimeError("another")
    with pytest.raises(RuntimeError, match="another"):
        backend.detect(images, 0.5)
