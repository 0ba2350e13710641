"""From histograms to feature clusters: SciPy beside cytoself-spectrum, by turns, in one run.

    python3 benches/peers/spectrum.py [--venv target/venv-spectrum] [--rounds 5] [--threads 1 2] [--optimal] [--histograms FILE]

Makes the virtual environment if it is missing, makes histograms of 1311 proteins and 2048 codes, 20 of them never used (or reads those
of FILE, npy [proteins, codes]), and runs both sides in turn: correlation of all pairs of codes, Euclidean distances of its rows, average linkage, order of the leaves, eleven clusters.
NumPy has as many threads as we; SciPy's steps know one. Prints the median seconds of every step, of the chain, and of the two whole
programs (`biclust`, and a Python script that reads, computes and writes the same); then how far the results agree.
"""
import argparse, json, os, pathlib, platform, statistics, subprocess, sys, tempfile, time

from segment import ROOT, THREADS, enter

PROTEINS, CODES, CLUSTERS = 1311, 2048, 11
PEARSON_PAIRS = 2000  # pairs whose correlation is compared with scipy.stats.pearsonr

PROGRAM = """
import sys, numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import pdist
x = np.load(sys.argv[1])
with np.errstate(all="ignore"):
    correlation = np.nan_to_num(np.corrcoef(x.T))
tree = linkage(pdist(correlation), "average")
for name, value in [("correlation", correlation), ("linkage", tree), ("order", leaves_list(tree)), ("clusters", fcluster(tree, 11, "maxclust"))]:
    np.save(f"{sys.argv[2]}/{name}.npy", value)
"""


def histograms():
    import numpy as np

    random = np.random.default_rng(3)
    parts = random.gamma(0.5, 1.0, size=(PROTEINS, 40)) @ random.dirichlet(np.full(CODES, 0.05), size=40)
    counts = random.poisson(625 * parts / parts.sum(1, keepdims=True) * 20) / 20.0
    counts[:, random.choice(CODES, 20, replace=False)] = 0
    return counts


def theirs(x, optimal):
    """The steps of spectrum.rs; returns seconds by step, and results."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import pdist

    seconds = {}

    def clock(name, work):
        start = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - start
        return result

    with np.errstate(all="ignore"):
        correlation = clock("correlation", lambda: np.nan_to_num(np.corrcoef(x.T)))
    distances = clock("distances", lambda: pdist(correlation))
    tree = clock("linkage", lambda: linkage(distances, "average"))
    order = clock("leaves", lambda: leaves_list(tree))
    clusters = clock("cut", lambda: fcluster(tree, CLUSTERS, "maxclust"))
    if optimal:
        order = clock("optimal order", lambda: leaves_list(optimal_leaf_ordering(tree, distances)))
    return seconds, (correlation, distances, tree, order, clusters)


def timed(command):
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True)
    return time.perf_counter() - start


def path_length(distances, order):
    from scipy.spatial.distance import squareform

    return squareform(distances)[order[:-1], order[1:]].sum()


def agreement(x, folder, results):
    import numpy as np
    from scipy.stats import pearsonr

    correlation, distances, tree, order, clusters = results
    ours = {name: np.load(folder / f"{name}.npy") for name in ["correlation", "linkage", "order", "clusters"]}
    used = np.ptp(x, axis=0) > 0
    random = np.random.default_rng(0)
    worst = 0.0
    for i, j in random.integers(0, x.shape[1], size=(PEARSON_PAIRS, 2)):
        expected = pearsonr(x[:, i], x[:, j])[0] if used[i] and used[j] else 0.0
        worst = max(worst, abs(ours["correlation"][i, j] - expected))
    print(f"codes never used: {(~used).sum()}")
    print(f"correlation, largest difference from numpy: {np.abs(ours['correlation'] - correlation).max():.1e}; "
          f"from pearsonr on {PEARSON_PAIRS} pairs: {worst:.1e}")
    print(f"heights, largest difference: {np.abs(ours['linkage'][:, 2] - tree[:, 2]).max():.1e}; "
          f"merges equal: {(ours['linkage'][:, :2] == tree[:, :2]).all(1).sum()} of {len(tree)}")
    print(f"leaves at the same place: {(ours['order'] == order).sum()} of {x.shape[1]}; "
          f"codes in the same cluster: {(ours['clusters'] == clusters).sum()} of {x.shape[1]}")
    print(f"path through neighbouring leaves: ours {path_length(distances, ours['order']):.1f}, SciPy {path_length(distances, order):.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target" / "venv-spectrum")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--optimal", action="store_true", help="and the optimal order of the leaves: eight seconds of SciPy a round")
    parser.add_argument("--binaries", type=pathlib.Path, help="folder of spectrum_peer and biclust that are built already")
    parser.add_argument("--histograms", type=pathlib.Path)
    arguments = parser.parse_args()
    enter(arguments.venv, ["numpy", "scipy", "threadpoolctl"])
    binaries = arguments.binaries
    if binaries is None:
        command = ["cargo", "build", "--release", "--workspace", "--example", "biclust", "--example", "spectrum_peer"]
        subprocess.run(command, cwd=ROOT, check=True)
        binaries = ROOT / "target" / "release" / "examples"

    import numpy as np
    import scipy
    from threadpoolctl import threadpool_limits

    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    print(json.dumps({"processor": cpu[:1], "cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__,
                      "scipy": scipy.__version__, "rounds": arguments.rounds}))
    x = np.load(arguments.histograms).astype(np.float64) if arguments.histograms else histograms()
    x = x[~np.isnan(x).all(1)]  # proteins without crops
    task = "optimal" if arguments.optimal else "chain"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "theirs").mkdir()
        np.save(folder / "histograms.npy", x)
        for threads in arguments.threads:
            peer = subprocess.Popen([binaries / "spectrum_peer", folder, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            rounds = []
            for _ in range(arguments.rounds):
                peer.stdin.write(task + "\n")
                peer.stdin.flush()
                ours = json.loads(peer.stdout.readline())
                with threadpool_limits(threads):
                    scipys, results = theirs(x, arguments.optimal)
                biclust = [binaries / "biclust", "--histograms", folder / "histograms.npy", "--output", folder / "ours", "--threads", threads]
                ours["whole program"] = timed([*biclust, "--quiet", "--overwrite"])
                os.environ.update({name: str(threads) for name in THREADS})
                scipys["whole program"] = timed([sys.executable, "-c", PROGRAM, folder / "histograms.npy", folder / "theirs"])
                for side in (ours, scipys):
                    side["chain"] = sum(seconds for step, seconds in side.items() if step != "whole program")
                rounds.append((ours, scipys))
            peer.stdin.close()
            peer.wait()
            print(f"\n| step, threads {threads} | ours, s | SciPy, s | SciPy / ours |\n|---|---|---|---|")
            for step in rounds[0][0]:
                a, b = (statistics.median(sides[side][step] for sides in rounds) for side in (0, 1))
                print(f"| {step} | {a:.3f} | {b:.3f} | {b / a:.2f} |")
        agreement(x, folder, results)


if __name__ == "__main__":
    main()
