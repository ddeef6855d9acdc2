"""statistics.json: confidence intervals as scipy.stats.bootstrap and significance as sacrebleu compute them from the
draws of our generator, in cases as label-metrics.json has.

`rows` of a case are pairs of numbers, the metric `mean` the mean of the first ones, `ratio` the sum of the first
divided by that of the second, `median` the lower median of the first; for two systems, the first half of the rows is
one's, the second the other's.
"""

import types

import numpy as np
import sacrebleu.significance as significance
from golden_label_metrics import case, options, pick, quietly, write_cases
from scipy import stats


def philox(counter, key):
    """Philox 4x32-10, as common/random.ts has it."""
    (a, b, c, d), (k, l) = counter, key
    for _ in range(10):
        x, y = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (y >> 32) ^ b ^ k, y & 0xFFFFFFFF, (x >> 32) ^ d ^ l, x & 0xFFFFFFFF
        k, l = (k + 0x9E3779B9) & 0xFFFFFFFF, (l + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def integers(seed, stream, n, count):
    """The first integers below n that Random(seed, stream).int(n) gives."""
    found, block = [], 0
    while len(found) < count:
        for word in philox((block & 0xFFFFFFFF, block >> 32, stream, 0), (seed, 0)):
            if word < 2**32 - 2**32 % n and len(found) < count:
                found.append(word % n)
        block += 1
    return np.array(found)


METRICS = {
    "mean": lambda rows: rows[:, 0].mean(),
    "ratio": lambda rows: rows[:, 0].sum() / rows[:, 1].sum(),
    "median": lambda rows: np.sort(rows[:, 0])[(len(rows) - 1) // 2],
}


def interval_case(random):
    n, resamples, seed = int(random.integers(2, 16)), int(random.integers(5, 60)), int(random.integers(1000))
    rows = pick(
        random,
        random.integers(1, 80, (n, 2)) / 8,  # sums of which are exact
        np.stack([random.integers(0, 2, n), np.ones(n)], 1),
        np.full((n, 2), 0.5),
    )
    name, method = pick(random, *METRICS), pick(random, "BCa", "percentile", "basic")
    level = pick(random, None, 0.8)
    metric = METRICS[name]
    drawn = [integers(seed, i, n, n) for i in range(resamples)]
    known = types.SimpleNamespace(bootstrap_distribution=np.array([metric(rows[i]) for i in drawn]))
    found = stats.bootstrap(
        (np.arange(n),), lambda i: metric(rows[i.astype(int)]), n_resamples=0, method=method, vectorized=False,
        confidence_level=level or 0.95, bootstrap_result=known,
    )
    low, high = found.confidence_interval
    want = {"estimate": metric(rows), "low": low, "high": high, "standardError": found.standard_error}
    given = options(method=method, confidenceLevel=level, resamples=resamples, seed=seed)
    yield case("bootstrap", [rows, name, given], {**want, "undefinedResamples": 0})


class Draws:
    """Stands in for numpy's generator in sacrebleu."""

    def __init__(self, seed, resamples):
        self.seed, self.resamples = seed, resamples

    def choice(self, n, size, replace):
        return np.array([integers(self.seed, i, n, n) for i in range(self.resamples)])

    def integers(self, n, size, dtype):
        # sacrebleu's first answer stays on its side where we do not swap.
        return np.array([integers(self.seed, i, n, size[1]) == 0 for i in range(self.resamples)])


class Metric:
    """Ratio of sums, as sacrebleu asks of a metric: counts of rows, and a score of their sums."""

    def _extract_corpus_statistics(self, hypotheses, _references):
        return hypotheses

    def _compute_score_from_stats(self, sums):
        return significance.Result(float(sums[0]) / float(sums[1]))

    def _aggregate_and_compute(self, rows):
        return self._compute_score_from_stats(np.sum(np.array(rows), 0))


def significance_case(random):
    n, resamples, seed = int(random.integers(2, 16)), int(random.integers(5, 60)), int(random.integers(1000))
    # Eighths and few of them, so that float32 in sacrebleu is exact but for the last division.
    first, second = [
        np.stack([random.integers(0, 9, n) / 8, np.full(n, 1.0)], 1) for _ in range(2)
    ]
    method = pick(random, "bootstrap", "randomisation")
    test = significance._paired_bs_test if method == "bootstrap" else significance._paired_ar_test
    metric, given = Metric(), Draws(seed, resamples)
    baseline = (first, metric._aggregate_and_compute(first))
    original = np.random.default_rng
    np.random.default_rng = lambda _seed: given
    try:
        _, found = test({"m": baseline}, "b", second, None, {"m": metric}, n_samples=resamples)
    finally:
        np.random.default_rng = original
    a, b = baseline[1].score, found["m"].score
    want = {"first": a, "second": b, "difference": b - a, "pValue": found["m"].p_value}
    rows = np.concatenate([first, second])
    yield case("pairedSignificance", [rows, "ratio", {"method": method, "resamples": resamples, "seed": seed}], want)


def cases(random, rounds):
    return quietly(random, rounds, interval_case, significance_case)


def generate(folder, _minilm):
    found = [c for c in cases(np.random.default_rng(14), 80) if len(str(c)) < 420][:100]
    write_cases(folder, "statistics.json", found)
