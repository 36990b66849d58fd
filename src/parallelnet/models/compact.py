"""The two small networks of the `compact` variant: N2's features, trained from scratch on two CPU cores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_norm(n_in: int, n_out: int, kernel: int | tuple[int, int] = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size (but for the stride), and batch norm; which brings the bias."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (sides[0] // 2, sides[1] // 2)
    return nn.Sequential(nn.Conv2d(n_in, n_out, sides, stride, padding, bias=False), nn.BatchNorm2d(n_out))


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a short cut (He et al. 2016, basic block)."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        """Take the channels before and after, and the stride of the first convolution."""
        super().__init__()
        self.body = nn.Sequential(conv_norm(n_in, n_out, 3, stride), nn.ReLU(), conv_norm(n_out, n_out))
        same = n_in == n_out and stride == 1
        self.short_cut: nn.Module = nn.Identity() if same else conv_norm(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map; its sides are x's divided by the stride."""
        return torch.relu(self.body(x) + self.short_cut(x))


class CompactImage(nn.Module):
    """A residual network for faces: `[n, 3, h, w]` to `[n, 4 width, 1, 1]`, averaged over the picture."""

    def __init__(self, width: int = 32) -> None:
        """Take the channels of the first stage; the others have two and four times as many."""
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(3, width, 3, 2),
            nn.ReLU(),
            Residual(width, width),
            Residual(width, 2 * width, 2),
            Residual(2 * width, 2 * width),
            Residual(2 * width, 4 * width, 2),
            Residual(4 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of pictures in [0, 1]."""
        # Batch norm follows the first convolution, but centred inputs start it better: 0 to 1 becomes -1 to 1.
        return self.body(2 * x - 1)  # type: ignore[no-any-return]


class CompactSpeech(nn.Module):
    """A network for log-mels: `[n, 3, mels, frames]` to `[n, 2 width, 1, 1]`, mean and deviation over time.

    Frequency is pooled away first, then convolutions run along time only: an utterance's emotion is in how its
    spectrum moves, not in when it does.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (32, 48, 64, 128)) -> None:
        """Take the widths of the four convolutions."""
        super().__init__()
        a, b, c, d = widths
        self.body = nn.Sequential(
            *(conv_norm(9, a, 3, 2), nn.ReLU(), nn.MaxPool2d(2)),
            *(conv_norm(a, b), nn.ReLU(), nn.MaxPool2d((2, 1))),
            *(conv_norm(b, c), nn.ReLU(), nn.MaxPool2d((2, 1))),
            nn.AdaptiveAvgPool2d((8, None)),
            *(nn.Conv2d(c, d, (8, 3), padding=(0, 1), bias=False), nn.BatchNorm2d(d), nn.ReLU()),
            *(conv_norm(d, d, (1, 5)), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of log-mels."""
        # Each band also without its mean over time (what a microphone or a room colours drops out), and its slope.
        slope = functional.pad(x[..., 2:] - x[..., :-2], (1, 1))
        steps = self.body(torch.cat([x, x - x.mean(3, keepdim=True), slope], 1))
        mean = steps.mean(3, keepdim=True)
        # The small number keeps the root's gradient finite where nothing moves (silence).
        deviation = ((steps - mean).square().mean(3, keepdim=True) + 1e-5).sqrt()
        return torch.cat([mean, deviation], 1)
