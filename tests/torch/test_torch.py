"""examples/pytorch/heddle_torch.py in a torch process: the operator's declaration, strides, inputs,
plans and errors. Without torch: one line, exit status 77.

Usage: test_torch.py LIBHEDDLE; on an H100 or H200 it runs there.
"""
import os
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ["HEDDLE_LIBRARY"] = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(ROOT, "examples", "pytorch"))

try:
    import torch
except ImportError:
    print("skipped: no torch")
    sys.exit(77)

import compare
import heddle_torch
from heddle_ctypes import HeddleError

DEVICE, DTYPE = compare.device_and_dtype()
TOKENS, HEADS, DIM, BEFORE = 300, 4, 64, 50


def make(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random).to(DEVICE, DTYPE)


def window(q, k, v, **more):
    return heddle_torch.attention(q, k, v, "window", axes={"i": k.shape[2]}, params={"before": BEFORE},
                                  **more)


def window_mask(tokens=TOKENS):
    at = torch.arange(tokens, device=DEVICE)
    d = at[:, None] - at[None, :]
    return (d >= 0) & (d < BEFORE)


def near(out, expected):
    error = compare.worst_row(out, expected)
    assert error <= compare.TOLERANCE[DTYPE], error


def qkv(heads=HEADS):
    return [make(2, n, TOKENS, DIM, seed=seed) for seed, n in enumerate((HEADS, heads, heads))]


def test_layouts():
    q, k, v = qkv()
    expected = compare.masked(q, k, v, window_mask())
    plain = window(q, k, v)
    near(plain, expected)
    def swapped(x):                                             # memory: [batch, tokens, heads, dim]
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    out = window(swapped(q), swapped(k), swapped(v))
    assert out.stride() == swapped(q).stride() and torch.equal(out, plain)
    packed = torch.stack((q, k, v), dim=3)                      # [batch, heads, tokens, 3, dim]
    assert torch.equal(window(*packed.unbind(3)), plain)
    shared = k[:, :1].expand(-1, HEADS, -1, -1)                 # stride 0 over heads
    near(window(q, shared, v), compare.masked(q, shared.contiguous(), v, window_mask()))


def test_groups_and_lse():
    q, k, v = qkv(heads=1)
    out, lse = window(q, k, v, return_lse=True)
    near(out, compare.masked(q, k, v, window_mask()))
    logits = q.double() @ k.double().transpose(-1, -2) / DIM ** 0.5
    exact = logits.masked_fill(~window_mask(), -torch.inf).logsumexp(-1)
    assert float((lse.double() - exact).abs().max()) < 1e-3


def test_inputs():
    q, k, v = qkv()
    for length in (100, 37):                                    # contents change, the shape does not
        ids = (torch.arange(TOKENS) // length).to(DEVICE, torch.int32)
        mask = (ids[:, None] == ids[None, :]) & torch.ones(TOKENS, TOKENS, device=DEVICE).tril().bool()
        out = heddle_torch.attention(q, k, v, "documents", axes={"i": TOKENS}, inputs={"doc": ids})
        near(out, compare.masked(q, k, v, mask))


def documents(q, k, v, length):
    ids = (torch.arange(TOKENS) // length).to(DEVICE, torch.int32)
    return heddle_torch.attention(q, k, v, "documents", axes={"i": TOKENS}, inputs={"doc": ids})


def test_inputs_are_planned_once():
    q, k, v = qkv()
    expected = [documents(q, k, v, length) for length in (100, 37)]
    plans = [plan for plan, _ in heddle_torch.PLANS.made.values()]
    assert torch.equal(documents(q, k, v, 37), expected[1])
    if DEVICE == "cpu":                                         # the same contents: the same plan
        assert all(a is b for a, (b, _) in zip(plans, heddle_torch.PLANS.made.values(), strict=True))
    for _ in range(3):
        for length, right in zip((100, 37), expected):
            assert float((documents(q, k, v, length) - right).abs().max()) < 0.02
    if DEVICE == "cuda":                                        # the GPU plans, one plan for all
        assert [plan for plan, _ in heddle_torch.PLANS.made.values()] == plans
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        ids = (torch.arange(TOKENS) // 100).to(DEVICE, torch.int32)
        call = lambda: heddle_torch.attention(q, k, v, "documents", axes={"i": TOKENS},
                                              inputs={"doc": ids})
        with torch.cuda.stream(stream):
            call()
        with torch.cuda.graph(graph, stream=stream):
            out = call()
        ids.copy_(torch.arange(TOKENS) // 37)
        graph.replay()
        torch.cuda.synchronize()
        assert float((out - expected[1]).abs().max()) < 0.02


def test_input_sets():
    q, k, v = qkv()
    at = torch.arange(TOKENS, device=DEVICE)
    for first in (3, 50):                                       # contents change, the shape does not
        columns = torch.tensor([[first, first + 7, -1]] * HEADS, dtype=torch.int32, device=DEVICE)
        out = heddle_torch.attention(q, k, v, "vertical_slash", axes={"i": TOKENS},
                                     inputs={"columns": columns, "diagonals": torch.zeros_like(columns)})
        kept = (at[None, :] == first) | (at[None, :] == first + 7) | (at[:, None] == at[None, :])
        near(out, compare.masked(q, k, v, kept & (at[:, None] >= at[None, :])))


def test_declaration():
    q, k, v = qkv()
    packed = torch.stack((q, k, v), dim=3).unbind(3)
    for tensors in ((q, k, v), packed, [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]):
        torch.library.opcheck(torch.ops.heddle.attention.default,
                              (*tensors, [], "window", [TOKENS], "before=50", "", "", 0.0),
                              test_utils=("test_schema", "test_faketensor"))


def test_compile_keeps_it():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    def layer(q, k, v):
        return torch.relu(window(q * 2, k, v)) + 1
    q, k, v = qkv()
    torch._dynamo.reset()
    out = torch.compile(layer, backend=backend, fullgraph=True)(q, k, v)
    assert torch.equal(out, layer(q, k, v))
    assert len(graphs) == 1
    assert any("heddle.attention" in str(node.target) for node in graphs[0].graph.nodes)


def test_plans_are_of_a_thread():
    q, k, v = qkv()
    expected = window(q, k, v)
    kept = len(heddle_torch.PLANS.made)
    window(q, k, v)
    assert len(heddle_torch.PLANS.made) == kept, "the plan was made again"
    right = []

    def work():
        for _ in range(5):
            right.append(torch.equal(window(q, k, v), expected))
        heddle_torch.clear()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20, right


def refused(words, call):
    try:
        call()
    except HeddleError as error:
        assert words in str(error), f"no '{words}' in '{error}'"
        return
    raise AssertionError(f"taken, not refused with '{words}'")


def test_refusals():
    q, k, v = qkv()
    refused("300 tokens, k and v have 299", lambda: heddle_torch.attention(
        q, k[:, :, 1:], v[:, :, 1:], "window", axes={"i": TOKENS}))
    refused("one dtype", lambda: window(q, k.double(), v))
    refused("k and v of one shape", lambda: window(q, k, v[:, :1]))
    refused("no parameter 'befor'", lambda: heddle_torch.attention(
        q, k, v, "window", axes={"i": TOKENS}, params={"befor": 3}))
    refused("no_such", lambda: heddle_torch.attention(q, k, v, "no_such", axes={"i": TOKENS}))
    q.requires_grad_(True)
    try:
        window(q, k, v).sum().backward()
    except RuntimeError:
        return
    raise AssertionError("gradients that are none")


def main():
    tests = [value for name, value in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} passed, 0 failed")


if __name__ == "__main__":
    main()
