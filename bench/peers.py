"""The programs that the benchmark runs beside heddle.

Each is a function of the row and its survey that gives bind(q, k, v), which gives the function that is
timed; that one returns the output as [batch, heads, tokens, dim], views included. What a program
raises is reported in its place, and the others go on.

FlashAttention reads the tensors of the others as views, [batch, tokens, heads, dim]. NATTEN gets copies in
its layout, made before anything is timed; the order of tokens that its kernel wants it makes itself,
and that is part of its time.
"""
import importlib.metadata
import importlib.util

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import check
from machine import Machine


class DoesNotApply(Exception):
    """The program cannot express such a row; says why."""


def installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except Exception:       # of a module in a package: the package is not there, or does not load
        return False


def tokens_first(x):
    """[batch, tokens, heads, dim], as FlashAttention wants it: a view."""
    return x.transpose(1, 2)


# ---- torch --------------------------------------------------------------------------------------

def scaled_dot_product(backends, row, causal):
    grouped = row.key_heads != row.heads

    def bind(q, k, v):
        def call():
            with sdpa_kernel(backends):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal,
                                                      enable_gqa=grouped)
        return call
    return bind


def cudnn(row, found):
    if row.kind not in ("dense", "causal"):
        raise DoesNotApply("its masks are none and causal")
    return scaled_dot_product(SDPBackend.CUDNN_ATTENTION, row, row.kind == "causal")


def cudnn_dense(row, found):
    """A yardstick, not the same result: what a sparse row costs without its mask."""
    if row.kind in ("dense", "causal"):
        raise DoesNotApply("the row is not sparse")
    return scaled_dot_product(SDPBackend.CUDNN_ATTENTION, row, False)


FLASH_MASKS = "its masks are none, causal and windows"


def flash2(row, found):
    """FlashAttention 2 as torch ships it; its operator knows windows, the public function does not."""
    if row.kind in ("dense", "causal"):
        return scaled_dot_product(SDPBackend.FLASH_ATTENTION, row, row.kind == "causal")
    if row.kind != "window":
        raise DoesNotApply(FLASH_MASKS)
    left, right = row.window

    def bind(q, k, v):
        inputs = [tokens_first(x) for x in (q, k, v)]
        return lambda: torch.ops.aten._flash_attention_forward(
            *inputs, None, None, row.tokens, row.tokens, 0.0, False, False,
            window_size_left=left, window_size_right=right)[0].transpose(1, 2)
    return bind


def flex(row, found):
    from torch.nn.attention.flex_attention import flex_attention
    torch.compiler.reset()      # one row's masks are not to count against the next one's limit
    compiled = torch.compile(flex_attention, dynamic=False)
    mask = flex_block_mask(row, found) if found else None
    grouped = row.key_heads != row.heads
    return lambda q, k, v: lambda: compiled(q, k, v, block_mask=mask, enable_gqa=grouped)


def flex_block_mask(row, found):
    """From the survey: FlexAttention's own way evaluates the whole mask at once, which at 115,200
    tokens does not fit a GPU."""
    from torch.nn.attention.flex_attention import BlockMask
    partial, full = (indices_first(blocks) for blocks in (found.partial, found.full))
    return BlockMask.from_kv_blocks(*partial, *full, BLOCK_SIZE=check.BLOCK, mask_mod=row.mask,
                                    seq_lengths=(row.tokens, row.tokens))


def indices_first(blocks):
    """The number of blocks of each row [1, heads, rows], and their indices in front of the others."""
    order = torch.argsort(blocks.to(torch.int8), dim=-1, descending=True, stable=True)
    return blocks.sum(dim=-1).to(torch.int32)[None], order.to(torch.int32)[None].contiguous()


def torch_cpu(row, found):
    """torch's attention on the CPU, with the whole mask as a tensor where there is one."""
    if row.per_head:
        raise DoesNotApply("its mask is one for all heads")
    mask = check.mask_rows(row, 0, 0, row.tokens, "cpu") if found else None
    grouped = row.key_heads != row.heads
    return lambda q, k, v: lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask,
                                                                  enable_gqa=grouped)


# ---- packages -----------------------------------------------------------------------------------

def flash(row, module, no_window):
    """FlashAttention 3 and 4: a window is (keys to the left, keys to the right) of the query's own."""
    if row.kind == "mask":
        raise DoesNotApply(FLASH_MASKS)
    function = importlib.import_module(module).flash_attn_func
    mask = {"causal": row.kind == "causal", "window_size": row.window or no_window}

    def bind(q, k, v):
        inputs = [tokens_first(x) for x in (q, k, v)]

        def call():
            out = function(*inputs, **mask)
            return tokens_first(out[0] if isinstance(out, tuple) else out)
        return call
    return bind


def flash3(row, found):
    return flash(row, PACKAGES["flash3"], (-1, -1))


def flash4(row, found):
    return flash(row, PACKAGES["flash4"], (None, None))


def natten(row, found):
    if not row.natten:
        raise DoesNotApply("the mask is no neighbourhood by its rule")
    sizes = list(row.axes.values())
    function = getattr(importlib.import_module(PACKAGES["natten"]), f"na{len(sizes)}d")
    best = {}                   # found with the first inputs, for all

    def bind(q, k, v):
        grid = [tokens_first(x).reshape(row.batch, *sizes, x.shape[1], row.dim).contiguous()
                for x in (q, k, v)]

        def call_with(choice):
            return lambda: tokens_first(function(*grid, **row.natten, **choice)
                                        .flatten(1, len(sizes)))
        if not best:
            best.update(fastest(Machine(q.device.type), natten_choices(grid), call_with))
        return call_with(best)
    return bind


def natten_choices(grid):
    """Tile shapes and schedules of NATTEN's Hopper kernels. Without them it would run FlexAttention."""
    from natten.backends import get_configs_for_cutlass_hopper_fna
    choices = [{"backend": "hopper-fna", "q_tile_shape": queries, "kv_tile_shape": keys,
                "kernel_schedule": schedule}
               for (queries, keys), schedule in get_configs_for_cutlass_hopper_fna(*grid)]
    if not choices:
        raise RuntimeError("no Hopper kernel for this here: is NATTEN built with its library?")
    return choices


def fastest(machine, choices, call_with):
    """The choice whose call takes least time: the least of some runs, after one that warms up."""
    def least_ms(choice):
        call = call_with(choice)
        call()
        return min(machine.sample(call)[0] for _ in range(TRIES))
    return min(choices, key=least_ms) if len(choices) > 1 else choices[0]


GPU_PEERS = {"cudnn": cudnn, "flash2": flash2, "flash3": flash3, "flash4": flash4, "natten": natten,
             "flex": flex, "cudnn dense": cudnn_dense}
CPU_PEERS = {"torch": torch_cpu, "flex": flex}
PACKAGES = {"flash3": "flash_attn_interface", "flash4": "flash_attn.cute", "natten": "natten"}
OTHER_RESULT = {"cudnn dense"}
TRIES = 3


def peers_for(on_gpu, with_flex):
    """What can be timed here, by name."""
    peers = GPU_PEERS if on_gpu else CPU_PEERS
    return {name: peer for name, peer in peers.items()
            if installed(PACKAGES.get(name, "torch")) and (with_flex or name != "flex")}


def missing():
    return [name for name, module in PACKAGES.items() if not installed(module)]


def versions():
    """{program: the packages that it comes from, with their versions}."""
    packages = importlib.metadata.packages_distributions()
    return {name: " ".join(f"{package} {importlib.metadata.version(package)}"
                           for package in sorted(set(packages.get(module.split(".")[0], ()))))
            for name, module in PACKAGES.items() if installed(module)}
