"""How bench/ calls the packages that it may find: FlashAttention 3 and 4 and NATTEN, without a GPU, without
torch and without them. Each package here is a fake that computes attention as the real one documents its
arguments, so a wrong window, layout or order of axes gives a wrong output.

Usage: test_peers.py
"""
import importlib.machinery
import sys
import time
import types
from dataclasses import replace
from unittest import mock

import numpy as np

from test_bench import attention, masks, report, row_mask, rows, runner

for name in ("torch", "torch.nn", "torch.nn.functional", "torch.nn.attention"):
    sys.modules[name] = mock.MagicMock()

import machine
import peers
import run

SAMPLED = 40        # queries of a long row


# ---- fakes --------------------------------------------------------------------------------------

class Tensor(np.ndarray):
    """The methods of a torch tensor that peers use."""
    device = types.SimpleNamespace(type="cpu")

    def transpose(self, a, b):
        return self.swapaxes(a, b)

    def contiguous(self):
        return np.ascontiguousarray(self).view(Tensor)

    def flatten(self, first, last):
        return self.reshape(*self.shape[:first], -1, *self.shape[last + 1:])


def package(name, **members):
    """A module that is installed as far as Python can tell."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []
    vars(module).update(members)
    return module


def attend(q, k, v, mask):
    """On [batch, tokens, heads, dim]."""
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    return attention(q, k, v, mask)[0].swapaxes(1, 2).view(Tensor)


def flash_attention(none, gives):
    """flash_attn_func whose window has no bound where it says `none`."""
    def flash_attn_func(q, k, v, softmax_scale=None, causal=False, window_size=(none, none)):
        assert softmax_scale is None and q.shape[:2] == k.shape[:2] == v.shape[:2]
        behind = np.arange(q.shape[1])[:, None] - np.arange(q.shape[1])[None, :]
        left, right = window_size
        mask = (behind >= 0) | (not causal)
        mask = mask & (left == none or behind <= left) & (right == none or -behind <= right)
        return gives(attend(q, k, v, mask))
    return flash_attn_func


def neighborhood_attention(dims, calls):
    """NATTEN's na1d, na2d, na3d; `calls` gets the schedule of each call."""
    def na(query, key, value, kernel_size, stride=1, dilation=1, is_causal=False, scale=None, **choice):
        assert scale is None and query.ndim == dims + 3 and query.flags.c_contiguous
        calls.append(choice.get("kernel_schedule"))
        time.sleep(0.01 if calls[-1] == "slow" else 0)
        sizes, axes, params = query.shape[1:-2], "tyx"[-dims:], {}
        for param, value_of in (("win", kernel_size), ("stride", stride), ("dilation", dilation),
                                ("causal", is_causal)):
            values = value_of if isinstance(value_of, tuple) else (value_of,) * dims
            assert len(values) == dims
            params |= {f"{param}_{axis}": int(n) for axis, n in zip(axes, values)}
        mask = masks.neighborhood(masks.Problem(sizes, params=params), list(axes))
        out = attend(*(x.flatten(1, dims) for x in (query, key, value)), mask)
        return out.reshape(query.shape)
    return na


def configurations(query, key, value):
    tiles = ((8,) * (query.ndim - 3),) * 2
    return [(tiles, "slow"), (tiles, "fast")]


def install(calls):
    """The fakes, in the place of the packages."""
    return mock.patch.dict(sys.modules, {
        "flash_attn_interface": package("flash_attn_interface",
                                        flash_attn_func=flash_attention(-1, lambda out: out)),
        "flash_attn": package("flash_attn"),
        "flash_attn.cute": package("flash_attn.cute", flash_attn_func=flash_attention(
            None, lambda out: (out, None))),
        "natten": package("natten", **{f"na{dims}d": neighborhood_attention(dims, calls)
                                       for dims in (1, 2, 3)}),
        "natten.backends": package("natten.backends",
                                   get_configs_for_cutlass_hopper_fna=configurations)})


# ---- what the packages compute ------------------------------------------------------------------

def more_rows():
    small = {"heads": 4, "kv_heads": 2, "dim": 8}
    yield rows.two_sided("two-sided", 90, 13, **small)
    yield rows.two_sided("the whole window", 40, 39, **small)
    yield rows.neighborhood("1d", {"x": 50}, (8,), **small)
    yield rows.neighborhood("1d, strided", {"x": 50}, (9,), (4,), **small)
    yield rows.neighborhood("3d", {"t": 5, "y": 6, "x": 8}, (2, 3, 4), (1, 2, 4), batch=2, **small)
    yield rows.neighborhood("3d, causal and dilated", {"t": 5, "y": 6, "x": 8}, (3, 3, 4), (2, 1, 3),
                            (1, 2, 2), (True, False, True), **small)


def one_row(name):
    return next(row for row in more_rows() if row.name == name)


def expected_programs(row):
    flash = [] if row.kind == "mask" else ["flash3", "flash4"]
    return flash + (["natten"] if row.natten else [])


def tensors(row):
    random = np.random.default_rng(3)
    return [random.standard_normal((row.batch, heads, row.tokens, row.dim)).view(Tensor)
            for heads in (row.heads, row.key_heads, row.key_heads)]


def check_output(row, name):
    """The same result as attention under the row's mask."""
    row = replace(row, dim=8)
    q, k, v = tensors(row)
    with install([]):
        out = peers.GPU_PEERS[name](row, None)(q, k, v)()
    expected = attention(q, k, v, row_mask(row))[0]
    assert out.shape == q.shape, f"{out.shape}"
    assert np.abs(out - expected).max() < 1e-9, "another result"


def check_skipped(row, name):
    with install([]):
        try:
            peers.GPU_PEERS[name](row, None)
        except peers.DoesNotApply as reason:
            assert str(reason), "no reason"
            return
    raise AssertionError("the program says that it can")


def check_kind(row):
    """A row's kind and its window stand for its mask: sampled queries, all keys."""
    q = np.unique(np.linspace(0, row.tokens - 1, SAMPLED).astype(int))[:, None]
    k = np.arange(row.tokens)[None, :]
    left, right = {"dense": (row.tokens,) * 2, "causal": (row.tokens, 0)}.get(row.kind, row.window)
    kept = row.mask(0, 0, q, k) if row.mask else np.True_
    assert ((q - k <= left) & (k - q <= right) == kept).all(), f"{row.kind} {row.window}"


def check_fastest():
    """Each choice is tried with the first inputs, and all inputs get the one that took least time."""
    row, calls = one_row("1d"), []
    with install(calls):
        bind = peers.natten(row, None)
        bound = [bind(*tensors(row)) for _ in range(2)]
        assert set(calls) == {"slow", "fast"}, calls
        calls.clear()
        for call in bound:
            call()
    assert calls == ["fast"] * 2, calls


def check_no_kernels():
    """NATTEN without its own kernels is not timed as NATTEN."""
    row = one_row("1d")
    with install([]), mock.patch.object(sys.modules["natten.backends"],
                                        "get_configs_for_cutlass_hopper_fna", lambda *grid: []):
        try:
            peers.natten(row, None)(*tensors(row))
        except RuntimeError as failure:
            assert "Hopper" in str(failure)
            return
    raise AssertionError("another backend was taken")


def call_cases():
    for row in [*more_rows(), *(row for row in rows.ROWS if row.group == "smoke")]:
        for name in expected_programs(row):
            yield f"{name} on {row.name}", lambda r=row, n=name: check_output(r, n)
    for row in rows.ROWS:
        for name in sorted({"flash3", "flash4", "natten"} - set(expected_programs(row))):
            yield f"{name} not on {row.name}", lambda r=row, n=name: check_skipped(r, n)
        if row.kind != "mask":
            yield f"kind of {row.name}", lambda r=row: check_kind(r)


# ---- taking part --------------------------------------------------------------------------------

def check_missing():
    assert peers.missing() == ["flash3", "flash4", "natten"], peers.missing()
    text = report.table([], {"device": "none", report.NOT_INSTALLED: peers.missing()})
    assert "not installed: flash3, flash4, natten" in text.splitlines(), text
    with install([]):
        assert peers.missing() == []
        assert set(peers.PACKAGES) <= set(peers.peers_for(True, True))
    assert not report.facts_lines({"device": "none", report.NOT_INSTALLED: []})[1:]


def check_failures():
    """A program that fails or cannot is said to, and the others go on."""
    def broken(row, found):
        raise ImportError("no kernel image\nmore")

    row = one_row("two-sided")
    reference = types.SimpleNamespace(errors=lambda out: (0.0, 0.0))
    available = {"broken": broken, "natten": peers.natten, "flash4": peers.flash4}
    with install([]), mock.patch.object(run.check, "difference", lambda a, b: 0.0):
        calls, facts, skipped = run.prepare_peers(machine.Machine("cpu"), row, None, [tensors(row)], None,
                                                  reference, available)
    assert list(calls) == ["flash4"] and facts["flash4"]["status"] == "ok", facts
    assert facts["broken"] == {"status": "failed", "message": "ImportError: no kernel image"}, facts
    assert list(skipped) == ["natten"] and skipped["natten"], skipped


def check_spacer():
    """A launch that takes longer than the spacer is sampled behind one that is longer than the launch."""
    def spacers(launch_ms):
        gpu = machine.Machine("cuda")
        machine.torch.cuda._sleep.reset_mock()
        with mock.patch.object(machine.time, "perf_counter", side_effect=[0, launch_ms / 1e3] * 2):
            gpu.sample(lambda: None)
        return [call.args[0] for call in machine.torch.cuda._sleep.call_args_list]

    assert spacers(0) == [machine.SPACER_CYCLES]
    short, long = spacers(2)
    assert short == machine.SPACER_CYCLES and long > 2 * machine.CYCLES_PER_MS


def main():
    tests = runner.Runner()
    tests.case("spacer", check_spacer)
    tests.case("fastest", check_fastest)
    tests.case("no kernels", check_no_kernels)
    tests.case("missing", check_missing)
    tests.case("failures", check_failures)
    for title, body in call_cases():
        tests.case(title, body)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
