"""SciPy's side of docs/benchmarks/spectrum.md. Run: python spectrum.py FOLDER [--optimal] (numpy, scipy).

Writes histograms `h.f64` (1311 x 2048) on the first run; times SciPy on them, and compares with our results `c.f64 z.f64 o.f64 k.f64`
if they are there.
"""

import pathlib
import sys
import time

import numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr

PROTEINS, CODES = 1311, 2048
folder = pathlib.Path(sys.argv[1])
if not (folder / "h.f64").exists():
    rng = np.random.default_rng(3)
    parts = rng.gamma(0.5, 1.0, size=(PROTEINS, 40)) @ rng.dirichlet(np.full(CODES, 0.05), size=40)
    counts = rng.poisson(625 * parts / parts.sum(1, keepdims=True) * 20) / 20.0
    counts[:, rng.choice(CODES, 20, replace=False)] = 0
    counts.astype("<f8").tofile(folder / "h.f64")
    sys.exit()
x = np.fromfile(folder / "h.f64").reshape(PROTEINS, CODES)


def timed(name, run):
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    print(f"scipy {name} wall {time.perf_counter() - wall:.3f} cpu {time.process_time() - cpu:.2f}")
    return result


with np.errstate(all="ignore"):
    correlation = np.nan_to_num(timed("corrcoef", lambda: np.corrcoef(x.T)))
pairs = timed("200 pearsonr", lambda: [pearsonr(x[:, i], x[:, i + 1])[0] for i in range(200) if np.ptp(x[:, i]) and np.ptp(x[:, i + 1])])
ours = np.fromfile(folder / "c.f64").reshape(CODES, CODES)
used = np.ptp(x, axis=0) > 0
worst = 0.0
rng = np.random.default_rng(0)
for i, j in rng.integers(0, CODES, size=(2000, 2)):
    expected = pearsonr(x[:, i], x[:, j])[0] if used[i] and used[j] else 0.0
    worst = max(worst, abs(ours[i, j] - expected))
print("codes never used", int((~used).sum()), "correlation: largest difference from pearsonr on 2000 pairs", worst)
distances = timed("pdist", lambda: pdist(ours))
tree = timed("linkage", lambda: linkage(distances, "average"))
z = np.fromfile(folder / "z.f64").reshape(-1, 4)
print("heights: largest difference", np.abs(z[:, 2] - tree[:, 2]).max(), "same merges", int((z[:, :2] == tree[:, :2]).all(1).sum()), "of", len(z))
print("same leaf order", bool((np.fromfile(folder / "o.f64") == leaves_list(tree)).all()))
print("same clusters", bool((np.fromfile(folder / "k.f64") == fcluster(tree, 11, "maxclust")).all()))
if "--optimal" in sys.argv:  # a minute and a half of one core
    optimal = leaves_list(timed("optimal_leaf_ordering", lambda: optimal_leaf_ordering(tree, distances)))
    print("scipy length optimal", sum(np.linalg.norm(ours[i] - ours[j]) for i, j in zip(optimal, optimal[1:])))
