"""What a device can do at most, measured by torch: the rate of a large matrix product at each precision, and of a large copy."""
import contextlib, time

import torch


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(device, function, calls, rounds=3):
    """Median seconds of a call after one that is not counted."""
    function()
    wait(device)
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        wait(device)
        found.append((time.perf_counter() - begin) / calls)
    return sorted(found)[len(found) // 2]


@contextlib.contextmanager
def precision(name, device):
    """torch's arithmetic for `f32`, `tf32` or `bf16` (autocast), as ours multiplies under that name."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    with torch.autocast(device, dtype=torch.bfloat16, enabled=name == "bf16"):
        yield


def measure(device, side=8192, copied=2**28):
    """{"f32": FLOP/s, "tf32": ..., "bf16": ..., "copy": bytes/s}"""
    found = {}
    for name in ["f32", "tf32", "bf16"]:
        kind = torch.bfloat16 if name == "bf16" else torch.float32
        a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in "ab")
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        found[name] = 2 * side**3 / seconds(device, lambda: torch.mm(a, b), 5)
    a = torch.empty(copied, device=device)
    b = torch.empty_like(a)
    found["copy"] = 8 * copied / seconds(device, lambda: b.copy_(a), 5)
    return found
