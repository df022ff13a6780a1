#!/usr/bin/env python3
"""Neighbourhood attention on a video, against torch with the same mask written out.

The module's linear layer gives q, k and v packed in one tensor, [batch, tokens, 3, heads, dim]: heddle
reads them where they lie, by their strides.
"""
import sys

try:
    import torch
except ImportError:
    print("skipped: no torch")
    sys.exit(77)

import compare
import heddle_torch

FRAMES, ROWS, COLUMNS, WINDOW = 6, 12, 16, {"t": 3, "y": 5, "x": 7}


class VideoAttention(torch.nn.Module):
    def __init__(self, width=256, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)

    def split(self, x):
        batch, tokens, width = x.shape
        packed = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        return packed.permute(2, 0, 3, 1, 4).unbind(0)        # views: [batch, heads, tokens, dim]

    def forward(self, x):
        q, k, v = self.split(x)
        mixed = heddle_torch.attention(
            q, k, v, "neighborhood3d", axes={"t": FRAMES, "y": ROWS, "x": COLUMNS},
            params={f"win_{axis}": size for axis, size in WINDOW.items()})
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


def axis_mask(size, window):
    """[size, size]: the window of a query slides inward at the borders, and never shrinks."""
    at = torch.arange(size)
    begin = (at - window // 2).clamp(0, size - window)[:, None]
    return (at[None, :] >= begin) & (at[None, :] < begin + window)


def video_mask():
    t, y, x = (axis_mask(size, window) for size, window in
               zip((FRAMES, ROWS, COLUMNS), WINDOW.values()))
    tokens = FRAMES * ROWS * COLUMNS
    return (t[:, None, None, :, None, None] & y[None, :, None, None, :, None] &
            x[None, None, :, None, None, :]).reshape(tokens, tokens)


def main():
    device, dtype = compare.device_and_dtype()
    torch.manual_seed(1)
    module = VideoAttention().to(device, dtype)
    x = torch.randn(2, FRAMES * ROWS * COLUMNS, 256, device=device, dtype=dtype)
    with torch.no_grad():
        q, k, v = module.split(x)
        out = heddle_torch.attention(
            q, k, v, "neighborhood3d", axes={"t": FRAMES, "y": ROWS, "x": COLUMNS},
            params={f"win_{axis}": size for axis, size in WINDOW.items()})
        compare.judge("video, neighborhood3d", out, compare.masked(q, k, v, video_mask().to(device)))
        compiled = torch.compile(module, fullgraph=True)
        compare.judge("the module by torch.compile", compiled(x), module(x).double())


if __name__ == "__main__":
    main()
