"""What makes a time worth reporting: every program computes the same thing, and rightly.

  survey    the mask, pair by pair in chunks: kept keys of every query, and the blocks of 128 x 128
            that FlexAttention skips, masks, or takes whole
  counts    how many keys heddle's kernel really used for every query: with q = 0 all kept keys weigh
            the same, so the log-sum-exp is the logarithm of their number
  errors    against attention in double precision, on sampled queries
"""
from dataclasses import dataclass
from math import sqrt

import torch

BLOCK = 128                     # FlexAttention's blocks
CHUNK_PAIRS = 1 << 25           # of a mask held at a time
SAMPLED_QUERIES = 48
# Largest relative Euclidean error of a row; the limits of `heddle run --verify`.
TOLERANCE = {"fp32": 2e-5, "fp16": 2e-3, "bf16": 1.2e-2}
LSE_LIMIT = 1e-3                # absolute: log-sum-exps are not rounded to 16 bits


@dataclass
class Survey:
    counts: torch.Tensor        # [heads or 1, queries] kept keys
    partial: torch.Tensor       # bool [heads or 1, query blocks, key blocks]
    full: torch.Tensor


def blocks_of(tokens):
    return -(-tokens // BLOCK)


def mask_rows(row, head, begin, end, device):
    """The mask of some queries: [end - begin, tokens]."""
    q = torch.arange(begin, end, device=device, dtype=torch.int32)[:, None]
    k = torch.arange(row.tokens, device=device, dtype=torch.int32)[None, :]
    return row.mask(0, head, q, k)


def block_sums(mask):
    """Kept pairs of every block of 128 x 128 of some rows; a last block may be smaller."""
    rows, keys = mask.shape
    padded = torch.nn.functional.pad(mask, (0, -keys % BLOCK, 0, -rows % BLOCK))
    return padded.view(-1, BLOCK, blocks_of(keys), BLOCK).sum(dim=(1, 3), dtype=torch.int32)


def survey(row, device):
    """None for dense attention: nothing to ask."""
    if row.mask is None:
        return None
    heads, blocks = (row.heads if row.per_head else 1), blocks_of(row.tokens)
    counts = torch.empty(heads, row.tokens, dtype=torch.int64, device=device)
    sums = torch.empty(heads, blocks, blocks, dtype=torch.int32, device=device)
    step = max(1, CHUNK_PAIRS // row.tokens // BLOCK) * BLOCK
    for head in range(heads):
        for begin in range(0, row.tokens, step):
            end = min(begin + step, row.tokens)
            mask = mask_rows(row, head, begin, end, device)
            counts[head, begin:end] = mask.sum(dim=1)
            sums[head, begin // BLOCK:blocks_of(end)] = block_sums(mask)
    full = sums == BLOCK * BLOCK
    return Survey(counts, (sums > 0) & ~full, full)


def kept_pairs(row, found):
    """Of all batches and heads."""
    if found is None:
        return row.batch * row.heads * row.tokens ** 2
    return row.batch * int(found.counts.sum()) * (1 if row.per_head else row.heads)


def counts_differ(row, found, lse):
    """How many queries of how many used another number of keys than the mask keeps. lse is that of q = 0."""
    used = lse.double().exp()
    expected = found.counts[None].double() if found else torch.full_like(used, row.tokens)
    return int(((used - expected).abs() < 0.5).logical_not().sum()), used.numel()


# ---- errors -------------------------------------------------------------------------------------

def sampled_places(row):
    """(batch, head, queries): the ends, and some anywhere."""
    random = torch.Generator().manual_seed(7)
    some = torch.randint(row.tokens, (SAMPLED_QUERIES - 4,), generator=random)
    ends = torch.tensor([0, 1, row.tokens - 2, row.tokens - 1])
    queries = torch.cat([ends, some])
    return [(0, 0, queries), (row.batch - 1, row.heads // 2, queries),
            (row.batch - 1, row.heads - 1, queries)]


def exact_rows(row, q, k, v, place):
    """Attention of the sampled queries in double precision [queries, dim], and their log-sum-exp."""
    batch, head, queries = place
    key_head = head // (row.heads // row.key_heads)
    queries = queries.to(q.device)
    logits = q[batch, head, queries].double() @ k[batch, key_head].double().T / sqrt(row.dim)
    if row.mask is not None:
        keys = torch.arange(row.tokens, device=q.device)
        logits = logits.masked_fill(~row.mask(batch, head, queries[:, None], keys[None, :]),
                                    -torch.inf)
    lse = logits.logsumexp(dim=1)
    return torch.softmax(logits, dim=1) @ v[batch, key_head].double(), lse


class Reference:
    def __init__(self, row, q, k, v):
        self.places = sampled_places(row)
        self.rows = [exact_rows(row, q, k, v, place) for place in self.places]

    def errors(self, out):
        """The largest relative error of a sampled row, and that of all of them together."""
        worst, wrong, total = 0.0, 0.0, 0.0
        for (batch, head, queries), (exact, _) in zip(self.places, self.rows):
            got = out[batch, head, queries.to(out.device)].double()
            difference, norm = (got - exact).norm(dim=1), exact.norm(dim=1)
            largest = float((difference / norm).max())
            worst = largest if not largest <= worst else worst      # a NaN stays
            wrong += float(difference.square().sum())
            total += float(norm.square().sum())
        return worst, sqrt(wrong / total) if wrong == wrong else float("nan")

    def lse_error(self, lse):
        return max(float((lse[batch, head, queries.to(lse.device)].double() - exact).abs().max())
                   for (batch, head, queries), (_, exact) in zip(self.places, self.rows))


def difference(a, b):
    """Relative Euclidean distance of two whole outputs; head by head, to save memory."""
    apart = total = 0.0
    for batch in range(a.shape[0]):
        for head in range(a.shape[1]):
            x, y = a[batch, head].float(), b[batch, head].float()
            apart += float((x - y).square().sum())
            total += float(y.square().sum())
    return sqrt(apart / total) if apart == apart else float("nan")
