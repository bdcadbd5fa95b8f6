"""The mean over turned views, and the gradients of the faster depthwise convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tilscore.backends import Backend
from tilscore.backends.openvino_backend import OpenVinoBackend, convert
from tilscore.backends.torch_backend import TorchBackend
from tilscore.errors import ConfigError, UsageError
from tilscore.network.config import NetConfig
from tilscore.network.nets import N_TURNS, CellMaps, TilNet, turned
from tilscore.train.depthwise import speed_up_depthwise


def both(net: nn.Module) -> tuple[Backend, Backend]:
    return TorchBackend(net, "cpu", "full"), OpenVinoBackend(convert(net), "full")


@pytest.fixture(scope="module")
def net() -> TilNet:
    torch.manual_seed(3)
    return TilNet(NetConfig(width=16)).eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).uniform(0, 255, (1, 3, 96, 64)).astype(np.float32))


def mirrored(maps: CellMaps, axis: int) -> list[torch.Tensor]:
    """The maps of a mirrored image, from those of the image: offsets along the axis change their sign."""
    out = [m.flip(axis) for m in maps]
    sign = torch.ones(2)
    sign[0 if axis == 3 else 1] = -1
    out[2] = out[2] * sign[:, None, None]
    return out


def transposed(maps: CellMaps) -> list[torch.Tensor]:
    """The maps of a transposed image: x and y change places."""
    out = [m.transpose(2, 3) for m in maps]
    out[2] = out[2].flip(1)
    return out


def test_the_fused_level_is_one_convolution_of_what_it_fuses(net: TilNet) -> None:
    """By its definition: p8 enlarged, f4, and f2 by space-to-depth, side by side; so older files have it."""
    channels = net.encoder.feature_info.channels()  # type: ignore[operator, union-attr]
    f2, f4, p8 = (torch.randn(2, c, n, n) for c, n in ((channels[0], 16), (channels[1], 8), (16, 4)))
    up = p8.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    deep = f2.reshape(2, -1, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, -1, 8, 8)
    side_by_side = torch.cat([up, f4, deep], dim=1)
    whole = torch.randn(16, side_by_side.shape[1], 1, 1)
    older = {k: v for k, v in net.state_dict().items() if not k.startswith("fuse")}
    older |= {f"fuse_4.1.{k}": v for k, v in net.fused[0].state_dict().items()} | {"fuse_4.0.weight": whole}
    read = TilNet(net.cfg)
    read.load_state_dict(older)
    with torch.inference_mode():
        got = read.fuse_2(f2) + read.fuse_4(f4) + read.fuse_8(up)
        torch.testing.assert_close(got, torch.nn.functional.conv2d(side_by_side, whole), rtol=1e-4, atol=1e-4)
        assert read.eval().fused(got).std() > 0.1
        torch.testing.assert_close(read.fused[0].running_mean, net.fused[0].running_mean)


class TestTurned:
    @pytest.mark.parametrize(("n", "axes"), [(2, ()), (4, (2, 3)), (8, (2, 3))])
    def test_turned_input_is_turned_output(
        self, net: TilNet, image: torch.Tensor, n: int, axes: tuple[int, ...]
    ) -> None:
        with torch.inference_mode():
            mean = turned(net, n)
            maps = mean(image)
            pairs = [(mean(image.flip(a)), mirrored(maps, a)) for a in axes]
            half_turn = mirrored(CellMaps(*mirrored(maps, 2)), 3)
            pairs.append((mean(image.flip((2, 3))), half_turn))
            if n == 8:
                pairs.append((mean(image.transpose(2, 3)), transposed(maps)))
        for got, want in pairs:
            for g, w in zip(got, want, strict=True):
                torch.testing.assert_close(g, w, rtol=1e-4, atol=1e-4)

    def test_the_network_alone_is_not_symmetric(self, net: TilNet, image: torch.Tensor) -> None:
        with torch.inference_mode():
            got, want = net(image.flip(3)), mirrored(net(image), 3)
        assert (got.detection_B1hw - want[0]).abs().max() > 1e-3

    def test_is_the_mean(self, net: TilNet, image: torch.Tensor) -> None:
        with torch.inference_mode():
            plain, half = net(image), CellMaps(*mirrored(CellMaps(*mirrored(net(image.flip((2, 3))), 2)), 3))
            mean = turned(net, 2)(image)
        for m, a, b in zip(mean, plain, half, strict=True):
            torch.testing.assert_close(m, (a + b) / 2, rtol=1e-4, atol=1e-4)

    def test_one_view_is_the_network_itself(self, net: TilNet) -> None:
        assert turned(net, 1) is net

    def test_only_whole_groups(self, net: TilNet) -> None:
        with pytest.raises(UsageError, match="3"):
            turned(net, 3)
        assert N_TURNS == (1, 2, 4, 8)

    def test_openvino_gives_the_same_cells(self, net: TilNet, image: torch.Tensor) -> None:
        pixels = image.permute(0, 2, 3, 1).numpy().astype(np.uint8)
        a, b = (backend.detect(pixels, 0.005)[0].peaks for backend in both(turned(net, 8)))
        assert len(a.x_px) == len(b.x_px) > 0
        np.testing.assert_allclose(np.sort(a.x_px), np.sort(b.x_px), atol=0.05)


class TestZoom:
    def test_twice_as_fine_a_pyramid_gives_maps_of_the_same_frame(self, image: torch.Tensor) -> None:
        fine = TilNet(NetConfig(width=16, zoom=2)).eval()
        with torch.inference_mode():
            shapes = [m.shape for m in fine(image)]
        assert shapes == [(1, 1, 48, 32), (1, 4, 48, 32), (1, 2, 48, 32), (1, 5, 12, 8)]

    def test_turned_input_is_turned_output(self, image: torch.Tensor) -> None:
        """The magnified image has no shift: mirrored views agree as without zoom."""
        mean = turned(TilNet(NetConfig(width=16, zoom=2)).eval(), 2)
        with torch.inference_mode():
            got, want = mean(image.flip((2, 3))), mirrored(CellMaps(*mirrored(mean(image), 2)), 3)
        for g, w in zip(got, want, strict=True):
            torch.testing.assert_close(g, w, rtol=1e-4, atol=1e-4)

    def test_openvino_gives_the_same_cells(self, image: torch.Tensor) -> None:
        net = TilNet(NetConfig(width=16, zoom=2)).eval()
        pixels = image.permute(0, 2, 3, 1).numpy().astype(np.uint8)
        a, b = (backend.detect(pixels, 0.005)[0].peaks for backend in both(net))
        assert len(a.x_px) == len(b.x_px) > 0
        np.testing.assert_allclose(np.sort(a.x_px), np.sort(b.x_px), atol=0.05)

    def test_only_once_or_twice(self) -> None:
        with pytest.raises(ValueError, match="zoom"):
            NetConfig(zoom=3)


class TestDepthwise:
    def net(self) -> nn.Sequential:
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.Conv2d(8, 4, 1),
        )

    def gradients(self, net: nn.Sequential, *, mixed: bool) -> list[torch.Tensor]:
        x = torch.linspace(-1, 1, 8 * 12 * 10).reshape(1, 8, 12, 10).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            net(x).float().square().sum().backward()
        grads = [x.grad, *(p.grad for p in net.parameters())]
        return [g for g in grads if g is not None]

    def test_gradients_are_those_of_float32(self) -> None:
        exact, fast = self.net(), self.net()
        speed_up_depthwise(fast)
        for a, b in zip(self.gradients(exact, mixed=False), self.gradients(fast, mixed=True), strict=True):
            assert (a - b).norm() < 0.02 * a.norm()

    @pytest.mark.parametrize("mixed", [True, False])
    def test_the_faster_gradient_is_taken_in_mixed_precision_only(self, mixed: bool) -> None:
        fast = self.net()
        speed_up_depthwise(fast)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            made = fast[0](torch.ones(1, 8, 8, 8))
        assert (type(made.grad_fn).__name__ == "_DepthwiseBackward") == mixed
        assert made.dtype == (torch.bfloat16 if mixed else torch.float32)

    def test_without_mixed_precision_nothing_changes(self) -> None:
        exact, fast = self.net(), self.net()
        speed_up_depthwise(fast)
        for a, b in zip(self.gradients(exact, mixed=False), self.gradients(fast, mixed=False), strict=True):
            torch.testing.assert_close(a, b)

    def test_weights_keep_their_names_and_only_depthwise_changes(self) -> None:
        plain, fast = self.net(), self.net()
        speed_up_depthwise(fast)
        assert list(plain.state_dict()) == list(fast.state_dict())
        assert [type(m) is nn.Conv2d for m in fast] == [False, False, True]


def test_an_encoder_that_is_none_is_refused() -> None:
    for name in ("efficientnet_lite99", "vit_tiny_patch16_224", "hf-hub:owner/name", "local-dir:folder"):
        with pytest.raises(ConfigError, match=rf"net\.encoder: .*found {name}"):
            TilNet(NetConfig(encoder=name))
