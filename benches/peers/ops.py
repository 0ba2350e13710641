"""Times every operation of the network: PyTorch on the CPU beside cytoself_model::ops, interleaved in one run.

    python3 benches/peers/ops.py --venv .venv/peers --batch 16 --threads 1 2 --output docs/benchmarks/ops.md

Makes the virtual environment if it is missing (PyTorch CPU from its own index), builds the Rust side (`cargo build --release
--workspace --example ops_peer`), and runs each operation in rounds: PyTorch, ours, PyTorch, ours, ... The best round of
each counts: least wall time and least mean CPU time per call, in milliseconds. PyTorch runs in its better layout (NCHW or
channels-last), chosen per operation by CPU time.
"""
import argparse, json, os, pathlib, platform, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name, kind, numbers: conv (c, o, k, stride, side), dw (c, k, stride, side), bn* (c, side), silu (c, side), up (c, from, to),
# linear (in, out), adam (parameters)
ENCODERS = [
    ("stem 3x3 s2 2-32 @100", "conv", 2, 32, 3, 2, 100),
    ("dw3 32 @50", "dw", 32, 3, 1, 50),
    ("1x1 16-96 @50", "conv", 16, 96, 1, 1, 50),
    ("dw3 s2 96 @50", "dw", 96, 3, 2, 50),
    ("1x1 24-144 @25", "conv", 24, 144, 1, 1, 25),
    ("dw3 144 @25", "dw", 144, 3, 1, 25),
    ("dw5 240 @25", "dw", 240, 5, 1, 25),
    ("1x1 240-40 @25", "conv", 240, 40, 1, 1, 25),
    ("3x3 64-40 @25", "conv", 64, 40, 3, 1, 25),
    ("dw3 s2 240 @25", "dw", 240, 3, 2, 25),
    ("dw3 480 @13", "dw", 480, 3, 1, 13),
    ("dw5 s2 480 @13", "dw", 480, 5, 2, 13),
    ("dw5 672 @7", "dw", 672, 5, 1, 7),
    ("1x1 672-112 @7", "conv", 672, 112, 1, 1, 7),
    ("dw5 1152 @4", "dw", 1152, 5, 1, 4),
    ("dw3 1152 @4", "dw", 1152, 3, 1, 4),
    ("1x1 192-1152 @4", "conv", 192, 1152, 1, 1, 4),
    ("1x1 320-576 @4", "conv", 320, 576, 1, 1, 4),
    ("bn+silu 96 @50", "bnsilu", 96, 50),
    ("bn 16 @50", "bn", 16, 50),
    ("bn+silu 240 @25", "bnsilu", 240, 25),
    ("bn+silu 1152 @4", "bnsilu", 1152, 4),
    ("silu 96 @50", "silu", 96, 50),
]
PAPER = [
    ("3x3 640-64 @25", "conv", 640, 64, 3, 1, 25),
    ("3x3 64-64 @50", "conv", 64, 64, 3, 1, 50),
    ("3x3 64-32 @50", "conv", 64, 32, 3, 1, 50),
    ("3x3 32-32 @100", "conv", 32, 32, 3, 1, 100),
    ("3x3 32-2 @100", "conv", 32, 2, 3, 1, 100),
    ("3x3 576-64 @4", "conv", 576, 64, 3, 1, 4),
    ("3x3 64-64 @7", "conv", 64, 64, 3, 1, 7),
    ("3x3 32-32 @13", "conv", 32, 32, 3, 1, 13),
    ("3x3 32-64 @25", "conv", 32, 64, 3, 1, 25),
    ("bn+silu 64 @50", "bnsilu", 64, 50),
    ("bn+res+silu 32 @100", "bnres", 32, 100),
    ("bilinear 64 25-50", "up", 64, 25, 50),
    ("bilinear 32 50-100", "up", 32, 50, 100),
    ("linear 40000-1000", "linear", 40000, 1000),
    ("linear 9216-1000", "linear", 9216, 1000),
    ("adamw 10 M", "adam", 10_000_000),
]
SPLIT9 = [
    ("3x3 576-576 @7", "conv", 576, 576, 3, 1, 7),
    ("3x3 288-288 @13", "conv", 288, 288, 3, 1, 13),
    ("3x3 144-144 @25", "conv", 144, 144, 3, 1, 25),
    ("3x3 640-640 @50", "conv", 640, 640, 3, 1, 50),
    ("3x3 640-320 @50", "conv", 640, 320, 3, 1, 50),
    ("3x3 320-320 @100", "conv", 320, 320, 3, 1, 100),
    ("3x3 320-160 @100", "conv", 320, 160, 3, 1, 100),
    ("3x3 160-2 @100", "conv", 160, 2, 3, 1, 100),
    ("bn+silu 640 @50", "bnsilu", 640, 50),
    ("bn+res+silu 320 @100", "bnres", 320, 100),
    ("bilinear 640 25-50", "up", 640, 25, 50),
    ("bilinear 320 50-100", "up", 320, 50, 100),
]
GROUPS = {"encoders": ENCODERS, "paper": PAPER, "split9": SPLIT9}


def ensure_venv(path):
    python = path / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
        subprocess.run([python, "-m", "pip", "-q", "install", "numpy", "torch", "--extra-index-url", "https://download.pytorch.org/whl/cpu"], check=True)
    if pathlib.Path(sys.prefix).resolve() != path.resolve():
        os.execv(python, [str(python), *sys.argv])


def seconds(f, budget):
    f()
    start, cpu, best, calls = time.perf_counter(), time.process_time(), float("inf"), 0
    while calls < 3 or time.perf_counter() - start < budget:
        t = time.perf_counter()
        f()
        best, calls = min(best, time.perf_counter() - t), calls + 1
    return [best, (time.process_time() - cpu) / calls]


def torch_operation(kind, n, batch, channels_last):
    """(forward without graph, backward)"""
    import torch
    import torch.nn.functional as F

    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = lambda c, s: torch.randn(batch, c, s, s).to(memory_format=layout).requires_grad_()
    if kind in ("conv", "dw"):
        c, o, k, s, side = n if kind == "conv" else (n[0], n[0], *n[1:])
        groups = 1 if kind == "conv" else c
        x = image(c, side)
        w = (torch.randn(o, c // groups, k, k) / (c // groups * k * k) ** 0.5).to(memory_format=layout).requires_grad_()
        f, wrt = (lambda: F.conv2d(x, w, None, s, k // 2, 1, groups)), [x, w]
    elif kind in ("bn", "bnsilu", "bnres"):
        x, r = image(*n), image(*n)
        g, b = torch.ones(n[0], requires_grad=True), torch.zeros(n[0], requires_grad=True)
        mean, var = torch.zeros(n[0]), torch.ones(n[0])
        bn = lambda: F.batch_norm(x, mean, var, g, b, True)
        f = {"bn": bn, "bnsilu": lambda: F.silu(bn()), "bnres": lambda: F.silu(bn() + r)}[kind]
        wrt = [x, g, b] + ([r] if kind == "bnres" else [])
    elif kind == "silu":
        x = image(*n)
        f, wrt = (lambda: F.silu(x)), [x]
    elif kind == "up":
        x = image(n[0], n[1])
        f, wrt = (lambda: F.interpolate(x, size=(n[2], n[2]), mode="bilinear", align_corners=False)), [x]
    elif kind == "linear":
        x, w, b = torch.randn(batch, n[0]).requires_grad_(), torch.randn(n[1], n[0]).requires_grad_(), torch.zeros(n[1], requires_grad=True)
        f, wrt = (lambda: F.linear(x, w, b)), [x, w, b]
    elif kind == "adam":
        p = torch.randn(n[0], requires_grad=True)
        p.grad = torch.randn(n[0])
        step = torch.optim.AdamW([p], lr=1e-4, fused=True).step
        return step, None
    y = f()
    dy = torch.randn_like(y)

    def forward():
        with torch.no_grad():
            f()

    return forward, lambda: torch.autograd.grad(y, wrt, dy, retain_graph=True)


def torch_times(kind, n, batch, budget):
    layouts = [False] if kind in ("linear", "adam") else [False, True]
    results = []
    for channels_last in layouts:
        forward, backward = torch_operation(kind, n, batch, channels_last)
        results.append([seconds(forward, budget), seconds(backward, budget) if backward else [0.0, 0.0]])
    return min(results, key=lambda r: r[0][1] + r[1][1])


class Ours:
    def __init__(self, binaries):
        if binaries is None:
            subprocess.run(["cargo", "build", "--release", "-q", "--workspace", "--example", "ops_peer"], cwd=ROOT, check=True)
            binaries = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples"
        self.process = subprocess.Popen([binaries / "ops_peer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def times(self, kind, n, batch, threads, budget):
        self.process.stdin.write(" ".join(map(str, [threads, batch, budget, kind, *n])) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def best(rounds):
    return [[min(r[i][j] for r in rounds) for j in (0, 1)] for i in (0, 1)]


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((l.split(":", 1)[1].strip() for l in lines if l.startswith("model name")), platform.processor())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=pathlib.Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=["encoders", "paper"])
    parser.add_argument("--binaries", type=pathlib.Path, help="a folder with `ops_peer`, built already")
    parser.add_argument("--only", default="", help="operations whose name contains this text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="time per measurement")
    parser.add_argument("--output", type=pathlib.Path, help="append the tables to this Markdown file")
    arguments = parser.parse_args()
    ensure_venv(arguments.venv)
    import torch

    ours, out = Ours(arguments.binaries), []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for batch in arguments.batch:
            load = os.getloadavg()[0]
            out.append(f"\n### batch {batch}, {threads} thread{'s' * (threads > 1)}\n\n{processor()}, {os.cpu_count()} cores, load {load:.1f} at the start; torch {torch.__version__}; {time.strftime('%Y-%m-%d')}. Milliseconds per call.\n")
            out.append("| operation | torch fwd wall (CPU) | ours | torch bwd wall (CPU) | ours | torch/ours CPU fwd, bwd |\n|---|---|---|---|---|---|")
            print("\n".join(out[-2:]), flush=True)
            for name, kind, *n in [row for group in arguments.groups for row in GROUPS[group] if arguments.only in row[0]]:
                rounds = [(torch_times(kind, n, batch, arguments.seconds), ours.times(kind, n, batch, threads, arguments.seconds)) for _ in range(arguments.rounds)]
                t, o = best([r[0] for r in rounds]), best([r[1] for r in rounds])
                ms = lambda pair: f"{pair[0] * 1e3:.3g} ({pair[1] * 1e3:.3g})"
                ratio = lambda i: f"{t[i][1] / o[i][1]:.2f}" if o[i][1] > 0 else "-"
                out.append(f"| {name} | {ms(t[0])} | {ms(o[0])} | {ms(t[1])} | {ms(o[1])} | {ratio(0)}, {ratio(1)} |")
                print(out[-1], flush=True)
    if arguments.output:
        with arguments.output.open("a") as file:
            file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
