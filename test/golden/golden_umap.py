"""umap.json: neighbourhood graphs, curves and how true maps are, by umap-learn and scikit-learn.

Points in three groups, with six digits. `graph` is dense, row-major. `map` is umap-learn's own, from PCA.
"""

import json
import os

import numpy as np
import umap
from sklearn.manifold import trustworthiness
from umap.umap_ import find_ab_params, fuzzy_simplicial_set

NEIGHBOURS = 8


def generate(folder, _):
    rng = np.random.default_rng(5)
    centres = 3 * rng.normal(size=(3, 6))
    points = np.concatenate([centre + rng.normal(size=(15, 6)) for centre in centres]).round(6)
    golden = {"points": points.tolist(), "neighbours": NEIGHBOURS, "graphs": {}, "curves": []}
    for min_dist in [0.0, 0.1, 0.5]:
        a, b = find_ab_params(1.0, min_dist)
        golden["curves"].append({"minDist": min_dist, "a": float(a), "b": float(b)})
    for metric in ["cosine", "euclidean"]:
        graph, _, _ = fuzzy_simplicial_set(points, NEIGHBOURS, np.random.RandomState(0), metric)
        golden["graphs"][metric] = graph.toarray().astype(float).round(7).flatten().tolist()
    fitted = umap.UMAP(n_neighbors=NEIGHBOURS, metric="cosine", init="pca", random_state=1, n_jobs=1)
    found = fitted.fit_transform(points).astype(float).round(5)
    golden["map"] = found.tolist()
    golden["trustworthiness"] = {
        metric: float(trustworthiness(points, found, n_neighbors=NEIGHBOURS, metric=metric))
        for metric in ["cosine", "euclidean"]
    }
    with open(os.path.join(folder, "umap.json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")
