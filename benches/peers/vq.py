"""Nearest codes: `quantize` beside FAISS and PyTorch, in one run.

    python3 benches/peers/vq.py [--threads 1 2] [--batches 1 16 256]

Makes a virtual environment in target/venv-vq (numpy, faiss-cpu, torch for CPU), builds `quantize` in release mode and runs every
contender in turn on the same vectors, five rounds each. Prints the median wall time of a search, the CPU seconds per search (the
figure to trust on a busy machine), and the rate against the machine's sgemm, measured in the same rounds.
"""
import argparse, json, os, re, resource, statistics, subprocess, sys, tempfile, time, venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "venv-vq"
CODES, DIM = 2048, 64
ROUNDS = 5


def environment():
    """Restarts this script inside its own virtual environment."""
    python = VENV / "bin" / "python"
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.check_call([python, "-m", "pip", "install", "-q", "numpy", "faiss-cpu"])
        subprocess.check_call([python, "-m", "pip", "install", "-q", "torch", "--index-url", "https://download.pytorch.org/whl/cpu"])
    os.execv(python, [str(python), *sys.argv])


def cpu(who=resource.RUSAGE_SELF):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def timed(run, repeats):
    start, busy = time.perf_counter(), cpu()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats, (cpu() - busy) / repeats


def ours(folder, split, threads, repeats):
    """Seconds and CPU seconds per search: the cost of more repeats, so that reading and starting cancel."""
    binary = ROOT / "target" / "release" / "examples" / "quantize"
    base = [binary, "--vectors", folder / "z.npy", "--codebook", folder / "c.npy", "--split", split, "--output",
            folder / "i.npy", "--overwrite", "--threads", threads]
    def run(count):
        busy = cpu(resource.RUSAGE_CHILDREN)
        text = subprocess.run([str(a) for a in [*base, "--repeat", count]], check=True, capture_output=True, text=True).stdout
        return float(re.search(r"([\d.]+) ms", text).group(1)) / 1e3, cpu(resource.RUSAGE_CHILDREN) - busy
    (_, once), (wall, many) = run(1), run(1 + repeats)
    return wall, (many - once) / repeats


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 256])
    arguments = parser.parse_args()
    environment()
    subprocess.check_call(["cargo", "build", "--release", "-p", "cytoself-examples", "--example", "quantize"], cwd=ROOT)

    import faiss
    import numpy as np
    import torch

    random = np.random.default_rng(1)
    codebook = random.uniform(-0.0383, 0.0383, (CODES, DIM)).astype(np.float32)
    index = faiss.IndexFlatL2(DIM)
    index.add(codebook)
    c = torch.from_numpy(codebook)

    def argmin(z):
        return torch.argmin((c * c).sum(1) - 2.0 * (z @ c.T), dim=1)

    def layer(z):
        """The arithmetic of a whole reference layer, forward: distances, codes, losses, one-hot statistics, soft histogram."""
        distances = (z * z).sum(1, keepdim=True) + (c * c).sum(1) - 2.0 * (z @ c.T)
        nearest = torch.argmin(distances, dim=1)
        one_hot = torch.nn.functional.one_hot(nearest, CODES).to(z.dtype)
        q = one_hot @ c
        loss = 1.25 * torch.mean((q - z) ** 2) + 0.0 * torch.nn.functional.cross_entropy(-distances, nearest)
        p = one_hot.mean(0)
        return z + (q - z), loss, torch.exp(-(p * torch.log(p + 1e-10)).sum()), torch.softmax(-distances, 1).sum(0)

    compiled = torch.compile(argmin, dynamic=False)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "c.npy", codebook)
        for split, per_image in [(1, 625), (9, 144)]:
            for batch in arguments.batches:
                z = random.uniform(-0.05, 0.05, (batch * per_image, DIM)).astype(np.float32)
                np.save(folder / "z.npy", z.reshape(-1, split * DIM))
                t = torch.from_numpy(z)
                flops = 2.0 * len(z) * CODES * DIM
                repeats = max(1, int(1e10 / flops))
                for threads in arguments.threads:
                    faiss.omp_set_num_threads(threads)
                    torch.set_num_threads(threads)
                    contenders = {
                        "cytoself": lambda: ours(folder, split, threads, repeats),
                        "FAISS IndexFlatL2": lambda: timed(lambda: index.search(z, 1), repeats),
                        "torch matmul+argmin": lambda: timed(lambda: argmin(t), repeats),
                        "torch compiled": lambda: timed(lambda: compiled(t), repeats),
                        "torch layer": lambda: timed(lambda: layer(t), repeats),
                        "sgemm": lambda: timed(lambda: torch.mm(t, c.T), repeats),
                    }
                    found = {who: [] for who in contenders}
                    with torch.no_grad():
                        compiled(t)
                        for _ in range(ROUNDS):
                            for who, run in contenders.items():
                                found[who].append(run())
                    same = np.load(folder / "i.npy").reshape(-1) == index.search(z, 1)[1][:, 0]
                    peak = flops / min(w for w, _ in found["sgemm"])
                    for who, times in found.items():
                        wall, busy = (statistics.median(x) for x in zip(*times))
                        best = min(w for w, _ in times)
                        rows.append((f"{batch} x {per_image}", threads, who, 1e3 * wall, 1e3 * busy, flops / best / peak))
                        print("| {} | {} | {} | {:.2f} | {:.2f} | {:.2f} |".format(*rows[-1]), flush=True)
                    print(f"| | | same index as FAISS: {same.mean():.6f} | | | |", flush=True)
    print(json.dumps({"load": os.getloadavg(), "torch": torch.__version__, "faiss": faiss.__version__}))


if __name__ == "__main__":
    main()
