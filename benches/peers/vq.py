"""Nearest codes and the whole quantiser layer beside FAISS and PyTorch, in one run.

    python3 benches/peers/vq.py [--threads 1 2] [--batches 1 16 256] [--rounds 5]

Makes a virtual environment in target/venv-vq (numpy, faiss-cpu, torch for the processor), builds `vq_peer` in release mode, and runs the
contenders in turn, round after round, on the same vectors: 625 x 64 and 144 x 64 per image against 2048 codes. Prints for each the
median over the rounds of wall time and of CPU seconds per run, then the ratios. On a busy machine CPU seconds are the figure to trust;
with one thread they are the time that the work would take alone.
"""
import argparse, datetime, json, os, platform, statistics, subprocess, sys, tempfile, time, venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "venv-vq"
CODES, DIM = 2048, 64
LEVELS = [(1, 25), (9, 4)]  # chunks per position, side of the map
GIGABYTE = 2**30


def environment():
    """Restarts this script inside its own virtual environment."""
    python = VENV / "bin" / "python"
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.check_call([python, "-m", "pip", "install", "-q", "numpy", "faiss-cpu"])
        subprocess.check_call([python, "-m", "pip", "install", "-q", "torch", "--index-url", "https://download.pytorch.org/whl/cpu"])
    os.execv(python, [str(python), *sys.argv, "--inside"])


def timed(run, repeats):
    start, busy = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats, (time.process_time() - busy) / repeats


class Ours:
    """`vq_peer` with one batch loaded."""

    def __init__(self, program, folder, z, codebook, split, side, threads):
        z.tofile(folder / "z.f32")
        codebook.tofile(folder / "c.f32")
        sizes = [len(z), split, side * side, DIM, threads]
        command = [program, folder / "z.f32", folder / "c.f32", *sizes]
        self.child = subprocess.Popen([str(a) for a in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, task, repeats=1):
        busy = self.cpu()
        self.child.stdin.write(f"{task} {repeats}\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if task == "indices":
            self.child.stdout.readline()
            return [int(i) for i in answer.split()]
        return float(answer) / repeats, (self.cpu() - busy) / repeats

    def cpu(self):
        # The clock of another process, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~self.child.pid << 3) | 2)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def layer_of(torch, c, split, soft=True):
    """The arithmetic of the reference layer, forward, of z [b, split * DIM, h, w]; see the model's description of its quantiser."""
    import torch.nn.functional as F

    def layer(z):
        b, _, h, w = z.shape
        flat = z.reshape(b, split, DIM, h * w).permute(0, 3, 1, 2).reshape(-1, DIM)
        distances = (flat * flat).sum(1, keepdim=True) + (c * c).sum(1) - 2.0 * (flat @ c.T)
        nearest = torch.argmin(distances, dim=1)
        one_hot = torch.zeros_like(distances).scatter_(1, nearest.unsqueeze(1), 1.0)
        q = (one_hot @ c).reshape(b, h * w, split, DIM).permute(0, 2, 3, 1).reshape(z.shape)
        loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z)
        p = one_hot.mean(0)
        perplexity = torch.exp(-(p * torch.log(p + 1e-10)).sum())
        histogram = one_hot.reshape(b, -1, CODES).sum(1)
        outputs = [z + (q - z).detach(), loss, perplexity, nearest, histogram]
        if soft:
            outputs.append(torch.softmax(-distances, 1).reshape(b, -1, CODES).sum(1))
        return outputs

    return layer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", type=Path, help="a vq_peer that is built already")
    parser.add_argument("--inside", action="store_true", help="use the Python that runs this, which has numpy, faiss and torch")
    arguments = parser.parse_args()
    if not arguments.inside:
        environment()
    program = arguments.program
    if program is None:
        build = ["cargo", "build", "--release", "--workspace", "--example", "vq_peer"]
        subprocess.check_call(build, cwd=ROOT)
        program = ROOT / "target" / "release" / "examples" / "vq_peer"

    import faiss
    import numpy as np
    import torch

    cpu = [l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")]
    print(json.dumps({"date": str(datetime.date.today()), "processor": cpu[:1], "cores": os.cpu_count(), "python": platform.python_version(),
                      "torch": torch.__version__, "faiss": faiss.__version__, "numpy": np.__version__, "rounds": arguments.rounds}))
    random = np.random.default_rng(1)
    codebook = random.uniform(-0.0383, 0.0383, (CODES, DIM)).astype(np.float32)
    index = faiss.IndexFlatL2(DIM)
    index.add(codebook)
    c = torch.from_numpy(codebook)
    square_a, square_b = (random.standard_normal((1536, 1536)).astype(np.float32) for _ in "ab")

    def matmul_argmin(z):
        return torch.argmin((c * c).sum(1) - 2.0 * (z @ c.T), dim=1)

    def addmm_argmin(z):
        return torch.argmin(torch.addmm((c * c).sum(1), z, c.T, alpha=-2.0), dim=1)

    for split, side in LEVELS:
        for batch in arguments.batches:
            z = random.uniform(-0.05, 0.05, (batch, split * DIM, side, side)).astype(np.float32)
            rows = z.reshape(-1, DIM)
            t_rows, t = torch.from_numpy(rows), torch.from_numpy(z)
            last = t.to(memory_format=torch.channels_last)
            flops = 2.0 * len(rows) * CODES * DIM
            # A tenth of a second or more per contender: a pool that slept can need tens of milliseconds before its second thread
            # helps; that of a peer that waits by spinning need not.
            repeats = max(1, int(2e10 / flops))
            slow = max(1, repeats // 6)
            # Seven tables of distances, one-hot rows and the like live at the same time in the layer.
            fits = 7 * 4 * len(rows) * CODES < 0.5 * available()
            for threads in arguments.threads:
                faiss.omp_set_num_threads(threads)
                torch.set_num_threads(threads)
                torch.compiler.reset()
                leaf, leaf_c = t.clone().requires_grad_(), c.clone().requires_grad_()
                layer, plain = layer_of(torch, c, split), layer_of(torch, c, split, soft=False)
                compiled_layer, compiled_plain = torch.compile(layer, dynamic=False), torch.compile(plain, dynamic=False)
                compiled = torch.compile(addmm_argmin, dynamic=False)
                trained = layer_of(torch, leaf_c, split, soft=False)

                def train():
                    leaf.grad = leaf_c.grad = None
                    trained(leaf)[1].backward()

                with tempfile.TemporaryDirectory() as name:
                    ours = Ours(program, Path(name), z, codebook, split, side, threads)
                    out = torch.empty(len(rows), CODES)
                    contenders = {
                        "ours: search": lambda: ours.ask("search", repeats),
                        "FAISS IndexFlatL2": lambda: timed(lambda: index.search(rows, 1), repeats),
                        "torch matmul+argmin": lambda: timed(lambda: matmul_argmin(t_rows), slow),
                        "torch addmm+argmin": lambda: timed(lambda: addmm_argmin(t_rows), slow),
                        "torch compiled addmm+argmin": lambda: timed(lambda: compiled(t_rows), slow),
                        "sgemm of this shape, torch": lambda: timed(lambda: torch.mm(t_rows, c.T, out=out), repeats),
                        "ours: layer with soft histogram": lambda: ours.ask("layer_soft", slow),
                        "ours: layer without": lambda: ours.ask("layer", repeats),
                        "ours: layer without, and gradients": lambda: ours.ask("train", repeats),
                    }
                    if fits:
                        contenders |= {
                            "torch layer with soft histogram": lambda: timed(lambda: layer(t), slow),
                            "torch layer with soft histogram, channels last": lambda: timed(lambda: layer(last), slow),
                            "torch layer with soft histogram, compiled": lambda: timed(lambda: compiled_layer(t), slow),
                            "torch layer without": lambda: timed(lambda: plain(t), slow),
                            "torch layer without, compiled": lambda: timed(lambda: compiled_plain(t), slow),
                        }
                    if fits and batch <= 16:
                        contenders["torch layer without, and gradients"] = lambda: timed(train, slow)
                    squares = {
                        "numpy": lambda: timed(lambda: square_a @ square_b, 1),
                        "torch": lambda: timed(lambda: torch.mm(torch.from_numpy(square_a), torch.from_numpy(square_b)), 1),
                    }
                    found = {who: [] for who in [*contenders, *squares]}
                    with torch.no_grad():
                        compiled(t_rows)
                        if fits:
                            compiled_layer(t)
                            compiled_plain(t)
                    for r in range(arguments.rounds + 1):
                        for who, run in [*contenders.items(), *squares.items()]:
                            # Threads of the contender before wait for work by spinning, for up to a fifth of a second.
                            time.sleep(0.3)
                            with torch.set_grad_enabled("gradients" in who):
                                times = run()
                            # The first round warms caches and allocators.
                            if r > 0:
                                found[who].append(times)
                    same = np.asarray(ours.ask("indices")).reshape(batch, split, side * side)
                    ours.close()
                by_place = z.reshape(batch, split, DIM, -1).transpose(0, 1, 3, 2).reshape(-1, DIM)
                same = float((same.reshape(-1) == index.search(by_place, 1)[1][:, 0]).mean())
                report(batch, split * side * side, threads, found, list(squares), flops, same)


def available():
    """Bytes of memory that are free."""
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def report(batch, per_image, threads, found, squares, flops, same):
    wall, busy = ({who: statistics.median(t[i] for t in times) for who, times in found.items()} for i in (0, 1))
    rate = max(2.0 * 1536**3 / min(t[1] for t in found[who]) for who in squares)
    rate = max(rate, flops / min(t[1] for t in found["sgemm of this shape, torch"])) / 1e9
    print(f"\n{batch} x {per_image} vectors, {threads} thread(s), load {os.getloadavg()[0]:.1f}; same index as FAISS: {same:.6f}")
    print("| contender | wall ms | CPU ms | GFLOP per CPU second |\n|---|---|---|---|")
    for who in found:
        work = 2.0 * 1536**3 if who in squares else flops
        name = f"sgemm 1536^3, {who}" if who in squares else who
        print(f"| {name} | {1e3 * wall[who]:.3f} | {1e3 * busy[who]:.3f} | {work / busy[who] / 1e9:.1f} |")
    torch_search = [who for who in found if who.startswith("torch") and "argmin" in who]
    soft = [who for who in found if who.startswith("torch layer with soft")]
    plain = [who for who in found if who.startswith("torch layer without") and "gradients" not in who]
    pairs = [("search", "ours: search", ["FAISS IndexFlatL2"]), ("search", "ours: search", ["torch matmul+argmin"]),
             ("search", "ours: search", torch_search), ("layer with soft histogram", "ours: layer with soft histogram", soft[:1]),
             ("layer with soft histogram", "ours: layer with soft histogram", soft), ("layer without", "ours: layer without", plain[:1]),
             ("layer without", "ours: layer without", plain),
             ("layer and gradients", "ours: layer without, and gradients", [w for w in found if w == "torch layer without, and gradients"])]
    for what, own, others in pairs:
        if others:
            best = min(others, key=busy.get)
            print(f"- {what} against {best}: {wall[best] / wall[own]:.1f} by wall, {busy[best] / busy[own]:.1f} by CPU")
    print(f"- search: {100 * flops / busy['ours: search'] / 1e9 / rate:.0f} % of the sgemm peak, {rate:.0f} GFLOP per CPU second", flush=True)


if __name__ == "__main__":
    main()
