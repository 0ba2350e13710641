"""Golden numbers of the spectrum chain, from SciPy. Run: python make.py (numpy, scipy); writes *.json beside itself.

Made with numpy 2.x, scipy 1.17.1. `ties` has columns that no protein uses: equal rows in the correlation matrix.
"""

import json
import pathlib

import numpy as np
import scipy
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr


def case(name, histograms):
    codes = histograms.shape[1]
    correlation = np.zeros((codes, codes))
    for i in range(codes):
        for j in range(i, codes):
            constant = np.ptp(histograms[:, i]) == 0 or np.ptp(histograms[:, j]) == 0
            correlation[i, j] = 0 if constant else pearsonr(histograms[:, i], histograms[:, j])[0]
            correlation[j, i] = correlation[i, j]
    distances = pdist(correlation)
    out = {"scipy": scipy.__version__, "histograms": histograms.tolist(), "correlation": correlation.tolist()}
    for method in ["average", "complete", "single", "ward"]:
        tree = linkage(distances, method)
        optimal = leaves_list(optimal_leaf_ordering(tree, distances))
        square = lambda i, j: np.linalg.norm(correlation[i] - correlation[j])
        out[method] = {
            "linkage": tree.tolist(),
            "order": leaves_list(tree).tolist(),
            "clusters": {str(k): fcluster(tree, k, "maxclust").tolist() for k in [1, 2, 3, 5, 11]},
            "optimal_length": float(sum(square(i, j) for i, j in zip(optimal, optimal[1:]))),
        }
    pathlib.Path(__file__).with_name(f"{name}.json").write_text(json.dumps(out))


rng = np.random.default_rng(7)
base = rng.gamma(1.0, 2.0, size=(18, 6)) @ rng.dirichlet(np.full(32, 0.3), size=6)
plain = np.round(base * 20 + rng.gamma(1.0, 0.5, size=(18, 32)), 3)
case("plain", plain)
ties = plain.copy()
ties[:, [3, 4, 17, 20, 31]] = 0.0
ties[:, 9] = 0.1
case("ties", ties)
