"""Ours beside umap-learn, in one run.

python3 benches/peers/umap.py [--data DIR] [--sets digits,cyto,m70,codes] [--seeds 5] [--binary target/release/examples/umap]

Makes a virtual environment (umap-learn from PyPI) beside itself on the first run, and the data sets in DIR: digits (scikit-learn),
cyto (10,000 x 9,216: proteins in organelles plus cell variation and noise), m70 (70,000 x 784: ten bent manifolds), codes (20,000 x 144
code indices of 2,048; umap-learn gets the expanded vectors).
Prints one JSON line per run and a Markdown table at the end. umap-learn is timed on its second fit, after numba has compiled.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv-umap")


def enter_environment():
    """Re-runs this script inside the virtual environment, made on the first run."""
    python = os.path.join(VENV, "bin", "python")
    if os.path.abspath(sys.prefix) == VENV:
        return
    if not os.path.exists(python):
        subprocess.check_call([sys.executable, "-m", "venv", VENV])
        subprocess.check_call([python, "-m", "pip", "install", "-q", "umap-learn", "scikit-learn", "numpy"])
    os.execv(python, [python, *sys.argv])


def make(name, folder):
    """The data set `name` as x (and a codebook), made once."""
    import numpy as np
    from sklearn.datasets import load_digits

    path = os.path.join(folder, f"{name}_X.npy")
    if os.path.exists(path):
        return path
    rng = np.random.default_rng({"digits": 0, "cyto": 1, "m70": 2, "codes": 3}[name])
    if name == "digits":
        x = load_digits().data.astype("f4")
    elif name == "cyto":
        proteins = 400
        basis = rng.standard_normal((64, 9216)).astype("f4") / 8
        organelle = rng.integers(0, 12, proteins)
        centre = 3 * rng.standard_normal((12, 64)).astype("f4")[organelle] + rng.standard_normal((proteins, 64)).astype("f4")
        latent = centre[rng.integers(0, proteins, 10_000)] + 0.6 * rng.standard_normal((10_000, 64)).astype("f4")
        x = latent @ basis + 0.5 * rng.standard_normal((10_000, 9216)).astype("f4")
    elif name == "m70":
        label = rng.integers(0, 10, 70_000)
        z = rng.standard_normal((70_000, 12)).astype("f4")
        x = np.zeros((70_000, 784), "f4")
        for c in range(10):
            w1, b1 = rng.standard_normal((12, 64)) / 12**0.5, rng.standard_normal(64)
            w2, b2 = rng.standard_normal((64, 784)) / 8, 0.7 * rng.standard_normal(784)
            x[label == c] = np.maximum(np.tanh(z[label == c] @ w1 + b1) @ w2 + b2 - 0.5, 0)
        x += 0.05 * np.abs(rng.standard_normal(x.shape).astype("f4"))
    else:
        np.save(os.path.join(folder, "codes_codebook.npy"), rng.standard_normal((2048, 64)).astype("f4"))
        prefer = rng.integers(0, 2048, (300, 144, 6))
        x = prefer[rng.integers(0, 300, 20_000)[:, None], np.arange(144)[None], rng.integers(0, 6, (20_000, 144))]
        noise = rng.random(x.shape) < 0.15
        x[noise] = rng.integers(0, 2048, int(noise.sum()))
        x = x.astype("u2")
    np.save(path, x)
    return path


def expanded(path, folder):
    import numpy as np

    x = np.load(path)
    if x.dtype != np.uint16:
        return x
    book = np.load(os.path.join(folder, "codes_codebook.npy"))
    return book[x].reshape(len(x), -1)


def quality(x, y, k=15, queries=2000):
    """Trustworthiness and neighbour preservation on at most `queries` points with exact ranks, and the extent of the map."""
    import numpy as np

    n = len(x)
    picked = np.random.default_rng(0).choice(n, min(queries, n), replace=False)
    norms = (x * x).sum(1)
    low_norms = (y * y).sum(1)
    penalty, kept = 0.0, 0
    for part in np.array_split(picked, max(1, len(picked) // 100)):
        high = norms[None] - 2 * x[part] @ x.T
        low = low_norms[None] - 2 * y[part] @ y.T
        high[np.arange(len(part)), part] = low[np.arange(len(part)), part] = -np.inf
        order = high.argsort(1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(n)[None], 1)
        near = low.argpartition(k, 1)[:, : k + 1]
        near_rank = np.take_along_axis(rank, near, 1)
        penalty += np.maximum(near_rank - k, 0).sum()
        kept += ((near_rank > 0) & (near_rank <= k)).sum()
    scale = 2.0 / (len(picked) * k * (2 * n - 3 * k - 1))
    extent = float(np.ptp(y, axis=0).max())
    return {"trust": 1 - penalty * scale, "preserved": kept / (len(picked) * k), "extent": extent}


def used():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def ours(binary, path, folder, seed, threads):
    import numpy as np

    with tempfile.TemporaryDirectory() as out:
        map_file = os.path.join(out, "y.npy")
        command = [binary, "--input", path, "--output", map_file, "--seed", str(seed), "--threads", str(threads)]
        if np.load(path, mmap_mode="r").dtype == np.uint16:
            command += ["--codebook", os.path.join(folder, "codes_codebook.npy")]
        before, start = used(), time.perf_counter()
        log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        wall = time.perf_counter() - start
        return np.load(map_file), {"wall": wall, "cpu": used() - before, "report": log.strip().splitlines()[-1]}


def theirs(path, folder, seed, threads):
    """A fit in a process of its own: the first warms numba up, the second is timed."""
    import numpy as np

    with tempfile.TemporaryDirectory() as out:
        map_file = os.path.join(out, "y.npy")
        command = [sys.executable, os.path.abspath(__file__), "--child", path, folder, str(seed), str(threads), map_file]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return np.load(map_file), json.loads(text.strip().splitlines()[-1])


def child(path, folder, seed, threads, map_file):
    import warnings

    import numpy as np

    # Python puts the script's folder first on the path, where this file would hide the package.
    sys.path = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    import umap

    warnings.filterwarnings("ignore")
    x = expanded(path, folder)
    seed = None if seed == "none" else int(seed)
    umap.UMAP(random_state=seed, n_jobs=int(threads)).fit(x[:5000])
    cpu = lambda: sum(os.times()[:2])
    before, start = cpu(), time.perf_counter()
    y = umap.UMAP(random_state=seed, n_jobs=int(threads)).fit(x).embedding_
    print(json.dumps({"wall": time.perf_counter() - start, "cpu": cpu() - before}))
    np.save(map_file, y)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        return child(*sys.argv[2:])
    enter_environment()
    p = argparse.ArgumentParser()
    p.add_argument("--data", default=os.path.join(HERE, ".data-umap"))
    p.add_argument("--sets", default="digits,cyto,m70,codes")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--binary", default=os.path.join(HERE, "..", "..", "target", "release", "examples", "umap"))
    a = p.parse_args()
    os.makedirs(a.data, exist_ok=True)
    rows = []
    for name in a.sets.split(","):
        path = make(name, a.data)
        x = expanded(path, a.data)
        runs = [("ours", s, lambda s=s: ours(a.binary, path, a.data, s, a.threads)) for s in range(a.seeds)]
        runs += [("umap-learn", s, lambda s=s: theirs(path, a.data, s, 1)) for s in range(a.seeds)]
        runs += [("umap-learn unseeded", "none", lambda: theirs(path, a.data, "none", a.threads))]
        for who, seed, run in runs:
            y, timing = run()
            rows.append({"set": name, "who": who, "seed": seed, "load": os.getloadavg()[0], **timing, **quality(x, y)})
            print(json.dumps(rows[-1]), flush=True)
    table(rows)


def table(rows):
    print("\n| set | program | runs | wall s | CPU s | trust(15) | kept(15) | extent |\n|---|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((r["set"], r["who"]) for r in rows):
        some = [r for r in rows if (r["set"], r["who"]) == key]
        mean = lambda f: sum(r[f] for r in some) / len(some)
        print(
            f"| {key[0]} | {key[1]} | {len(some)} | {mean('wall'):.2f} | {mean('cpu'):.2f} | {mean('trust'):.4f} "
            f"| {mean('preserved'):.3f} | {mean('extent'):.1f} |"
        )


if __name__ == "__main__":
    main()
