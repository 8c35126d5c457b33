"""How much memory a device has left."""

from pathlib import Path

import torch


def free_bytes(device: str) -> int | None:
    """Bytes that can still be had; None where the system does not say."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if torch.device(device).type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    try:  # a container may be given less
        group = Path("/sys/fs/cgroup")
        most, held = (int((group / name).read_text().split()[0]) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return free
    return min(free, most - held)
