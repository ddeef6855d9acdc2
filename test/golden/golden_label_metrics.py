"""label-metrics.json: metrics of labels and scores as scikit-learn, scipy and torchmetrics compute them.

Each case: `op`, the function's name here; `args`; and `want`, its result, or `refused`: true where it must throw.
"NaN", "Infinity" and "-Infinity" stand for these numbers. The cases are drawn with a fixed seed: classes that are
absent, alone, never predicted or never true; ties; constant, huge and tiny scores; single rows; weights of 0.
`cases(random, rounds)` gives as many more as wanted, for a longer comparison than the tests'.
"""

import json
import math
import os
import warnings

import numpy as np
from scipy import stats
from sklearn import metrics as sk


def plain(value):
    """The value as JSON has it."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, (np.integer, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return int(value) if value == int(value) and abs(value) < 2**53 else value
    return value


def case(op, args, want):
    return {"op": op, "args": plain(args), "want": plain(want)}


def pick(random, *choices):
    return choices[int(random.integers(len(choices)))]


def draw_labels(random, rows, classes):
    """Class indices of which some classes may be absent, or one alone there."""
    kind = random.random()
    if kind < 0.1:
        return np.full(rows, int(random.integers(classes)))
    if kind < 0.3:
        return random.choice(random.permutation(classes)[: max(1, classes - 1)], rows)
    return random.integers(0, classes, rows)


def draw_scores(random, *shape):
    """Scores with ties, constant, huge, tiny, or plain."""
    kind = int(random.integers(7))
    if kind == 0:
        return np.round(random.random(shape), 1)
    if kind == 1:
        return np.full(shape, pick(random, 0.0, 0.5, -3.0))
    if kind == 2:
        return np.round(random.standard_normal(shape), 2) * 1e150
    if kind == 3:
        return np.round(random.standard_normal(shape), 2) * 1e-150
    if kind == 4:
        return 1 + random.integers(0, 4, shape) * 2.0**-50
    if kind == 5:
        return random.integers(-2, 3, shape).astype(float)
    return np.round(random.standard_normal(shape), 3)


def draw_weights(random, rows):
    """None, weights that are whole halves and may be 0, or any."""
    kind = int(random.integers(4))
    if kind < 2:
        return None
    weights = random.integers(0, 5, rows) / 2 if kind == 2 else np.round(random.random(rows), 3) + 0.001
    if weights.sum() == 0:
        weights[0] = 1
    return weights


def draw_distributions(random, rows, classes):
    """Probabilities of classes that sum to 1, in 64ths so that they do so exactly; some are 0 or 1."""
    counts = random.multinomial(64, random.dirichlet(np.full(classes, pick(random, 0.1, 1.0, 5.0))), rows)
    return counts / 64


def options(**given):
    return {key: value for key, value in given.items() if value is not None}


def label_cases(random):
    rows, classes = int(pick(random, 1, 2, 3, 5, 12, 30)), int(random.integers(1, 6))
    true, pred = draw_labels(random, rows, classes), draw_labels(random, rows, classes)
    weights = draw_weights(random, rows)
    w = options(sampleWeight=weights)
    yield case("accuracy", [true, pred, w], sk.accuracy_score(true, pred, sample_weight=weights))
    yield case("hammingLoss", [true, pred, w], sk.hamming_loss(true, pred, sample_weight=weights))
    normalize = pick(random, None, "true", "pred", "all")
    matrix = sk.confusion_matrix(
        true, pred, labels=range(classes), sample_weight=weights, normalize=normalize
    )
    yield case("confusionMatrix", [true, pred, options(numLabels=classes, normalize=normalize, **w)], matrix)
    exact = weights is None or np.all(weights * 2 == np.round(weights * 2))
    if exact:  # elsewhere 0 / 0 is up to the last digit of a sum
        yield case("matthewsCorrcoef", [true, pred, w], sk.matthews_corrcoef(true, pred, sample_weight=weights))
        kind = pick(random, None, "linear", "quadratic")
        labels = pick(random, None, classes)
        want = sk.cohen_kappa_score(
            true, pred, weights=kind, sample_weight=weights, labels=None if labels is None else range(labels)
        )
        yield case("cohenKappa", [true, pred, options(weights=kind, numLabels=labels, **w)], want)
    adjusted = pick(random, None, True)
    want = sk.balanced_accuracy_score(true, pred, sample_weight=weights, adjusted=bool(adjusted))
    if not (adjusted and len(set(true)) == 1 and not exact):
        yield case("balancedAccuracy", [true, pred, options(adjusted=adjusted, **w)], want)
    zero = pick(random, None, 0.0, 1.0, np.nan)
    rules = {"sample_weight": weights, "zero_division": 0.0 if zero is None else zero}
    beta = pick(random, 0.5, 2.0, 0.0)
    for average in ("micro", "macro", "weighted"):
        labels = pick(random, None, range(classes))
        given = options(average=average, zeroDivision=zero, numLabels=None if labels is None else classes, **w)
        p, r, f, _ = sk.precision_recall_fscore_support(true, pred, average=average, labels=labels, **rules)
        yield case("precisionRecallF1", [true, pred, given], {"precision": p, "recall": r, "f1": f})
        want = sk.fbeta_score(true, pred, average=average, labels=labels, beta=beta, **rules)
        yield case("fBetaScore", [true, pred, {**given, "beta": beta}], want)
    each = sk.precision_recall_fscore_support(true, pred, average=None, labels=range(classes), **rules)
    want = [dict(zip(("precision", "recall", "f1", "support"), x), label=i) for i, x in enumerate(zip(*each))]
    if weights is None:
        want = [{**x, "support": int(x["support"])} for x in want]
    yield case("perClassScores", [true, pred, options(numLabels=classes, zeroDivision=zero, **w)], want)


def multi_label_cases(random):
    rows, labels = int(pick(random, 1, 2, 5, 11)), int(random.integers(2, 6))
    true = (random.random((rows, labels)) < random.random(labels)).astype(int)
    pred = (random.random((rows, labels)) < random.random()).astype(int)
    weights = draw_weights(random, rows)
    w = options(sampleWeight=weights)
    zero = pick(random, None, 0.0, 1.0, np.nan)
    rules = {"sample_weight": weights, "zero_division": 0.0 if zero is None else zero}
    for average in ("micro", "macro", "weighted", "samples"):
        p, r, f, _ = sk.precision_recall_fscore_support(true, pred, average=average, **rules)
        given = options(average=average, zeroDivision=zero, **w)
        yield case("multiLabelScores", [true, pred, given], {"precision": p, "recall": r, "f1": f})
    yield case("subsetAccuracy", [true, pred, w], sk.accuracy_score(true, pred, sample_weight=weights))
    yield case("multiLabelHammingLoss", [true, pred, w], sk.hamming_loss(true, pred, sample_weight=weights))
    matrix = sk.multilabel_confusion_matrix(true, pred, sample_weight=weights)
    yield case("multiLabelConfusionMatrix", [true, pred, w], matrix)
    if zero is None or not math.isnan(zero):
        names = ["a", "größe", "c of a longer name", "d", "e"][:labels]
        digits = int(pick(random, 2, 3))
        report = sk.classification_report(
            true, pred, target_names=names, digits=digits, zero_division=rules["zero_division"]
        )
        yield case("multiLabelReport", [true, pred, options(labels=names, digits=digits, zeroDivision=zero)], report)
    scores = draw_scores(random, rows, labels)
    for average in ("micro", "macro", "weighted", "samples"):
        given = options(average=average, **w)
        want = sk.roc_auc_score(true, scores, average=average, sample_weight=weights)
        yield case("multiLabelRocAuc", [true, scores, given], want)
        want = sk.average_precision_score(true, scores, average=average, sample_weight=weights)
        yield case("multiLabelAveragePrecision", [true, scores, given], want)
    want = sk.roc_auc_score(true, scores, average=None, sample_weight=weights)
    yield case("perLabelRocAuc", [true, scores, w], want)
    want = sk.average_precision_score(true, scores, average=None, sample_weight=weights)
    yield case("perLabelAveragePrecision", [true, scores, w], want)


def score_cases(random):
    rows = int(pick(random, 1, 2, 3, 6, 20, 60))
    true, scores = draw_labels(random, rows, 2), draw_scores(random, rows)
    weights = draw_weights(random, rows)
    w = options(sampleWeight=weights)
    positive = pick(random, 0, 1)
    yield case("averagePrecision", [true, scores, w], sk.average_precision_score(true, scores, sample_weight=weights))
    limit = pick(random, None, 0.1, 0.5, 1.0)
    # A single kind of row, once those of weight 0 are gone, leaves scikit-learn no curve to cut.
    if limit in (None, 1.0) or len(set(true if weights is None else true[weights > 0])) == 2:
        want = sk.roc_auc_score(true, scores, sample_weight=weights, max_fpr=limit)
        yield case("rocAuc", [true, scores, options(maxFpr=limit, **w)], want)
    if weights is None or np.all(weights * 2 == np.round(weights * 2)):
        drop = pick(random, True, False)
        given = options(positiveLabel=positive, dropIntermediate=drop, **w)
        rules = {"pos_label": positive, "sample_weight": weights, "drop_intermediate": drop}
        if positive in true or len(set(true)) == 1:
            fpr, tpr, thresholds = sk.roc_curve(true, scores, **rules)
            yield case("rocCurve", [true, scores, given], {"fpr": fpr, "tpr": tpr, "thresholds": thresholds})
            p, r, thresholds = sk.precision_recall_curve(true, scores, **rules)
            want = {"precision": p, "recall": r, "thresholds": thresholds}
            yield case("precisionRecallCurve", [true, scores, given], want)
    if rows > 1:
        x, y = np.sort(np.round(random.random(rows), 2))[:: pick(random, 1, -1)], np.round(random.random(rows), 2)
        yield case("areaUnderCurve", [x, y], sk.auc(x, y))
    classes = int(random.integers(3, 6))
    true, scores = draw_labels(random, rows, classes), draw_scores(random, rows, classes)
    k = int(random.integers(1, classes + 1))
    want = sk.top_k_accuracy_score(true, scores, k=k, labels=range(classes), sample_weight=weights)
    yield case("topKAccuracy", [true, scores, {"k": k, **w}], want)


def probability_cases(random):
    rows, classes = int(pick(random, 1, 2, 5, 12, 40)), int(random.integers(3, 6))
    weights = draw_weights(random, rows)
    w = options(sampleWeight=weights)
    true, probabilities = draw_labels(random, rows, classes), draw_distributions(random, rows, classes)
    labels = range(classes)
    want = sk.log_loss(true, probabilities, labels=labels, sample_weight=weights)
    yield case("logLoss", [true, probabilities, w], want)
    half = pick(random, None, True, False)
    want = sk.brier_score_loss(
        true, probabilities, labels=labels, sample_weight=weights, scale_by_half="auto" if half is None else half
    )
    yield case("brierScore", [true, probabilities, options(scaleByHalf=half, **w)], want)
    for average in ("micro", "macro", "weighted"):
        want = sk.roc_auc_score(
            true, probabilities, labels=labels, multi_class="ovr", average=average, sample_weight=weights
        )
        yield case("multiClassRocAuc", [true, probabilities, options(multiClass="ovr", average=average, **w)], want)
    if len(set(true)) > 1:
        for average in ("macro", "weighted"):
            want = sk.roc_auc_score(true, probabilities, labels=labels, multi_class="ovo", average=average)
            yield case("multiClassRocAuc", [true, probabilities, {"multiClass": "ovo", "average": average}], want)
    bins, norm = int(pick(random, 1, 4, 10, 15)), pick(random, "l1", "l2", "max")
    yield case(
        "calibrationError",
        [true, probabilities, {"numBins": bins, "norm": norm}],
        calibration(true, probabilities, bins, norm),
    )
    true = draw_labels(random, rows, 2)
    probabilities = pick(random, np.round(random.random(rows), 1), np.round(random.random(rows), 4))
    pairs = np.stack([1 - probabilities, probabilities], 1)
    yield case("logLoss", [true, probabilities, w], sk.log_loss(true, pairs, labels=[0, 1], sample_weight=weights))
    want = sk.brier_score_loss(true, probabilities, pos_label=1, sample_weight=weights)
    if len(set(true)) == 2:
        yield case("brierScore", [true, probabilities, w], want)
    want = calibration(true, probabilities, bins, norm)
    yield case("calibrationError", [true, probabilities, {"numBins": bins, "norm": norm}], want)


def calibration(true, probabilities, bins, norm):
    import torch
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    preds, target = torch.tensor(probabilities, dtype=torch.float32), torch.tensor(true)
    if preds.ndim == 1:
        return float(binary_calibration_error(preds, target, n_bins=bins, norm=norm))
    return float(multiclass_calibration_error(preds, target, preds.shape[1], n_bins=bins, norm=norm))


def regression_cases(random):
    rows = int(pick(random, 1, 2, 3, 7, 25))
    x, y = draw_scores(random, rows), draw_scores(random, rows)
    if random.random() < 0.2:
        y = x * pick(random, 1.0, -2.0)
    if rows > 1:
        yield case("spearman", [x, y], stats.spearmanr(x, y).statistic)
        nearly = [np.ptp(v) > 0 and np.ptp(v) < 1e-9 * np.abs(v).max() for v in (x, y)]
        if not any(nearly):  # scipy warns: the digits are lost before it begins
            yield case("pearson", [x, y], stats.pearsonr(x, y).statistic)
    weights = draw_weights(random, rows)
    w = options(sampleWeight=weights)
    yield case("meanSquaredError", [x, y, w], sk.mean_squared_error(x, y, sample_weight=weights))
    yield case("meanAbsoluteError", [x, y, w], sk.mean_absolute_error(x, y, sample_weight=weights))
    if np.ptp(x) == 0 or np.ptp(x) > 1e-9 * np.abs(x).max():
        if np.ptp(x) > 0 or weights is None:
            yield case("r2Score", [x, y, w], sk.r2_score(x, y, sample_weight=weights))


def quietly(random, rounds, *families):
    """The cases of each family, so many times; what the libraries warn of is meant here."""
    for _ in range(rounds):
        for family in families:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = list(family(random))
            yield from found


def cases(random, rounds):
    families = (label_cases, multi_label_cases, score_cases, probability_cases, regression_cases)
    return quietly(random, rounds, *families)


REFUSED = [
    case("rocAuc", [[0, 1], [0.5, np.nan]], None),
    case("rocAuc", [[0, 1], [0.5, np.inf]], None),
    case("rocAuc", [[], []], None),
    case("rocAuc", [[0, 1, 2], [1, 2, 3]], None),
    case("averagePrecision", [[0, 2], [1, 2]], None),
    case("multiClassRocAuc", [[0, 1], [[1, 2, 3], [4, 5, 6]], {"multiClass": "ovr"}], None),
    case("multiClassRocAuc", [[0, 3], [[0.5, 0.5, 0], [1, 0, 0]], {"multiClass": "ovr"}], None),
    case("logLoss", [[0, 1], [0.5, 1.5]], None),
    case("logLoss", [[0, 2], [0.5, 0.5]], None),
    case("brierScore", [[0, 1], [[2, -1], [0.5, 0.5]]], None),
    case("pearson", [[1], [1]], None),
    case("meanSquaredError", [[1, np.nan], [1, 1]], None),
    case("accuracy", [[0, 1], [0, 1], {"sampleWeight": [0, 0]}], None),
    case("multiLabelScores", [[[0, 2]], [[0, 1]], {"average": "micro"}], None),
    case("topKAccuracy", [[0, 1], [[0.1, np.nan], [0.3, 0.4]], {"k": 1}], None),
]


def write_cases(folder, name, found, refused=()):
    lines = [json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in found]
    lines += [
        json.dumps({"op": c["op"], "args": c["args"], "refused": True}, separators=(",", ":")) for c in refused
    ]
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def generate(folder, _minilm):
    random = np.random.default_rng(11)
    # Of each function the shortest cases of many rounds, and one that is longer.
    by_op = {}
    for found in cases(random, 40):
        by_op.setdefault(found["op"], []).append(found)
    chosen = []
    for found in by_op.values():
        kept = [c for c in found if len(json.dumps(c)) < (1000 if c["op"] == "multiLabelReport" else 420)]
        chosen += kept[:: max(1, len(kept) // 10)][:10]
    write_cases(folder, "label-metrics.json", chosen, REFUSED)
