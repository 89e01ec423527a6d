"""What the benchmarks share: interleaved timing, and the peak memory of one piece of work.

Absolute times depend on the machine and on what else runs on it. Contenders therefore take turns
in one run, and what is printed are ratios of medians.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch


def median_seconds(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each piece of work; a round runs each of them once."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            start = now()
            run()
            seconds[name].append(now() - start)
    return {name: median(times) for name, times in seconds.items()}


def now() -> float:
    """Seconds, once the GPU (if there is one) has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class PeakMemory:
    """Peak memory since this was made, in bytes.

    On a GPU, of what torch allocated there. On a CPU, of the process's resident memory: the
    kernel's high-water mark is reset first and what was freed is given back to it, so that scratch
    space of MKL, oneDNN and threads counts and earlier peaks do not. Linux only.
    """

    def __init__(self) -> None:
        gc.collect()
        self.on_gpu = torch.cuda.is_available()
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
            self.before = _status_bytes("VmRSS")

    def peak(self) -> int:
        """The peak itself."""
        return torch.cuda.max_memory_allocated() if self.on_gpu else _status_bytes("VmHWM")

    def extra(self) -> int:
        """The peak beyond what was held at the start."""
        return self.peak() - self.before


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def in_child(script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a script in a process of its own; the JSON object on the last line that it prints."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{Path(script).name} {' '.join(arguments)} failed")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def mebibytes(size: float) -> str:
    """A size in bytes, for people."""
    return f"{size / 2**20:,.0f} MiB"
