"""Ours beside umap-learn, interleaved in one run.

python3 benches/peers/umap.py [--data DIR] [--sets digits,cyto,m70,codes] [--seeds 5] [--unseeded 2] [--binary target/release/examples/umap]

Makes a virtual environment (umap-learn from PyPI) beside itself on the first run, and the data sets in DIR, all from one generator with
seed 0: digits (scikit-learn), cyto (10,000 x 9,216: 400 proteins in 12 organelles, cell variation, noise), m70 (70,000 x 784: ten bent
manifolds), codes (20,000 x 144 code indices of 2,048; umap-learn gets the expanded vectors). Two more that only ours maps: codes110 and
codes1100, 110,000 and 1,100,000 rows of codes.

Prints one JSON line per run and two Markdown tables. umap-learn stays in one process per set that has compiled its code on part of the data
and holds the data already; ours is a fresh process each time, and its start, the reading of the file and the writing of the map are counted.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv-umap")
SETS = ("digits", "cyto", "m70", "codes")
# Only ours: rows, proteins.
LARGE = {"codes110": (110_000, 1_311), "codes1100": (1_100_000, 1_311)}


def enter_environment():
    """Re-runs this script inside the virtual environment, made on the first run."""
    python = os.path.join(VENV, "bin", "python")
    if os.path.abspath(sys.prefix) == VENV:
        return
    if not os.path.exists(python):
        subprocess.check_call([sys.executable, "-m", "venv", VENV])
        subprocess.check_call([python, "-m", "pip", "install", "-q", "umap-learn", "scikit-learn", "numpy"])
    os.execv(python, [python, *sys.argv])


def make(folder):
    """The four data sets, made once."""
    import numpy as np
    from sklearn.datasets import load_digits

    if all(os.path.exists(set_path(folder, name)) for name in SETS):
        return
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape).astype("f4")
    save = lambda name, x: np.save(set_path(folder, name), x)
    save("digits", load_digits().data.astype("f4"))

    organelle = rng.integers(0, 12, 400)
    basis = normal(64, 9216) / 8
    centre = (normal(12, 64) * 3)[organelle] + normal(400, 64)
    protein = rng.integers(0, 400, 10_000)
    latent = centre[protein] + normal(10_000, 64) * 0.6
    save("cyto", (latent @ basis + normal(10_000, 9216) * 0.5).astype("f4"))

    label = rng.integers(0, 10, 70_000)
    z = normal(70_000, 12)
    x = np.zeros((70_000, 784), "f4")
    for c in range(10):
        w1, b1 = normal(12, 64) / np.sqrt(12), rng.standard_normal(64)
        w2, b2 = normal(64, 784) / 8, normal(784) * 0.7
        x[label == c] = np.maximum(np.tanh(z[label == c] @ w1 + b1) @ w2 + b2 - 0.5, 0)
    save("m70", x + np.abs(normal(70_000, 784)) * np.float32(0.05))

    np.save(os.path.join(folder, "codes_codebook.npy"), normal(2048, 64))
    protein = rng.integers(0, 300, 20_000)
    prefer = rng.integers(0, 2048, (300, 144, 6))
    x = prefer[protein[:, None], np.arange(144)[None], rng.integers(0, 6, (20_000, 144))]
    noise = rng.random(x.shape) < 0.15
    x[noise] = rng.integers(0, 2048, int(noise.sum()))
    save("codes", x.astype("u2"))


def make_large(folder, name):
    """Codes as those of `codes`, with the codebook of that set."""
    import numpy as np

    if name not in LARGE or os.path.exists(set_path(folder, name)):
        return
    rows, proteins = LARGE[name]
    rng = np.random.default_rng(1)
    prefer = rng.integers(0, 2048, (proteins, 144, 6), dtype="u2")
    x = np.empty((rows, 144), "u2")
    for start in range(0, rows, 50_000):
        part = x[start : start + 50_000]
        protein = rng.integers(0, proteins, len(part))
        part[:] = prefer[protein[:, None], np.arange(144)[None], rng.integers(0, 6, part.shape)]
        noise = rng.random(part.shape) < 0.15
        part[noise] = rng.integers(0, 2048, int(noise.sum()))
    np.save(set_path(folder, name), x)


def set_path(folder, name):
    return os.path.join(folder, f"{name}_X.npy")


def expanded(folder, name):
    import numpy as np

    x = np.load(set_path(folder, name))
    if x.dtype != np.uint16:
        return x
    book = np.load(os.path.join(folder, "codes_codebook.npy"))
    return book[x].reshape(len(x), -1)


class Quality:
    """Trustworthiness and neighbour preservation on the same points with exact ranks for every map of a set, and the extent of a map."""

    def __init__(self, x, queries, k=15):
        import numpy as np

        self.n, self.k = len(x), k
        self.picked = np.sort(np.random.default_rng(0).choice(self.n, min(queries, self.n), replace=False))
        norms = np.einsum("ij,ij->i", x, x)
        self.rank = np.empty((len(self.picked), self.n), "i4")
        for part in np.array_split(np.arange(len(self.picked)), max(1, len(self.picked) // 100)):
            far = norms[None] - 2 * x[self.picked[part]] @ x.T
            far[np.arange(len(part)), self.picked[part]] = -np.inf
            np.put_along_axis(rank := np.empty(far.shape, "i4"), far.argsort(1), np.arange(self.n, dtype="i4")[None], 1)
            self.rank[part] = rank

    def __call__(self, y):
        import numpy as np

        k, n = self.k, self.n
        penalty, kept = 0, 0
        for row, i in enumerate(self.picked):
            far = ((y - y[i]) ** 2).sum(1)
            far[i] = np.inf
            near = self.rank[row, far.argpartition(k)[:k]]
            penalty += int(np.maximum(near - k, 0).sum())
            kept += int((near <= k).sum())
        scale = 2.0 / (len(self.picked) * k * (2 * n - 3 * k - 1))
        return {"trust": 1 - penalty * scale, "kept": kept / (len(self.picked) * k), "extent": float(np.ptp(y, axis=0).max())}


class Ours:
    """A fresh process for every map."""

    def __init__(self, binary, folder, name, extra=()):
        self.command = [binary, "--input", set_path(folder, name), *extra]
        if name.startswith("codes"):
            self.command += ["--codebook", os.path.join(folder, "codes_codebook.npy")]

    def fit(self, seed, threads):
        import numpy as np

        with tempfile.TemporaryDirectory() as out:
            map_file, log = os.path.join(out, "y.npy"), os.path.join(out, "log")
            command = [*self.command, "--output", map_file, "--seed", str(seed), "--threads", str(threads)]
            # A process counts the memory of the one that it was split from: a small one stands between.
            done = subprocess.run([sys.executable, "-S", os.path.abspath(__file__), "--launch", log, *command], stdout=subprocess.PIPE)
            facts = json.loads(done.stdout)
            facts["report"] = open(log).read().strip().splitlines()[-1]
            if facts.pop("code"):
                sys.exit(f"{command}: {facts['report']}")
            return np.load(map_file), facts


def launch(log, *command):
    """Runs a command and prints what it used."""
    with open(log, "w") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stderr=errors)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024, "code": child.returncode}))


class Theirs:
    """One process for all maps of a set: compiled, and with the data in memory."""

    def __init__(self, folder, name):
        command = [sys.executable, os.path.abspath(__file__), "--child", folder, name]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.child.stdout.readline()

    def fit(self, seed, threads):
        import numpy as np

        with tempfile.TemporaryDirectory() as out:
            map_file = os.path.join(out, "y.npy")
            print(json.dumps([seed, threads, map_file]), file=self.child.stdin, flush=True)
            facts = json.loads(self.child.stdout.readline())
            return np.load(map_file), facts

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def child(folder, name):
    """The process of `Theirs`: a line [seed, threads, file] in, a line of facts out."""
    import warnings

    import numpy as np

    # Python puts the script's folder first on the path, where this file would hide the package.
    sys.path = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    import numba
    import umap

    warnings.filterwarnings("ignore")
    x = expanded(folder, name)
    cpu = lambda: sum(os.times()[:2])
    fit = lambda x, seed, threads: umap.UMAP(random_state=seed, n_jobs=threads).fit(x).embedding_
    for seed in (0, None):
        # 4,200 points: the way of large sets, and as few as it takes.
        fit(x[:4200], seed, 1 if seed == 0 else os.cpu_count())
    print("ready", flush=True)
    for line in sys.stdin:
        seed, threads, map_file = json.loads(line)
        # Linux: the high-water mark of memory starts again.
        with open("/proc/self/clear_refs", "w") as mark:
            mark.write("5")
        before, start = cpu(), time.perf_counter()
        y = fit(x, seed, threads)
        facts = {"wall": time.perf_counter() - start, "cpu": cpu() - before, "layer": numba.threading_layer()}
        status = dict(l.split(":", 1) for l in open("/proc/self/status") if ":" in l)
        facts["peak_mb"] = int(status["VmHWM"].split()[0]) / 1024
        np.save(map_file, y)
        print(json.dumps(facts), flush=True)


class CodeQuality(Quality):
    """The same from code indices, whose vectors do not fit into memory."""

    def __init__(self, folder, name, queries, k=15):
        import numpy as np

        x = np.load(set_path(folder, name))
        book = np.load(os.path.join(folder, "codes_codebook.npy"))
        table = squares(book)
        self.n, self.k = len(x), k
        self.picked = np.sort(np.random.default_rng(0).choice(self.n, min(queries, self.n), replace=False))
        self.rank = np.empty((len(self.picked), self.n), "i4")
        for row, i in enumerate(self.picked):
            far = np.zeros(self.n, "f4")
            for position in range(x.shape[1]):
                far += table[x[i, position]][x[:, position]]
            far[i] = -np.inf
            self.rank[row, far.argsort()] = np.arange(self.n, dtype="i4")


def squares(book):
    """Squared distances between all codes."""
    norms = (book * book).sum(1)
    return (norms[:, None] + norms[None] - 2 * book @ book.T).clip(0).astype("f4")


def runs_of(name, a):
    """The runs of a set in their order: programs take turns, so that all see the same neighbours on the machine."""
    if name in LARGE:
        yield from (("ours", seed, a.threads) for seed in range(a.seeds))
        return
    for seed in range(a.seeds):
        yield ("ours", seed, a.threads)
        yield ("umap-learn seeded", seed, 1)
        if seed == 0:
            yield ("ours", seed, 1)
        if seed < a.unseeded:
            yield ("umap-learn unseeded", None, a.threads)


def measure(name, a):
    import numpy as np

    make_large(a.data, name)
    large = name in LARGE
    quality = CodeQuality(a.data, name, a.queries // 10) if large else Quality(expanded(a.data, name), a.queries)
    ours, theirs = Ours(a.binary, a.data, name), None if large else Theirs(a.data, name)
    rows = []
    for who, seed, threads in runs_of(name, a):
        y, facts = (ours if who == "ours" else theirs).fit(seed, threads)
        bits = hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()[:12]
        row = {"set": name, "who": who, "seed": seed, "threads": threads, "load": os.getloadavg()[0], "bits": bits}
        rows.append({**row, **facts, **quality(y)})
        print(json.dumps(rows[-1]), flush=True)
    if theirs:
        theirs.close()
    return rows


def versions():
    from importlib.metadata import version

    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    packages = ", ".join(f"{p} {version(p)}" for p in ("umap-learn", "pynndescent", "numba", "numpy", "scikit-learn"))
    print(f"{packages}; Python {platform.python_version()}; {cpu}, {os.cpu_count()} cores", flush=True)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        return child(*sys.argv[2:])
    if len(sys.argv) > 1 and sys.argv[1] == "--launch":
        return launch(*sys.argv[2:])
    enter_environment()
    p = argparse.ArgumentParser()
    p.add_argument("--data", default=os.path.join(HERE, ".data-umap"))
    p.add_argument("--sets", default=",".join(SETS))
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--unseeded", type=int, default=2, help="unseeded runs of umap-learn")
    p.add_argument("--queries", type=int, default=2000, help="points whose ranks are compared")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--binary", default=os.path.join(HERE, "..", "..", "target", "release", "examples", "umap"))
    a = p.parse_args()
    versions()
    os.makedirs(a.data, exist_ok=True)
    make(a.data)
    table([row for name in a.sets.split(",") for row in measure(name, a)])


def table(rows):
    print("\nMedians:\n")
    print("| set | program | threads | runs | wall s | CPU s | peak MB | trust(15) | kept(15) | extent |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for name in dict.fromkeys(r["set"] for r in rows):
        middle = {}
        for key in dict.fromkeys((r["who"], r["threads"]) for r in rows if r["set"] == name):
            some = [r for r in rows if r["set"] == name and (r["who"], r["threads"]) == key]
            m = middle[key] = {f: statistics.median(r[f] for r in some) for f in ("wall", "cpu", "peak_mb", "trust", "kept", "extent")}
            print(
                f"| {name} | {key[0]} | {key[1]} | {len(some)} | {m['wall']:.2f} | {m['cpu']:.2f} | {m['peak_mb']:.0f} "
                f"| {m['trust']:.4f} | {m['kept']:.3f} | {m['extent']:.1f} |"
            )
        mine = middle[max(k for k in middle if k[0] == "ours")]
        bits = {}
        for r in rows:
            if (r["set"], r["who"]) == (name, "ours"):
                bits.setdefault(r["seed"], set()).add(r["bits"])
        ratios += [
            f"| {name} | {key[0]} | {m['wall'] / mine['wall']:.1f} | {m['cpu'] / mine['cpu']:.1f} | {m['peak_mb'] / mine['peak_mb']:.1f} "
            f"| {mine['trust'] - m['trust']:+.4f} | {mine['extent'] / m['extent']:.2f} | {all(len(b) == 1 for b in bits.values())} |"
            for key, m in middle.items()
            if key[0] != "ours"
        ]
    print("\nOurs with all threads beside:\n")
    print("| set | peer | wall ratio | CPU ratio | memory ratio | trust, ours minus theirs | extent, ours / theirs | same bits by threads |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(ratios))


if __name__ == "__main__":
    main()
