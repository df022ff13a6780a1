#!/usr/bin/env python3
"""A long prompt with attention sinks and a window, then tokens one by one, against torch with the mask
written out. 8 heads read 2 heads of keys and values.
"""
import sys

try:
    import torch
except ImportError:
    print("skipped: no torch")
    sys.exit(77)

import compare
import heddle_torch

PROMPT, STEPS, HEADS, KV_HEADS, DIM = 2048, 3, 8, 2, 128
PARAMS = {"sink": 4, "before": 256}


def attend(q, k, v):
    """q may hold fewer tokens than k and v: then it has the last ones."""
    return heddle_torch.attention(q, k, v, "sink_window", axes={"i": k.shape[2]}, params=PARAMS)


def mask(queries, keys):
    q, k = torch.arange(keys - queries, keys)[:, None], torch.arange(keys)[None, :]
    return (k <= q) & ((k < PARAMS["sink"]) | (q - k < PARAMS["before"]))


def main():
    device, dtype = compare.device_and_dtype()
    torch.manual_seed(1)
    room = PROMPT + STEPS                       # the cache: tokens before heads, as they come
    q = torch.randn(1, room, HEADS, DIM, device=device, dtype=dtype).transpose(1, 2)
    k, v = (torch.randn(1, room, KV_HEADS, DIM, device=device, dtype=dtype).transpose(1, 2)
            for _ in range(2))
    for tokens in range(PROMPT, room + 1):
        first = 0 if tokens == PROMPT else tokens - 1
        views = q[:, :, first:tokens], k[:, :, :tokens], v[:, :, :tokens]
        expected = compare.masked(*views, mask(tokens - first, tokens).to(device))
        compare.judge(f"{tokens - first} queries over {tokens} keys", attend(*views), expected)


if __name__ == "__main__":
    main()
