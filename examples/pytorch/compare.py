"""What the two examples share: torch's own attention with the mask written out, and the judgement."""
import sys

import torch

# Relative Euclidean error of the worst row: heddle rounds weights to the dtype before it sums.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.2e-2}


def device_and_dtype():
    """An H100 or H200 if there is one, else the CPU."""
    if torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0):
        return "cuda", torch.bfloat16
    return "cpu", torch.float32


def masked(q, k, v, mask):
    """In double precision, on the numbers that q, k and v hold; heads of k and v are repeated."""
    group = q.shape[1] // k.shape[1]
    q, k, v = q.double(), k.double().repeat_interleave(group, 1), v.double().repeat_interleave(group, 1)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def worst_row(out, expected):
    return float(((out.double() - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def judge(what, out, expected):
    error = worst_row(out, expected)
    right = error <= TOLERANCE[out.dtype]
    print(f"{what}: worst row {error:.1e}, allowed {TOLERANCE[out.dtype]:.1e}: "
          f"{'right' if right else 'WRONG'}")
    if not right:
        sys.exit(1)
