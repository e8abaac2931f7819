"""The embedded model's autoencoder under diffusers' names. ComfyUI's own needs 32 groups; this one has 8."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, silu


class Resnet(nn.Module):
    """Two normalised convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inside, eps=1e-6)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outside, eps=1e-6)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inside, h, w] → [B, outside, h, w]."""
        changed = self.conv2(silu(self.norm2(self.conv1(silu(self.norm1(x))))))
        return self.conv_shortcut(x) + changed


class Halve(nn.Module):
    """A convolution of stride 2, padded at the far edges only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, h/2, w/2]."""
        return self.conv(pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    """Every pixel four times, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, 2h, 2w]."""
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """Some `Resnet`s at one size, then perhaps a change of size."""

    def __init__(self, inside: int, outside: int, layers: int, groups: int, **resamplers: nn.Module) -> None:
        super().__init__()
        widths = [inside] + [outside] * layers
        self.resnets = nn.ModuleList([Resnet(before, after, groups) for before, after in pairwise(widths)])
        for name, resampler in resamplers.items():
            self.add_module(name, nn.ModuleList([resampler]))

    def forward(self, x: Tensor) -> Tensor:
        """All of them in turn."""
        for layer in chain.from_iterable(self.children()):  # pyright: ignore[reportArgumentType]
            x = layer(x)
        return x


class Encoder(nn.Module):
    """Pictures [B, 3, h, w] in [-1, 1] → mean and log-variance of their latents, [B, 2 latents, h/f, w/f]."""

    def __init__(self, channels: Sequence[int], latents: int, layers: int, groups: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            [
                Block(before, after, layers, groups, **({"downsamplers": Halve(after)} if place else {}))
                for before, after, place in _stages([channels[0], *channels])
            ]
        )
        self.mid_block = Block(channels[-1], channels[-1], 2, groups)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], 2 * latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.conv_in(x)
        for block in (*self.down_blocks, self.mid_block):
            x = block(x)
        return self.conv_out(silu(self.conv_norm_out(x)))


class Decoder(nn.Module):
    """Latents [B, latents, h, w] → pictures [B, 3, f h, f w], about [-1, 1]."""

    def __init__(self, channels: Sequence[int], latents: int, layers: int, groups: int) -> None:
        super().__init__()
        widths = [channels[-1], *reversed(channels)]
        self.conv_in = nn.Conv2d(latents, widths[0], 3, padding=1)
        self.mid_block = Block(widths[0], widths[0], 2, groups)
        self.up_blocks = nn.ModuleList(
            [
                Block(before, after, layers + 1, groups, **({"upsamplers": Double(after)} if place else {}))
                for before, after, place in _stages(widths)
            ]
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.conv_in(x)
        for block in (self.mid_block, *self.up_blocks):
            x = block(x)
        return self.conv_out(silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    """Both halves; the latents are the mean of what the encoder sees, unscaled."""

    def __init__(self, *, channels: Sequence[int], latents: int, layers: int, groups: int) -> None:
        """channels: width at each size, from the picture down; layers: `Resnet`s per size on the way down."""
        super().__init__()
        self.encoder = Encoder(channels, latents, layers, groups)
        self.decoder = Decoder(channels, latents, layers, groups)
        self.latents, self.factor = latents, 2 ** (len(channels) - 1)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """[B, 3, h, w] in [0, 1] → [B, latents, h/f, w/f]."""
        return self.encoder(pictures * 2 - 1)[:, : self.latents].contiguous()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """The pictures in [0, 1]."""
        return (self.decoder(latents) / 2 + 0.5).clamp(0, 1)


def _stages(widths: Sequence[int]) -> list[tuple[int, int, bool]]:
    """(width before, width after, whether the size changes: at all but the last)."""
    return [(before, after, index < len(widths) - 2) for index, (before, after) in enumerate(pairwise(widths))]
