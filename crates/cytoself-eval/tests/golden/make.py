"""Golden numbers of the scores, from scikit-learn. Run: python make.py (numpy, scikit-learn); writes scores.json."""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.manifold import trustworthiness
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    f1_score,
    normalized_mutual_info_score,
    silhouette_samples,
)
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

rng = np.random.default_rng(11)
names = np.array(["chromatin", "er", "golgi", "mitochondria"])
labels = rng.choice(4, size=120, p=[0.4, 0.3, 0.2, 0.1])
data = np.round(rng.normal(size=(120, 40)) + 2.2 * rng.normal(size=(4, 40))[labels] * (rng.random(40) < 0.2), 4)
points = np.round(data[:, :2] + 3 * rng.normal(size=(4, 2))[labels], 4)
clusters = np.where(rng.random(120) < 0.7, labels, rng.integers(0, 6, size=120))


def knn(x):
    predicted = cross_val_predict(KNeighborsClassifier(10), x, names[labels], cv=LeaveOneOut())
    return {
        "accuracy": float(np.mean(predicted == names[labels])),
        "macro_f1": float(f1_score(names[labels], predicted, average="macro")),
        "per_class_f1": f1_score(names[labels], predicted, average=None).tolist(),
    }


out = {
    "scikit_learn": sklearn.__version__,
    "data": data.tolist(),
    "points": points.tolist(),
    "labels": names[labels].tolist(),
    "clusters": clusters.tolist(),
    "silhouette": silhouette_samples(points, labels).tolist(),
    "silhouette_data": silhouette_samples(data, labels).tolist(),
    "knn_points": knn(points),
    "knn_data": knn(data),
    "trustworthiness": {str(k): float(trustworthiness(data, points, n_neighbors=k)) for k in [1, 5, 15]},
    "ari": float(adjusted_rand_score(labels, clusters)),
    "nmi": float(normalized_mutual_info_score(labels, clusters)),
    "ami": float(adjusted_mutual_info_score(labels, clusters)),
}
pathlib.Path(__file__).with_name("scores.json").write_text(json.dumps(out))
