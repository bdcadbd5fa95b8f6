"""The network in int8: what is observed, what is rounded, and that OpenVINO's integers are torch's rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray

from tilscore.backends import make_backend
from tilscore.backends.openvino_backend import convert
from tilscore.datasets.crops import plain_crop
from tilscore.errors import ModelError
from tilscore.modelstore import ModelConfig, find_model, save_model, verify_model
from tilscore.network.config import NetConfig
from tilscore.network.nets import TilNet
from tilscore.network.quantise import BITS_DENSE, IN_FLOAT, Activations, observe, quantised
from tilscore.train import PhantomSetConfig, TrainConfig, make_phantoms


def picture(seed: int, side: int = 96) -> NDArray[np.uint8]:
    """Soft blots of colour."""
    coarse = np.random.default_rng(seed).integers(60, 250, (side // 8, side // 8, 3))
    return np.ascontiguousarray(np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8))


def maps_of(net: torch.nn.Module, image: NDArray[np.uint8]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(net(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))))


@pytest.fixture(scope="module")
def net() -> TilNet:
    """A network of noise whose normalisation layers have seen pictures, so that no layer is silent."""
    torch.manual_seed(4)
    net = TilNet(NetConfig(width=16)).train()
    batch = np.stack([picture(seed).transpose(2, 0, 1) for seed in range(8)]).astype(np.float32)
    with torch.no_grad():
        for _ in range(40):
            net(torch.from_numpy(batch))
    return net.eval()


@pytest.fixture(scope="module")
def activations(net: TilNet) -> Activations:
    return observe(net, [picture(seed) for seed in range(8)])


def test_what_is_observed_is_what_comes_in(net: TilNet) -> None:
    """Grey of one value, then of another: the first convolution sees (grey - 127) / 128."""
    greys = [np.full((64, 32, 3), v, np.uint8) for v in (63, 255)]
    seen = observe(net, greys)["encoder.conv_stem"]
    torch.testing.assert_close(seen.limits, torch.tensor([-0.5, 1.0]))
    torch.testing.assert_close(seen.mean, torch.full((3,), 0.25))
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_weights_lie_on_few_steps_and_heads_stay(net: TilNet, activations: Activations) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    rounded = quantised(net, activations)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items()), (
        "the network itself stays"
    )
    n_convolutions = 0
    for name, conv in rounded.named_modules():
        if isinstance(conv, torch.nn.Conv2d):
            n_convolutions += 1
            for own, was in zip(conv.weight, before[f"{name}.weight"], strict=True):
                if name in IN_FLOAT:
                    assert torch.equal(own, was)
                    continue
                n_steps = 127 if conv.groups > 1 else 63
                steps = own / (was.abs().max() / n_steps)
                torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
                assert (own - was).abs().max() <= was.abs().max() / n_steps * 0.501
    assert n_convolutions == len(activations) + len(IN_FLOAT)


def test_two_products_never_overflow_16_bits() -> None:
    """Of an activation in 0..255 and a weight: processors without VNNI add two."""
    assert 2 * 255 * (2 ** (BITS_DENSE - 1) - 1) <= 2**15 - 1


@pytest.mark.parametrize("name", ["tilscore-lite", "tilscore-accurate"])
def test_a_shipped_model_says_nearly_the_same_in_int8(name: str) -> None:
    """On a phantom: as many nuclei, of nearly the same probability and class; and regions."""
    cfg = TrainConfig("m", (), phantoms=PhantomSetConfig(n=1, size_px=512))
    (sample,) = make_phantoms(cfg)
    model = find_model(name)
    rounded = model.load_quantised()
    assert rounded is not None
    exact, got = (maps_of(net, plain_crop(sample).image) for net in (model.load(), rounded))
    assert not torch.equal(exact[0], got[0])
    likely = exact[0][0, 0] > 0
    assert likely.sum() > 500
    p, q = (m[0][0, 0].sigmoid()[likely] for m in (exact, got))
    assert (p - q).abs().mean() < 0.02
    assert abs(p.sum() / q.sum() - 1) < 0.01
    types = [m[1][0].argmax(dim=0)[likely] for m in (exact, got)]
    assert (types[0] == types[1]).float().mean() > 0.97
    assert (exact[3].argmax(dim=1) == got[3].argmax(dim=1)).float().mean() > 0.97


def test_a_shift_by_rounding_weights_is_taken_off(net: TilNet, activations: Activations) -> None:
    """Of the first convolution, on a picture of which every pixel is the mean: the bias is all that differs."""
    mean = activations["encoder.conv_stem"].mean
    flat = mean.reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    exact, rounded = net.encoder.conv_stem, quantised(net, activations).encoder.conv_stem
    with torch.inference_mode():
        want = exact(flat)[..., 1:-1, 1:-1]
        got = torch.nn.functional.conv2d(flat, rounded.weight, rounded.bias, rounded.stride)[..., 1:, 1:]
        plain = torch.nn.functional.conv2d(flat, rounded.weight, None, rounded.stride)[..., 1:, 1:]
    torch.testing.assert_close(got[..., 0, 0], want[..., 0, 0], rtol=0, atol=1e-6)
    assert (plain[..., 0, 0] - want[..., 0, 0]).abs().max() > 1e-4


def test_openvino_computes_in_integers_what_torch_rounds(net: TilNet, activations: Activations) -> None:
    """On a picture brighter and darker than those observed: what lies beyond the limits is clipped in both."""
    rounded = quantised(net, activations)
    image = np.clip(picture(30).astype(np.int64) * 3 - 300, 0, 255).astype(np.uint8)
    want = maps_of(rounded, image)
    request = ov.Core().compile_model(convert(rounded), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = [torch.from_numpy(m) for m in request(image[None]).values()]
    exact = maps_of(net, image)
    for w, g, e in zip(want, got, exact, strict=True):
        # A value that falls between two levels may be rounded either way, and is then a whole step apart.
        assert (w - g).abs().mean() < 0.1 * (w - e).abs().mean()


class TestStored:
    def saved(self, folder: Path, net: TilNet, activations: Activations | None) -> ModelConfig:
        return save_model(folder, net, ModelConfig(name="m", net=net.cfg), activations=activations).config

    def test_there_and_back(self, tmp_path: Path, net: TilNet, activations: Activations) -> None:
        with_them, without = self.saved(tmp_path / "a", net, activations), self.saved(tmp_path / "b", net, None)
        assert with_them.weights_sha256 != without.weights_sha256
        image = picture(40)
        model = find_model(str(tmp_path / "a"))
        read = model.load_quantised()
        assert read is not None
        for pair in ((model.load(), net), (read, quantised(net, activations))):
            for a, b in zip(*(maps_of(n, image) for n in pair), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0)
        assert find_model(str(tmp_path / "b")).load_quantised() is None

    def test_cpus_compute_in_int8_unless_told(
        self, tmp_path: Path, net: TilNet, activations: Activations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.saved(tmp_path / "a", net, activations)
        self.saved(tmp_path / "b", net, None)
        observed, bare = (find_model(str(tmp_path / name)) for name in "ab")
        monkeypatch.setattr("platform.machine", lambda: "AMD64")
        found = [make_backend(m, "cpu", precision=p).name for m, p in ((observed, "mixed"), (observed, "full"))]
        assert found == ["openvino-cpu-int8", "openvino-cpu"]
        assert make_backend(bare, "cpu").name == make_backend(observed, "cpu", turns=2).name == "openvino-cpu"
        monkeypatch.setattr("platform.machine", lambda: "arm64")
        assert make_backend(observed, "cpu").name == "openvino-cpu"

    def test_activations_of_another_network(self, tmp_path: Path, net: TilNet, activations: Activations) -> None:
        fewer = {name: seen for name, seen in activations.items() if name != "fuse_8"}
        self.saved(tmp_path / "a", net, fewer)
        with pytest.raises(ModelError, match="fuse_8"):
            find_model(str(tmp_path / "a")).load_quantised()
        wrong, _ = verify_model(tmp_path / "a")
        assert "fuse_8" in wrong[0]
