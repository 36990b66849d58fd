"""The face search's network, what its cells are to say, and the loss."""

from __future__ import annotations

import numpy as np
import torch
from scenes import SIDE
from torch import nn
from torch.nn import functional

STRIDES = (8, 16, 32)
SIDES = ((0, 44), (32, 110), (85, 1e9))  # of a face, in pixels, that each stride learns


def convolution(n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch norm, ReLU."""
    layer = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class Block(nn.Module):
    """A bottleneck. Its 3 x 3 is dense: processors with AMX train that faster than a depthwise one."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        """Build it; residual where shapes allow."""
        super().__init__()
        n_mid, self.residual = n_out // 2, n_in == n_out and stride == 1
        self.layers = nn.Sequential(
            convolution(n_in, n_mid, 1), convolution(n_mid, n_mid, 3, stride), convolution(n_mid, n_out, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [n, n_out, h / stride, w / stride]."""
        out: torch.Tensor = self.layers(x)
        return x + out if self.residual else out


class FaceNetwork(nn.Module):
    """[n, 3, h, w] of 0 to 255 -> for each stride [n, 5, h / s, w / s]: logit of a face, log distances in strides."""

    def __init__(self, width: int = 48) -> None:
        """Build it: 364,000 parameters."""
        super().__init__()
        self.quarter = nn.Sequential(convolution(3, 16, 3, 2), convolution(16, 32, 3, 2), Block(32, 32))
        self.deeper = nn.ModuleList(
            [
                nn.Sequential(convolution(32, 64, 3, 2), Block(64, 64), Block(64, 64)),
                nn.Sequential(Block(64, 96, 2), Block(96, 96), Block(96, 96)),
                nn.Sequential(Block(96, 128, 2), Block(128, 128), Block(128, 128)),
            ]
        )
        self.lateral = nn.ModuleList(nn.Conv2d(n, width, 1) for n in (64, 96, 128))
        self.mixed = nn.ModuleList(Block(width, width) for _ in STRIDES)
        self.heads = nn.ModuleList(nn.Sequential(Block(width, width), nn.Conv2d(width, 5, 1)) for _ in STRIDES)
        for head in self.heads:
            nn.init.normal_(head[-1].weight, std=0.01)
            head[-1].bias.data = torch.tensor([-4, 0.7, 0.7, 0.7, 0.7])  # few cells hold a face; edges two strides off

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the three grids, the finest first."""
        x = self.quarter((x - 127.5) / 64)
        features = [x := part(x) for part in self.deeper]
        above, grids = None, []
        for k in (2, 1, 0):
            x = self.lateral[k](features[k])
            above = self.mixed[k](x if above is None else x + functional.interpolate(above, scale_factor=2.0))
            grids.append(self.heads[k](above))
        return grids[::-1]


def targets(faces: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of all cells the state (1 face, 0 none, -1 not counted) and the distances to its edges, in strides."""
    states, edges = [], []
    sides = np.sqrt(faces[:, 2] * faces[:, 3]).clip(1e-3)
    inside = np.minimum(faces[:, :2] + faces[:, 2:], SIDE) - np.maximum(faces[:, :2], 0)
    centres = faces[:, :2] + faces[:, 2:] / 2
    cut = (inside.clip(0).prod(axis=1) < 0.5 * sides**2) | ((centres < 0) | (centres >= SIDE)).any(axis=1)
    for stride, (low, high) in zip(STRIDES, SIDES, strict=True):
        y, x = (np.mgrid[0 : SIDE // stride, 0 : SIDE // stride] + 0.5) * stride
        state, edge = np.zeros(x.shape, np.int64), np.ones((*x.shape, 4), np.float32)
        for left, top, width, height in (*ignored, *faces[cut | (sides < 9)]):
            near = (abs(x - left - width / 2) < (width + stride) / 2) & (
                abs(y - top - height / 2) < (height + stride) / 2
            )
            state[near] = -1
        for k in np.argsort(-sides):
            if cut[k] or sides[k] < 9:
                continue
            left, top, width, height = faces[k]
            off_x, off_y = abs(x - centres[k, 0]), abs(y - centres[k, 1])
            core = ((off_x < 0.2 * width) & (off_y < 0.2 * height)) | ((off_x <= stride / 2) & (off_y <= stride / 2))
            ring = (off_x < 0.36 * width) & (off_y < 0.36 * height) & ~core
            if low <= sides[k] <= high:
                state[ring & (state != 1)] = -1
                state[core] = 1
                edge[core] = np.stack([x - left, y - top, left + width - x, top + height - y], 2)[core] / stride
            elif 0.6 * low <= sides[k] <= 1.6 * high:
                state[(core | ring) & (state != 1)] = -1
        states.append(state.ravel())
        edges.append(edge.reshape(-1, 4))
    return np.concatenate(states), np.concatenate(edges)


def generalised_overlap(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return IoU and generalised IoU (Rezatofighi et al. 2019) of boxes given as distances from one point."""
    least, most = torch.minimum(a, b), torch.maximum(a, b)
    shared = (least[:, :2] + least[:, 2:]).clamp(min=0).prod(1)
    union = (a[:, :2] + a[:, 2:]).prod(1) + (b[:, :2] + b[:, 2:]).prod(1) - shared
    hull = (most[:, :2] + most[:, 2:]).prod(1)
    iou = shared / (union + 1e-6)
    return iou, iou - (hull - union) / (hull + 1e-6)


def loss_of(grids: list[torch.Tensor], state: torch.Tensor, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss, varifocal (Zhang et al. 2021) and generalised overlap, and each cell's probability."""
    cells = torch.cat([grid.float().flatten(2) for grid in grids], 2).transpose(1, 2)
    logits, faces = cells[..., 0], state == 1
    iou, gain = generalised_overlap(cells[..., 1:][faces].clamp(-4, 6).exp(), edges[faces])
    wanted = torch.zeros_like(logits)
    wanted[faces] = iou.detach().clamp(0.3, 1)
    probs = logits.detach().sigmoid()
    weights = torch.where(faces, wanted, 0.75 * probs**2) * (state >= 0)
    scores = functional.binary_cross_entropy_with_logits(logits, wanted, weight=weights, reduction="sum")
    boxes = ((1 - gain) * wanted[faces]).sum()
    return (scores + 1.5 * boxes) / wanted.sum().clamp(min=1), probs
