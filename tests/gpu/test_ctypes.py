"""examples/pytorch/heddle_ctypes.py on the driver that is none: what needs a GPU there, but for results.

Usage: test_ctypes.py LIBHEDDLE; fake_cuda.c's library is found first.
"""
import os
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "examples", "pytorch"))
from heddle_ctypes import BF16, CUDA, TRACE, Heddle, HeddleError, Problem  # noqa: E402

TOKENS, DIM = 300, 64


class There:
    """An array as a torch tensor in the GPU's memory, which the fake has on the heap."""
    is_cuda = True

    def __init__(self, shape, dtype):
        memory = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize + 256, np.uint8)
        begin = -memory.ctypes.data % 256
        self.array = memory[begin:len(memory) - 256 + begin].view(dtype).reshape(shape)
        self.ndim, self.shape, self.dtype = self.array.ndim, self.array.shape, f"torch.{self.array.dtype}"
        self.nbytes = self.array.nbytes

    def data_ptr(self):
        return self.array.ctypes.data

    def is_contiguous(self):
        return True

    def stride(self):
        return tuple(n // self.array.itemsize for n in self.array.strides)


def refused(words, call):
    try:
        call()
    except HeddleError as error:
        assert words in str(error), f"no '{words}' in '{error}'"
        return
    raise AssertionError(f"taken, not refused with '{words}'")


def main():
    heard = []
    heddle = Heddle(sys.argv[1])
    context = heddle.context(CUDA, log=lambda level, message: heard.append((level, message)), log_level=TRACE)
    pattern = context.load("documents")
    ids = There((TOKENS,), np.int32)
    ids.array[:] = np.arange(TOKENS) // 100
    plan = context.plan(pattern, Problem(sizes=(TOKENS,), dim=DIM, dtype=BF16, inputs={"doc": ids},
                                         ranges={"doc": (-2.0 ** 31, 2.0 ** 31 - 1)}))
    q, k, v, out = (There((1, 1, TOKENS, DIM), np.uint16) for _ in range(4))
    info = plan.info()
    assert info.keys == TOKENS and info.workspace_bytes > 0, info.workspace_bytes
    plan.replan({"doc": ids})
    assert plan.lists().lists > 0
    plan.run(q, k, v, out)
    plan.run(q, k, v, out, workspace=There((info.workspace_bytes,), np.uint8))
    refused("workspace_bytes is less", lambda: plan.run(q, k, v, out, workspace=There((64,), np.uint8)))
    refused("no input 'dok'", lambda: plan.replan({"dok": ids}))
    assert any(message.startswith("heddle_replan ") for level, message in heard if level == TRACE), heard
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
