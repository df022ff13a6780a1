"""Where the benchmark runs: memory, time, and how runs of several programs are timed beside each other.

On a GPU a sample is the time between two events around one run. The host queues it behind a spacer, a
kernel that waits, so that a slow launch from Python is never part of a sample; what takes longer to launch
is sampled again behind a longer one. Programs take turns in rounds, every second round backwards, so that
clocks and temperature drift for all alike, and each round reads another set of inputs where one set would
stay in the L2 cache.
"""
import statistics
import time

import torch

SPACER_CYCLES = 600_000         # about 0.35 ms: longer than most launches from Python
CYCLES_PER_MS = 2_000_000       # at most
CACHE_BYTES = 64 << 20          # more than the L2 cache of a Hopper GPU


class Machine:
    def __init__(self, device):
        self.device = device
        self.on_gpu = device == "cuda"
        if self.on_gpu:
            self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def name(self):
        return torch.cuda.get_device_name() if self.on_gpu else "cpu"

    def synchronize(self):
        if self.on_gpu:
            torch.cuda.synchronize()

    def stream(self):
        return torch.cuda.current_stream().cuda_stream if self.on_gpu else None

    def release_memory(self):
        if self.on_gpu:
            torch.cuda.empty_cache()

    def sample(self, call, runs=1):
        """Milliseconds of the device for `runs` runs, and of the host to launch one."""
        if not self.on_gpu:
            return self.sample_on_cpu(call, runs)
        ms, host_ms = self.sample_behind(SPACER_CYCLES, call, runs)
        late = host_ms * CYCLES_PER_MS > SPACER_CYCLES
        if late and runs == 1:      # of more runs the first ones hide the launches of the others
            return self.sample_behind(int(2 * host_ms * CYCLES_PER_MS), call, runs)
        return ms, host_ms

    def sample_behind(self, cycles, call, runs):
        torch.cuda._sleep(cycles)
        self.begin.record()
        before = time.perf_counter()
        for _ in range(runs):
            call()
        host_ms = (time.perf_counter() - before) * 1e3 / runs
        self.end.record()
        self.end.synchronize()
        return self.begin.elapsed_time(self.end), host_ms

    def sample_on_cpu(self, call, runs):
        before = time.perf_counter()
        for _ in range(runs):
            call()
        ms = (time.perf_counter() - before) * 1e3
        return ms, ms / runs

    def wall_ms(self, body):
        """What `body` gives, and how long it takes until its work on the device is done."""
        self.synchronize()
        before = time.perf_counter()
        result = body()
        self.synchronize()
        return result, (time.perf_counter() - before) * 1e3


def input_sets(row_bytes):
    """How many sets of inputs it takes to find the cache cold."""
    return max(1, -(-2 * CACHE_BYTES // row_bytes))


def in_turns(machine, calls, rounds):
    """{name: [(ms, host_ms) of each round]}; `calls` is {name: [a function for each set of inputs]}."""
    samples = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[::-1 if turn % 2 else 1]:
            samples[name].append(machine.sample(calls[name][turn % len(calls[name])]))
    return samples


def sustained(machine, calls, rounds, burst_ms, medians):
    """{name: ms of a run among runs back to back}, bursts taken in turns."""
    bursts = {name: [] for name in calls}
    for _ in range(rounds):
        for name, functions in calls.items():
            runs = max(2, min(50, round(burst_ms / medians[name])))
            turn = iter(range(runs))
            ms, _ = machine.sample(lambda f=functions, t=turn: f[next(t) % len(f)](), runs)
            bursts[name].append(ms / runs)
    return {name: statistics.median(values) for name, values in bursts.items()}


def spread(values):
    """Median, least, most, and the tenth and ninetieth percentile."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1],
            "p10": ordered[round(0.1 * last)], "p90": ordered[round(0.9 * last)]}
