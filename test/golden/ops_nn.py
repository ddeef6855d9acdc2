"""Cases of torch-ops.json: losses, normalisation, activations."""

import torch
import torch.nn.functional as F

from ops_case import case, floats, ints, randn


def losses():
    logits, target = randn(5, 4), ints(2, 0, -100, 3, 1)
    weight = floats(0.5, 2.0, 0.0, 1.5)
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.2):
            for weights in (None, weight):
                case(
                    "crossEntropy",
                    lambda x, t, w: F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=smoothing),
                    [logits, target, weights],
                    {"reduction": reduction, "labelSmoothing": smoothing},
                )
        case(
            "crossEntropy",
            lambda x, t, w: F.cross_entropy(x, t, w, reduction=reduction),
            [logits, torch.full((5,), -100), None],
            {"reduction": reduction},
        )
    case(
        "crossEntropy",
        lambda x, t, w: F.cross_entropy(x, t, w, ignore_index=1, label_smoothing=0.1),
        [logits, ints(1, 0, 1, 3, 2), weight],
        {"reduction": "mean", "labelSmoothing": 0.1, "ignoreIndex": 1},
    )
    case(
        "crossEntropy",
        F.cross_entropy,
        [randn(2, 3, 2, 2), ints([[0, 1], [2, -100]], [[1, 1], [0, 2]]), None],
        {"reduction": "mean"},
    )
    soft = torch.softmax(randn(5, 4), 1)
    for smoothing in (0.0, 0.2):
        case(
            "crossEntropy",
            lambda x, t, w: F.cross_entropy(x, t, w, label_smoothing=smoothing),
            [logits, soft, weight],
            {"reduction": "mean", "labelSmoothing": smoothing},
        )
    case(
        "crossEntropy",
        F.cross_entropy,
        [floats([1000.0, -1000.0], [88.0, 90.0], [-1e4, -1e4]), ints(1, 0, 1), None],
        {"reduction": "mean"},
    )

    scores, truth = floats([0.0, 100.0, -100.0], [1.5, -2.0, 0.25]), floats([1.0, 0.0, 1.0], [0.0, 1.0, 0.5])
    for reduction in ("mean", "sum", "none"):
        for positive in (None, floats(1.0, 3.0, 0.5)):
            case(
                "bceWithLogits",
                lambda x, t, w, p: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=p, reduction=reduction),
                [scores, truth, None, positive],
                {"reduction": reduction},
            )
    case(
        "bceWithLogits",
        lambda x, t, w, p: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=p),
        [scores, truth, floats([0.5], [2.0]), floats(1.0, 3.0, 0.5)],
        {"reduction": "mean"},
    )

    log_p, q = (
        torch.log_softmax(randn(3, 4), 1),
        floats([0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 0.0], [0.25, 0.25, 0.25, 0.25]),
    )
    for reduction in ("mean", "batchmean", "sum", "none"):
        case("klDiv", lambda x, t: F.kl_div(x, t, reduction=reduction), [log_p, q], {"reduction": reduction})
        case(
            "klDiv",
            lambda x, t: F.kl_div(x, t, reduction=reduction, log_target=True),
            [log_p, torch.log_softmax(randn(3, 4), 1)],
            {"reduction": reduction, "logTarget": True},
        )

    a, b = floats(0.0, 0.5, 1.0, -1.0, 2.0, -3.0, 1.5), floats(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5)
    for reduction in ("mean", "sum", "none"):
        case("mse", lambda x, t: F.mse_loss(x, t, reduction=reduction), [a, b], {"reduction": reduction})
        case("l1", lambda x, t: F.l1_loss(x, t, reduction=reduction), [a, b], {"reduction": reduction})
        for delta in (0.5, 1.0):
            case(
                "huber",
                lambda x, t: F.huber_loss(x, t, reduction=reduction, delta=delta),
                [a, b],
                {"reduction": reduction, "delta": delta},
            )
            case(
                "smoothL1",
                lambda x, t: F.smooth_l1_loss(x, t, reduction=reduction, beta=delta),
                [a, b],
                {"reduction": reduction, "beta": delta},
            )
    case("smoothL1", lambda x, t: F.smooth_l1_loss(x, t, beta=0.0), [a, b], {"reduction": "mean", "beta": 0.0})

    u, v = (
        floats([1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [1e-5, 0.0, 0.0]),
        floats([2.0, 1.0, -2.0], [1.0, 2.0, 3.0], [1e-5, 1e-5, 0.0]),
    )
    case("cosineSimilarity", lambda x, y: F.cosine_similarity(x, y, dim=1), [u, v], {"dim": 1, "eps": 1e-8})
    case("cosineSimilarity", lambda x, y: F.cosine_similarity(x, y, dim=0, eps=0.5), [u, v], {"dim": 0, "eps": 0.5})
    case(
        "cosineSimilarity",
        lambda x, y: F.cosine_similarity(x, y, dim=-1),
        [randn(2, 1, 3), randn(4, 3)],
        {"dim": -1, "eps": 1e-8},
    )


def normalisation():
    case(
        "layerNorm",
        lambda x, w, b: F.layer_norm(x, (6,), w, b),
        [randn(2, 3, 6), randn(6), randn(6)],
        {"normalizedShape": [6], "eps": 1e-5},
    )
    case(
        "layerNorm",
        lambda x, w, b: F.layer_norm(x, (6,), w, b, eps=1e-12),
        [randn(2, 6) * 100 + 1000, randn(6), None],
        {"normalizedShape": [6], "eps": 1e-12},
    )
    case(
        "layerNorm",
        lambda x, w, b: F.layer_norm(x, (2, 3), w, b),
        [randn(2, 2, 3), randn(2, 3), randn(2, 3)],
        {"normalizedShape": [2, 3], "eps": 1e-5},
    )
    case(
        "layerNorm",
        lambda x, w, b: F.layer_norm(x, (4,)),
        [floats([3.0] * 4, [0.0] * 4), None, None],
        {"normalizedShape": [4], "eps": 1e-5},
    )
    case(
        "layerNorm",
        lambda x, w, b: F.layer_norm(x, (1,), w, b),
        [randn(3, 1), randn(1), randn(1)],
        {"normalizedShape": [1], "eps": 1e-5},
    )
    case(
        "rmsNorm",
        lambda x, w: F.rms_norm(x, (5,), w, eps=1e-6),
        [randn(2, 5), randn(5)],
        {"normalizedShape": [5], "eps": 1e-6},
    )


def activations():
    x = floats(-100.0, -10.0, -5.0, -1.0, -0.5, -1e-4, 0.0, 1e-4, 0.5, 1.0, 3.0, 10.0, 100.0)
    case("gelu", F.gelu, [x], {"approximate": "none"})
    case("gelu", lambda t: F.gelu(t, approximate="tanh"), [x], {"approximate": "tanh"})
    for name in ("silu", "sigmoid", "tanh", "relu"):
        case(name, getattr(torch, name, None) or getattr(F, name), [x])
    for name in ("abs", "sign", "erf"):
        case(name, getattr(torch, name), [x])
    case("exp", torch.exp, [x[1:10]])
    case("log1p", torch.log1p, [floats(-0.5, -1e-6, 0.0, 1e-6, 2.0)])
    case("sqrt", torch.sqrt, [floats(0.0, 1e-12, 1.0, 4.0)])
    case("rsqrt", torch.rsqrt, [floats(1e-12, 1.0, 4.0)])
    case("log", torch.log, [floats(0.0, 1e-12, 1.0, 4.0)])
    base = floats(-2.0, -1.0, 0.0, 0.5, 3.0)
    for exponent in (0.0, 1.0, 2.0, 3.0, -1.0, -2.0):
        case("pow", lambda t: t**exponent, [base], {"exponent": exponent})
    case("pow", lambda t: t**0.5, [floats(0.0, 0.25, 4.0)], {"exponent": 0.5})
    case("pow", lambda t: t**1.5, [floats(-1.0, 0.0, 4.0)], {"exponent": 1.5})
    case("pow", torch.pow, [floats(2.0, 0.0, 0.0, 1.0, -2.0, 3.0), floats(3.0, 2.0, 0.0, -1.0, 2.0, 0.5)])
    edges = floats(-2.0, -1.0, -0.5, 0.0, 1.0, 1.5, float("nan"))
    case("clamp", lambda t: t.clamp(-1.0, 1.0), [edges], {"min": -1.0, "max": 1.0})
    case("clamp", lambda t: t.clamp(min=0.0), [edges], {"min": 0.0})
    case("clamp", lambda t: t.clamp(max=0.0), [edges], {"max": 0.0})
    case("clamp", lambda t: t.clamp(2.0, 1.0), [edges], {"min": 2.0, "max": 1.0})
    p, q = floats(1.0, 2.0, 3.0, -0.0), floats(2.0, 2.0, 1.0, 0.0)
    case("maximum", torch.maximum, [p, q])
    case("minimum", torch.minimum, [p, q])
    case("where", torch.where, [torch.tensor([True, False, True]), floats(1.0, 2.0, 3.0), floats(5.0)])
    case("div", torch.div, [floats(1.0, -1.0, 0.0, 6.0), floats(0.0, 0.0, 2.0, 4.0)])
