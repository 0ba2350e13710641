"""Every operation of the network on a GPU beside PyTorch, on the same card in the same run; run by run.sh.

    python3 benches/gpu/ops.py --program target/release/examples/ops_gpu --batch 32 --output ops.json

PyTorch runs eager in NCHW, eager in channels-last, and compiled in channels-last (`torch.compile`); "step" is the operation, the mean
square of its result and all gradients. Shares: of the rate of a large matrix product at the same precision for convolutions and dense
layers, of a large copy for the others (inputs and result counted once; the two passes of a normalisation as one read more).
`--dry` tries the script on the processor with small shapes.
"""
import argparse, importlib.util, json, subprocess
from pathlib import Path

import torch
from torch.nn import functional as F

import ceilings

PEERS = Path(__file__).resolve().parents[1] / "peers" / "ops.py"


def groups():
    spec = importlib.util.spec_from_file_location("peer_ops", PEERS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GROUPS


def smaller(kind, n):
    """The same operation on a few values."""
    few = {"conv": lambda c, o, k, s, side: (min(c, 8), min(o, 8), k, s, 8), "dw": lambda c, k, s, side: (8, k, s, 8)}
    few |= {"up": lambda c, a, b: (4, 4, 8), "linear": lambda i, o: (20, 10), "adam": lambda m: (1000,)}
    return few.get(kind, lambda *n: (4, 8))(*n)


class Operation:
    """An operation on random inputs, with the FLOP and bytes of its forward pass."""

    def __init__(self, kind, n, batch, device, last):
        self.kind, self.flops = kind, 0
        layout = torch.channels_last if last else torch.contiguous_format

        def square(c, side):
            return torch.rand(batch, c, side, side, device=device).sub(0.5).to(memory_format=layout).requires_grad_()

        def some(*shape):
            t = torch.rand(*shape, device=device).sub(0.5)
            return (t.to(memory_format=layout) if len(shape) == 4 else t).requires_grad_()

        if kind == "conv":
            c, o, k, s, side = n
            self.inputs = [square(c, side), some(o, c, k, k)]
            self.run = lambda x, w: F.conv2d(x, w, stride=s, padding=k // 2)
            self.flops = 2 * batch * c * o * k * k * (-(-side // s)) ** 2
        elif kind == "dw":
            c, k, s, side = n
            self.inputs = [square(c, side), some(c, 1, k, k)]
            self.run = lambda x, w: F.conv2d(x, w, stride=s, padding=k // 2, groups=c)
        elif kind in ("bn", "bnsilu", "bnres"):
            c, side = n
            self.inputs = [square(c, side), some(c), some(c)] + [square(c, side)] * (kind == "bnres")
            mean, var = torch.zeros(c, device=device), torch.ones(c, device=device)

            def run(x, g, b, *r):
                y = F.batch_norm(x, mean, var, g, b, True, 0.1, 1e-5)
                return F.silu(y + r[0] if r else y) if kind != "bn" else y

            self.run = run
        elif kind == "silu":
            self.inputs, self.run = [square(*n)], F.silu
        elif kind == "up":
            c, a, b = n
            self.inputs = [square(c, a)]
            self.run = lambda x: F.interpolate(x, size=(b, b), mode="bilinear", align_corners=False)
        elif kind == "linear":
            i, o = n
            self.inputs = [some(batch, i), some(o, i), some(o)]
            self.run, self.flops = F.linear, 2 * batch * i * o
        y = self.run(*[t.detach() for t in self.inputs])
        again = self.inputs[0].numel() if kind.startswith("bn") else 0
        self.bytes = 4 * (sum(t.numel() for t in self.inputs) + y.numel() + again)
        self.target = torch.zeros_like(y)

    def forward(self, run):
        with torch.no_grad():
            run(*self.inputs)

    def step(self, run):
        for t in self.inputs:
            t.grad = None
        F.mse_loss(run(*self.inputs), self.target).backward()


def adam(count, device, calls):
    w = torch.rand(count, device=device, requires_grad=True)
    w.grad = torch.rand_like(w)
    optimizer = torch.optim.AdamW([w], lr=1e-4, fused=device == "cuda")
    return [ceilings.seconds(device, optimizer.step, calls), 0.0]


def torch_times(kind, n, batch, device, name, dry):
    """{contender: [forward, step]}, and FLOP and bytes of the forward pass."""
    calls = 2 if dry else 10
    if kind == "adam":
        return {"torch eager": adam(n[0], device, calls)}, 0, 28 * n[0]
    found, flops, moved = {}, 0, 0
    for contender, last, compiled in [("torch NCHW", False, False), ("torch channels-last", True, False), ("torch compiled", True, True)]:
        if compiled and dry:
            continue
        torch.compiler.reset()
        o = Operation(kind, n, batch, device, last)
        run = torch.compile(o.run, dynamic=False) if compiled else o.run
        with ceilings.precision(name, device):
            found[contender] = [ceilings.seconds(device, lambda: f(run), calls) for f in (o.forward, o.step)]
        flops, moved = o.flops, o.bytes
    return found, flops, moved


class Ours:
    def __init__(self, program, device, name):
        command = [str(program), "time", device, name]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, batch, budget, kind, n):
        self.child.stdin.write(f"{batch} {budget} {kind} {' '.join(map(str, n))}\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise SystemExit("ops_gpu ended early; its last words are above")
        return json.loads(answer)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", type=Path, required=True)
    p.add_argument("--batch", type=int, nargs="+", default=[32])
    p.add_argument("--precision", nargs="+", default=["f32", "tf32", "bf16"])
    p.add_argument("--output", type=Path, required=True)
    p.add_argument("--dry", action="store_true")
    a = p.parse_args()
    device = "cpu" if a.dry else "cuda"
    limits = ceilings.measure(device, 256, 2**16) if a.dry else ceilings.measure(device)
    print("measured: " + ", ".join(f"{k} {limits[k] / 1e12:.1f} TFLOP/s" for k in a.precision) + f", copy {limits['copy'] / 1e9:.0f} GB/s\n")
    print("| operation | batch | precision | best of torch, ms forward / step | which | ours, ms | ratio forward / step | share of the ceiling, ours / torch |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for name in ["f32"] if a.dry else a.precision:
        ours = Ours(a.program, device, name)
        for batch in [2] if a.dry else a.batch:
            for label, kind, *n in dict.fromkeys(o for g in groups().values() for o in g):
                n = smaller(kind, n) if a.dry else n
                mine = ours.ask(batch, 0.01 if a.dry else 0.2, kind, n)
                try:
                    theirs, flops, moved = torch_times(kind, n, batch, device, name, a.dry)
                except torch.cuda.OutOfMemoryError:
                    theirs, flops, moved = {}, 0, 0
                row = {"operation": label, "batch": batch, "precision": name, "ours": mine, "torch": theirs, "flops": flops, "bytes": moved}
                rows.append(row)
                print(line(row, limits), flush=True)
        ours.close()
    a.output.write_text(json.dumps({"limits": limits, "rows": rows}))


def line(row, limits):
    mine, theirs = row["ours"], row["torch"]
    if not mine or not theirs:
        return f"| {row['operation']} | {row['batch']} | {row['precision']} | | | {'failed' if not mine else ''} | | |"
    best = min(theirs, key=lambda k: theirs[k][1] or theirs[k][0])
    floor = row["flops"] / limits[row["precision"]] if row["flops"] else row["bytes"] / limits["copy"]
    pair = lambda t: f"{1e3 * t[0]:.3f} / {1e3 * t[1]:.3f}"
    ratio = [theirs[best][i] / mine[i] if mine[i] else float("nan") for i in (0, 1)]
    share = " / ".join(f"{100 * floor / t[0]:.0f} %" for t in (mine, theirs[best]))
    head = f"| {row['operation']} | {row['batch']} | {row['precision']} | {pair(theirs[best])} | {best} | {pair(mine)} "
    return head + f"| {ratio[0]:.2f} / {ratio[1]:.2f} | {share} |"


if __name__ == "__main__":
    main()
