"""The quantiser on a GPU beside its floor, PyTorch and torch.compile; run by run.sh.

The floor of a search of n vectors of d components among k codes is the longer of 2 n k d floating-point operations at the rate of a
large matrix product and the bytes that must move at the bandwidth of a large copy, both measured here by torch in the same run. Bytes:
vectors and codebook are read once (4 n d + 4 k d); indices and distances written (8 n); for the layer also the quantised vectors
(4 n d) and the histograms (4 images k).
"""
import argparse, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
from vq import CODES, DIM, LEVELS, layer_of  # noqa: E402

PRECISIONS = ["f32", "tf32x3", "tf32", "bf16"]
ROUNDS = 7


def ready(function, repeats):
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def rates():
    """FLOP/s of a large product at each precision, bytes/s of a large copy."""
    def product(dtype, tf32):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in "ab")
        torch.mm(a, b)
        return 2 * 8192**3 / min(ready(lambda: torch.mm(a, b), 5) for _ in range(3))
    flops = {"f32": product(torch.float32, False), "tf32": product(torch.float32, True), "bf16": product(torch.bfloat16, False)}
    flops["tf32x3"] = flops["tf32"] / 3
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.empty(2**28, device="cuda")
    b = torch.empty_like(a)
    b.copy_(a)
    return flops, 2 * a.numel() * 4 / min(ready(lambda: b.copy_(a), 5) for _ in range(3))


class Ours:
    def __init__(self, program, folder, sizes, precision):
        command = [program, folder / "z.f32", folder / "c.f32", *sizes, precision]
        self.child = subprocess.Popen([str(a) for a in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, task, repeats=1):
        self.child.stdin.write(f"{task} {repeats}\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline().strip()
        if task in ("indices", "about"):
            self.child.stdout.readline()
            return answer
        return float(answer) / repeats

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def batch_of(random, batch, split, side):
    return random.uniform(-0.05, 0.05, (batch, split * DIM, side, side)).astype(np.float32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--write", type=Path, help="only write a batch of 256 x 625 vectors and its codebook to this folder")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    codebook = random.uniform(-0.0383, 0.0383, (CODES, DIM)).astype(np.float32)
    if arguments.write:
        codebook.tofile(arguments.write / "c.f32")
        batch_of(random, 256, 1, 25).tofile(arguments.write / "z.f32")
        return
    flops, bandwidth = rates()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print("measured: " + ", ".join(f"{p} {flops[p] / 1e12:.0f} TFLOP/s" for p in PRECISIONS) + f", copy {bandwidth / 1e9:.0f} GB/s\n")
    c = torch.from_numpy(codebook).cuda()
    for split, side in LEVELS:
        for batch in [1, 16, 256]:
            z = batch_of(random, batch, split, side)
            n = z.size // DIM
            t = torch.from_numpy(z).cuda()
            last = t.to(memory_format=torch.channels_last)
            leaf, leaf_c = t.clone().requires_grad_(), c.clone().requires_grad_()
            torch.compiler.reset()
            layer, trained = layer_of(torch, c, split, soft=False), layer_of(torch, leaf_c, split, soft=False)
            compiled = torch.compile(layer, dynamic=False)
            rows = t.reshape(batch, split, DIM, -1).transpose(2, 3).reshape(-1, DIM).contiguous()
            argmin = torch.compile(lambda x: torch.argmin(torch.addmm((c * c).sum(1), x, c.T, alpha=-2.0), dim=1), dynamic=False)

            def train():
                leaf.grad = leaf_c.grad = None
                trained(leaf)[1].backward()

            peers = {"torch addmm+argmin, compiled": lambda: argmin(rows), "torch layer": lambda: layer(t),
                     "torch layer, channels last": lambda: layer(last), "torch layer, compiled": lambda: compiled(t)}
            repeats = max(3, int(2e9 / n / CODES))
            times = {}
            with torch.no_grad():
                for who, run in peers.items():
                    ready(run, 3)
                    times[who] = statistics.median(ready(run, repeats) for _ in range(ROUNDS))
            ready(train, 3)
            times["torch layer and gradients"] = statistics.median(ready(train, repeats) for _ in range(ROUNDS))
            distances = ((rows.double()[:, None] - c.double()[None]) ** 2).sum(-1) if n <= 1000 else None
            exact = distances.argmin(1).cpu().numpy() if distances is not None else None

            print(f"## {batch} x {split * side * side} vectors\n\n| contender | us | of the floor | times torch's best layer |\n|---|---|---|---|")
            best_layer = min(v for who, v in times.items() if "layer" in who and "gradients" not in who)
            for who, seconds in times.items():
                print(f"| {who} | {1e6 * seconds:.1f} | | {best_layer / seconds:.2f} |")
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                z.tofile(folder / "z.f32")
                codebook.tofile(folder / "c.f32")
                agreed = {}
                for precision in PRECISIONS:
                    ours = Ours(arguments.program, folder, [batch, split, side * side, DIM], precision)
                    about = ours.ask("about")
                    for task in ("search", "layer", "train", "codebook"):
                        ours.ask(task, 3)
                        seconds = statistics.median(ours.ask(task, repeats) for _ in range(ROUNDS))
                        moved = 4 * n * DIM + 4 * CODES * DIM + 8 * n + (task != "search") * (4 * n * DIM + 4 * batch * CODES)
                        floor = max(2.0 * n * CODES * DIM / flops[precision], moved / bandwidth)
                        share = f"{100 * floor / seconds:.0f} %" if task in ("search", "layer") else ""
                        print(f"| ours, {precision}: {task} | {1e6 * seconds:.1f} | {share} | {best_layer / seconds:.2f} |", flush=True)
                    agreed[precision] = np.array(ours.ask("indices").split(), dtype=np.int64)
                    ours.close()
                same = all((agreed[p] == agreed["f32"]).all() for p in PRECISIONS)
                told = "" if exact is None else f"; equal to float64: {bool((agreed['f32'] == exact).all())}"
                print(f"\n{about}; every precision gives the same indices: {same}{told}\n", flush=True)


if __name__ == "__main__":
    main()
