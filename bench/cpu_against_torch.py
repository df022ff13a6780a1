#!/usr/bin/env python3
"""Dense and causal attention on the CPU: PyTorch's scaled_dot_product_attention and heddle, in turn.

    python3 bench/cpu_against_torch.py build/heddle        # needs torch (PyPI)

Both run in turns within one session, so that the machine's speed drifts for both; medians and their
ratio are printed. heddle's times are those of `heddle run --json`.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

TOKENS, HEADS, ROUNDS = 4096, 4, 3


def torch_ms(q, k, v, causal):
    begin = time.perf_counter()
    F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return (time.perf_counter() - begin) * 1e3


def heddle_ms(heddle, dtype, dim, causal):
    command = [heddle, "run", "causal" if causal else "full", "--axes", f"i={TOKENS}", "--heads",
               str(HEADS), "--dim", str(dim), "--dtype", dtype, "--target", "cpu", "--repeat", "7",
               "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["ms"]


def compare(heddle, dtype, torch_dtype, dim, causal):
    q, k, v = [torch.randn(1, HEADS, TOKENS, dim).to(torch_dtype) for _ in range(3)]
    theirs, ours = [], []
    for _ in range(ROUNDS):
        torch_ms(q, k, v, causal)
        theirs += [torch_ms(q, k, v, causal), torch_ms(q, k, v, causal)]
        ours.append(heddle_ms(heddle, dtype, dim, causal))
    a, b = statistics.median(theirs), statistics.median(ours)
    kind = "causal" if causal else "dense"
    print(f"{dtype} {dim:4} {kind:7} torch {a:7.1f} ms  heddle {b:7.1f} ms  ratio {a / b:.2f}",
          flush=True)


def main():
    heddle = sys.argv[1] if len(sys.argv) > 1 else "build/heddle"
    torch.set_grad_enabled(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print("torch", torch.__version__, "threads", torch.get_num_threads())
    for dtype, torch_dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16),
                               ("fp16", torch.float16)):
        for dim in (64, 128):
            for causal in (False, True):
                compare(heddle, dtype, torch_dtype, dim, causal)


if __name__ == "__main__":
    main()
