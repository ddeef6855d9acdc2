"""Samples of op-samples.json: products, attention, norms, convolutions, losses, quantized weights, caches."""

import math

import torch
import torch.nn.functional as F

from op_sample import FLOATS, INF, Spec, f, given, sample, t


def samples():
    products()
    attention()
    norms()
    convolutions()
    pools()
    losses()
    class_losses()
    quantized()
    identities()


def products():
    pairs = (
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 5)),
        ((2, 1, 3), (3, 4)),
        ((2, 1, 2, 3), (3, 3, 2)),
        ((1, 1), (1, 1)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
        ((4, 4), (4, 8)),
        ((2, 0, 3), (3, 2)),
    )
    for left, right in pairs:
        sample("matmul", torch.matmul, [f(*left), f(*right)])
    sample("bmm", torch.bmm, [f(2, 2, 3), f(2, 3, 1)])
    sample("bmm", torch.bmm, [f(0, 2, 3), f(0, 3, 1)])
    for name, function, left, right in (
        ("mm", torch.mm, (2, 3), (3, 4)),
        ("mv", torch.mv, (2, 3), (3,)),
        ("dot", torch.dot, (5,), (5,)),
        ("outer", torch.outer, (2,), (3,)),
        ("bmm", torch.bmm, (2, 1, 4), (2, 4, 2)),
        ("matmul", torch.matmul, (3, 2), (2, 5)),
    ):
        for dtype in FLOATS:
            sample(name, function, [t(dtype, *left), t(dtype, *right)])
    sample("dot", torch.dot, [f(0), f(0)])
    sample("mv", torch.mv, [f(2, 0), f(0)])
    sample("mm", torch.mm, [f(1, 1), f(1, 0)])
    sample("outer", torch.outer, [f(1), f(0)])
    sample("outer", torch.outer, [t("i32", 2), t("i32", 3)])
    for shape, weight in (((3,), (2, 3)), ((2, 3), (5, 3)), ((2, 2, 4), (1, 4)), ((0, 3), (2, 3)), ((2, 0), (3, 0))):
        sample("linear", F.linear, [f(*shape), f(*weight)])
        sample("linear", F.linear, [f(*shape), f(*weight), f(weight[0])])
    sample("linear", F.linear, [t("f16", 2, 4), t("f16", 3, 4), t("f16", 3)])
    for equation, *shapes in (
        ("ij,jk->ik", (2, 3), (3, 2)),
        ("ij->ji", (2, 3)),
        ("ii->i", (3, 3)),
        ("ij,ij->", (2, 2), (2, 2)),
        ("bij,bjk->bik", (2, 1, 3), (2, 3, 2)),
        ("...i,i->...", (2, 2, 3), (3,)),
        ("i,j->ij", (2,), (3,)),
        ("ij->", (2, 0)),
        ("ij,jk->ik", (2, 0), (0, 3)),
    ):
        sample(
            "einsum",
            lambda *x: torch.einsum(equation, *x),
            [f(*shape) for shape in shapes],
            [equation, *[f"${k}" for k in range(len(shapes))]],
        )
    sample(
        "einsum", lambda *x: torch.einsum("ij,kj->ik", *x), [t("f16", 2, 3), t("f16", 2, 3)], ["ij,kj->ik", "$0", "$1"]
    )


def attention():
    sdpa = F.scaled_dot_product_attention
    for q, k, v in (
        ((2, 4), (3, 4), (3, 4)),
        ((1, 2, 3, 4), (1, 2, 1, 4), (1, 2, 1, 4)),
        ((2, 3, 3), (2, 1, 3), (2, 1, 5)),
        ((1, 1, 1, 8), (1, 1, 5, 8), (1, 1, 5, 8)),
    ):
        sample("scaledDotProductAttention", sdpa, [f(*q), f(*k), f(*v)])
    square = [f(1, 1, 3, 4), f(1, 1, 3, 4), f(1, 1, 3, 4)]
    sample(
        "scaledDotProductAttention",
        lambda q, k, v: sdpa(q, k, v, is_causal=True),
        square,
        ["$0", "$1", "$2", {"isCausal": True}],
    )
    sample(
        "scaledDotProductAttention",
        lambda q, k, v: sdpa(q, k, v, scale=0.25),
        square,
        ["$0", "$1", "$2", {"scale": 0.25}],
    )
    sample(
        "scaledDotProductAttention",
        lambda q, k, v, m: sdpa(q, k, v, attn_mask=m),
        [*square, f(3, 3)],
        ["$0", "$1", "$2", {"attnMask": "$3"}],
    )
    allowed = given("bool", [[1, 0, 1], [1, 1, 1], [0, 0, 1]])
    sample(
        "scaledDotProductAttention",
        lambda q, k, v, m: sdpa(q, k, v, attn_mask=m),
        [*square, allowed],
        ["$0", "$1", "$2", {"attnMask": "$3"}],
    )
    sample(
        "scaledDotProductAttention",
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
        [f(1, 4, 1, 4), f(1, 2, 2, 4), f(1, 2, 2, 4)],
    )
    sample("scaledDotProductAttention", sdpa, [t("f16", 1, 1, 3, 4), t("f16", 1, 1, 2, 4), t("f16", 1, 1, 2, 4)])

    def weights(q, k, mask=None, causal=False, scale=None):
        scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        if causal:
            scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -INF)
        if mask is not None:
            scores = scores.masked_fill(~mask, -INF) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)

    for dtype in FLOATS:
        sample("attentionWeights", weights, [t(dtype, 2, 1, 2, 4), t(dtype, 2, 1, 2, 4)])
    sample(
        "attentionWeights",
        lambda q, k: weights(q, k, causal=True),
        [f(1, 1, 3, 2), f(1, 1, 3, 2)],
        ["$0", "$1", {"causal": True}],
    )
    sample(
        "attentionWeights",
        lambda q, k, m: weights(q, k, m, scale=0.5),
        [f(1, 1, 3, 2), f(1, 1, 3, 2), allowed],
        ["$0", "$1", {"mask": "$2", "scale": 0.5}],
    )
    sample("attentionWeights", weights, [f(1, 1, 3, 2), f(1, 1, 3, 2), f(3, 3)], ["$0", "$1", {"mask": "$2"}])

    def packed(qkv, **options):
        q, k, v = (qkv[:, :, which].transpose(1, 2) for which in range(3))
        return sdpa(q, k, v, **options).transpose(1, 2)

    for shape in ((1, 2, 3, 2, 4), (1, 3, 3, 1, 3), (1, 1, 3, 1, 8)):
        sample("packedAttention", packed, [f(*shape)])
        sample("packedAttention", lambda x: packed(x, is_causal=True), [f(*shape)], ["$0", {"causal": True}])
    for dtype in FLOATS:
        sample("repeatHeads", lambda x: x.repeat_interleave(2, 1), [t(dtype, 1, 2, 2, 3)], ["$0", 4])
    sample("repeatHeads", lambda x: x.repeat_interleave(3, 1), [f(2, 1, 1, 2)], ["$0", 3])

    def decode(q, k, v, lengths):
        group = q.shape[1] // k.shape[1]
        rows = [
            sdpa(
                q[b : b + 1],
                k[b : b + 1, :, :length].repeat_interleave(group, 1),
                v[b : b + 1, :, :length].repeat_interleave(group, 1),
            )
            for b, length in enumerate(lengths.expand(q.shape[0]).tolist())
        ]
        return torch.cat(rows)

    for dtype in FLOATS:
        sample(
            "decodeAttention",
            decode,
            [t(dtype, 2, 2, 1, 4), t(dtype, 2, 1, 5, 4), t(dtype, 2, 1, 5, 4), given("i32", [2, 5])],
            grad=False,
        )
    sample("decodeAttention", decode, [f(1, 1, 1, 8), f(1, 1, 3, 8), f(1, 1, 3, 8), given("i32", [1])], grad=False)
    sample("decodeAttention", decode, [f(2, 1, 1, 4), f(2, 1, 3, 4), f(2, 1, 3, 4), given("i32", 3)], grad=False)

    def write(cache, x, start):
        for b, at in enumerate(start.expand(cache.shape[0]).tolist()):
            cache[b, :, at : at + x.shape[2]] = x[b]
        return cache

    for dtype in FLOATS:
        sample("writeCache", write, [t(dtype, 2, 1, 3, 4), t(dtype, 2, 1, 2, 4), given("i32", [0, 1])], grad=False)
    sample("writeCache", write, [f(1, 2, 4, 3), f(1, 2, 1, 3), given("i32", 2)], grad=False)
    sample("writeCache", write, [f(2, 1, 3, 5), f(2, 1, 0, 5), given("i32", [1])], grad=False)


def norms():
    for shape in ((5,), (2, 3), (2, 2, 4), (0, 3), (3, 8)):
        cols = shape[-1]
        plain = lambda x, w=None, b=None: F.layer_norm(x, (cols,), w, b)
        sample("layerNorm", plain, [f(*shape)])
        sample("layerNorm", plain, [f(*shape), f(cols)])
        sample("layerNorm", plain, [f(*shape), f(cols), f(cols)])
        root = lambda x, w=None: F.rms_norm(x, (cols,), w, 1e-6)
        sample("rmsNorm", root, [f(*shape)])
        sample("rmsNorm", root, [f(*shape), f(cols)])
    for dtype in FLOATS:
        sample(
            "layerNorm",
            lambda x, w, b: F.layer_norm(x, (4,), w, b, 0.5),
            [t(dtype, 2, 4), t(dtype, 4), t(dtype, 4)],
            ["$0", "$1", "$2", 0.5],
        )
        sample("rmsNorm", lambda x, w: F.rms_norm(x, (4,), w, 0.5), [t(dtype, 2, 4), t(dtype, 4)], ["$0", "$1", 0.5])
    for groups, shape in ((1, (2, 3)), (2, (2, 4, 3)), (3, (1, 3, 2, 2)), (2, (0, 2, 3))):
        plain = lambda x, w=None, b=None: F.group_norm(x, groups, w, b)
        sample("groupNorm", plain, [f(*shape)], ["$0", groups])
        sample("groupNorm", plain, [f(*shape), f(shape[1]), f(shape[1])], ["$0", groups, "$1", "$2"])
    sample("groupNorm", lambda x: F.group_norm(x, 2, None, None, 0.5), [t("f16", 1, 4, 2)], ["$0", 2, None, None, 0.5])
    sample("layerNorm", lambda x: F.layer_norm(x, (3,)), [given("f32", [[2, 2, 2], [INF, 1, 1]])])
    sample("rmsNorm", lambda x: F.rms_norm(x, (3,), None, 1e-6), [given("f32", [[0, 0, 0], [1e-4, 0, 0]])])


def convolutions():
    for options, x, weight in (
        ({}, (1, 1, 4), (1, 1, 2)),
        ({"stride": 2, "padding": 1}, (2, 2, 5), (3, 2, 3)),
        ({"dilation": 2}, (1, 1, 6), (2, 1, 2)),
        ({"groups": 2, "padding": "same"}, (1, 2, 4), (4, 1, 3)),
        ({"padding": "valid"}, (2, 3), (2, 2, 2)),
        ({}, (0, 1, 4), (1, 1, 2)),
    ):
        sample("conv1d", lambda x, w: F.conv1d(x, w, **options), [f(*x), f(*weight)], ["$0", "$1", None, options])
        sample(
            "conv1d",
            lambda x, w, b: F.conv1d(x, w, b, **options),
            [f(*x), f(*weight), f(weight[0])],
            ["$0", "$1", "$2", options],
        )
    for options, x, weight in (
        ({}, (1, 1, 3, 4), (1, 1, 2, 2)),
        ({"stride": [2, 1], "padding": [1, 0]}, (1, 2, 3, 3), (2, 2, 2, 1)),
        ({"dilation": [1, 2], "groups": 2}, (1, 2, 2, 4), (2, 1, 1, 2)),
        ({"padding": "same"}, (1, 3, 3), (1, 1, 2, 3)),
    ):
        sample("conv2d", lambda x, w: F.conv2d(x, w, **options), [f(*x), f(*weight)], ["$0", "$1", None, options])
        sample(
            "conv2d",
            lambda x, w, b: F.conv2d(x, w, b, **options),
            [f(*x), f(*weight), f(weight[0])],
            ["$0", "$1", "$2", options],
        )
    sample("conv1d", F.conv1d, [t("f16", 1, 2, 4), t("f16", 2, 2, 2), t("f16", 2)])
    sample("conv2d", F.conv2d, [t("f16", 1, 1, 2, 3), t("f16", 1, 1, 2, 2), t("f16", 1)])


def pools():
    for kernel, options, shape in (
        (2, {}, (1, 2, 5)),
        (3, {"stride": 2, "padding": 1}, (2, 6)),
        (2, {"stride": 1}, (2, 1, 3)),
        (2, {}, (0, 2, 4)),
    ):
        for dtype in FLOATS:
            for name, pool in (("maxPool1d", F.max_pool1d), ("avgPool1d", F.avg_pool1d)):
                sample(name, lambda x: pool(x, kernel, **options), [t(dtype, *shape)], ["$0", kernel, options])
    for kernel, options, shape in (
        (2, {}, (1, 2, 4, 5)),
        ([3, 2], {"stride": [1, 2], "padding": [1, 0]}, (2, 3, 4)),
        (3, {"stride": 1, "padding": 1}, (1, 1, 3, 3)),
    ):
        for dtype in FLOATS:
            for name, pool in (("maxPool2d", F.max_pool2d), ("avgPool2d", F.avg_pool2d)):
                sample(name, lambda x: pool(x, kernel, **options), [t(dtype, *shape)], ["$0", kernel, options])
    sample("maxPool1d", lambda x: F.max_pool1d(x, 2, 1, 0, 2), [f(1, 1, 5)], ["$0", 2, {"stride": 1, "dilation": 2}])
    sample(
        "maxPool2d",
        lambda x: F.max_pool2d(x, 2, 1, 1, (1, 2)),
        [f(1, 3, 4)],
        ["$0", 2, {"stride": 1, "padding": 1, "dilation": [1, 2]}],
    )
    # As after a ReLU: of equal elements the first in row-major order gets the gradient.
    ties = given("f32", [[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 3], [2, 1, 3, 3]]])
    sample("maxPool2d", lambda x: F.max_pool2d(x, 2), [ties], ["$0", 2])
    sample("maxPool2d", lambda x: F.max_pool2d(x, 3, 1, 1), [ties], ["$0", 3, {"stride": 1, "padding": 1}])
    for size, shape in ((1, (2, 3)), (2, (1, 2, 4)), (3, (1, 1, 5)), (4, (1, 3))):
        sample("adaptiveAvgPool1d", lambda x: F.adaptive_avg_pool1d(x, size), [f(*shape)], ["$0", size])
    for size, shape in ((1, (1, 2, 2, 3)), ([2, 3], (1, 4, 4)), (2, (1, 1, 3, 5))):
        for dtype in FLOATS:
            sample("adaptiveAvgPool2d", lambda x: F.adaptive_avg_pool2d(x, size), [t(dtype, *shape)], ["$0", size])


REDUCTIONS = ("mean", "sum", "none")


def losses():
    for name, function in (
        ("mse", F.mse_loss),
        ("l1", F.l1_loss),
        ("huber", F.huber_loss),
        ("smoothL1", F.smooth_l1_loss),
    ):
        for reduction in REDUCTIONS:
            sample(
                name,
                lambda x, y: function(x, y, reduction=reduction),
                [f(2, 3), f(2, 3)],
                ["$0", "$1", {"reduction": reduction}],
            )
        sample(name, function, [f(), f()])
        sample(name, function, [f(0), f(0)])
        sample(
            name,
            lambda x, y: function(x, y, reduction="none"),
            [t("f16", 5), t("f16", 5)],
            ["$0", "$1", {"reduction": "none"}],
        )
        sample(name, function, [given("f32", [1, 2]), given("f32", [1, 2])])
    sample("huber", lambda x, y: F.huber_loss(x, y, delta=0.5), [f(5), f(5)], ["$0", "$1", {"delta": 0.5}])
    for beta in (0.5, 0, 2):
        sample("smoothL1", lambda x, y: F.smooth_l1_loss(x, y, beta=beta), [f(5), f(5)], ["$0", "$1", {"beta": beta}])

    bce = F.binary_cross_entropy_with_logits
    truth = t("f32", 2, 3, low=0, high=1)
    for reduction in REDUCTIONS:
        sample(
            "bceWithLogits",
            lambda x, y: bce(x, y, reduction=reduction),
            [f(2, 3), truth],
            ["$0", "$1", {"reduction": reduction}],
        )
    sample(
        "bceWithLogits",
        lambda x, y, w: bce(x, y, w),
        [f(2, 3), truth, f(3)],
        ["$0", "$1", {"weight": "$2"}],
        grad=[0, 1],
    )
    sample(
        "bceWithLogits",
        lambda x, y, w: bce(x, y, pos_weight=w),
        [f(2, 3), truth, f(3, low=0)],
        ["$0", "$1", {"posWeight": "$2"}],
        grad=[0, 1],
    )
    sample("bceWithLogits", bce, [given("f32", [100, -100, 0]), given("f32", [0, 1, 1])])
    sample("bceWithLogits", bce, [t("f16", 4), t("f16", 4, low=0, high=1)])
    sample("bceWithLogits", bce, [f(0), f(0)])

    log_p, p = t("f32", 2, 3, low=-3, high=-1), t("f32", 2, 3, low=1, high=2)
    for reduction in (*REDUCTIONS, "batchmean"):
        ours = "batchMean" if reduction == "batchmean" else reduction
        sample("klDiv", lambda x, y: F.kl_div(x, y, reduction=reduction), [log_p, p], ["$0", "$1", {"reduction": ours}])
        sample(
            "klDiv",
            lambda x, y: F.kl_div(x, y, reduction=reduction, log_target=True),
            [log_p, log_p],
            ["$0", "$1", {"reduction": ours, "logTarget": True}],
        )
    sample("klDiv", F.kl_div, [f(3), given("f32", [0, 1, 0.5])])
    sample("klDiv", F.kl_div, [t("f16", 4), t("f16", 4, low=1)])

    for axis in (1, 0, -1):
        sample(
            "cosineSimilarity",
            lambda a, b: F.cosine_similarity(a, b, axis),
            [f(2, 3), f(2, 3)],
            ["$0", "$1", {"axis": axis}],
        )
    sample("cosineSimilarity", F.cosine_similarity, [f(2, 1), f(1, 3)])
    sample(
        "cosineSimilarity",
        lambda a, b: F.cosine_similarity(a, b, 0, 4),
        [f(3), f(3)],
        ["$0", "$1", {"axis": 0, "eps": 4}],
    )
    sample("cosineSimilarity", F.cosine_similarity, [given("f32", [[0, 0], [1, 0]]), f(2, 2)])
    sample("cosineSimilarity", F.cosine_similarity, [t("f16", 2, 3), t("f16", 2, 3)])
    sample("cosineSimilarity", F.cosine_similarity, [f(2, 0), f(2, 0)])


def class_losses():
    def labels(high, *shape):
        return t("i32", *shape, low=0, high=high)

    def loss(x, y, weight=None, **options):
        return F.cross_entropy(x, y if y.is_floating_point() else y.long(), weight, **options)

    for reduction in REDUCTIONS:
        sample(
            "crossEntropy",
            lambda x, y: loss(x, y, reduction=reduction),
            [f(3, 4), labels(3, 3)],
            ["$0", "$1", {"reduction": reduction}],
        )
        sample(
            "crossEntropy",
            lambda x, y, w: loss(x, y, w, reduction=reduction),
            [f(2, 3), labels(2, 2), f(3, low=0.5)],
            ["$0", "$1", {"reduction": reduction, "weight": "$2"}],
            grad=[0],
        )
        sample(
            "crossEntropy",
            lambda x, y: loss(x, y, reduction=reduction),
            [f(2, 3), t("f32", 2, 3, low=0)],
            ["$0", "$1", {"reduction": reduction}],
        )
    sample("crossEntropy", loss, [f(4), labels(3)])
    sample("crossEntropy", loss, [f(2, 3, 2), labels(2, 2, 2)])
    sample("crossEntropy", loss, [f(0, 3), labels(2, 0)])
    sample(
        "crossEntropy",
        lambda x, y: loss(x, y, reduction="sum"),
        [f(0, 3), labels(2, 0)],
        ["$0", "$1", {"reduction": "sum"}],
    )
    sample(
        "crossEntropy",
        lambda x, y: loss(x, y, label_smoothing=0.25),
        [f(3, 5), labels(4, 3)],
        ["$0", "$1", {"labelSmoothing": 0.25}],
    )
    sample(
        "crossEntropy",
        lambda x, y: loss(x, y, ignore_index=1),
        [f(3, 2), given("i32", [1, 0, 1])],
        ["$0", "$1", {"ignoreIndex": 1}],
    )
    sample("crossEntropy", loss, [t("f16", 2, 3), labels(2, 2)])
    sample("crossEntropy", loss, [given("f32", [[1000, 0], [-INF, 0], [0, 90]]), given("i32", [0, 1, 0])])

    def linear_loss(x, w, y, bias=None, **options):
        logits = F.linear(x, w, bias)
        return F.cross_entropy(
            logits.flatten(0, -2) if x.ndim > 1 else logits, y.long().flatten() if x.ndim > 1 else y.long(), **options
        )

    for reduction in ("mean", "sum"):
        sample(
            "linearCrossEntropy",
            lambda x, w, y: linear_loss(x, w, y, reduction=reduction),
            [f(2, 3), f(4, 3), labels(3, 2)],
            ["$0", "$1", "$2", {"reduction": reduction}],
        )
    sample(
        "linearCrossEntropy",
        linear_loss,
        [f(2, 2, 4), f(3, 4), labels(2, 2, 2), f(3)],
        ["$0", "$1", "$2", {"bias": "$3"}],
    )
    sample(
        "linearCrossEntropy",
        lambda x, w, y: linear_loss(x, w, y, label_smoothing=0.5),
        [f(3, 2), f(5, 2), labels(4, 3)],
        ["$0", "$1", "$2", {"labelSmoothing": 0.5}],
    )
    sample(
        "linearCrossEntropy",
        lambda x, w, y: linear_loss(x, w, y, reduction="none"),
        [f(3, 2), f(5, 2), labels(4, 3)],
        ["$0", "$1", "$2", {"reduction": "none"}],
    )
    sample("linearCrossEntropy", linear_loss, [f(3), f(4, 3), labels(3)])

    def focal_binary(x, y, gamma=2, alpha=None, reduction="mean"):
        """torchvision.ops.sigmoid_focal_loss."""
        p = torch.sigmoid(x)
        ce = F.binary_cross_entropy_with_logits(x, y, reduction="none")
        own = ce * (1 - (p * y + (1 - p) * (1 - y))) ** gamma
        if alpha is not None:
            own = (alpha * y + (1 - alpha) * (1 - y)) * own
        return own.mean() if reduction == "mean" else own.sum() if reduction == "sum" else own

    truth = given("f32", [1, 0, 0, 1, 1])
    for reduction in REDUCTIONS:
        sample(
            "focal",
            lambda x, y: focal_binary(x, y, reduction=reduction),
            [f(5), truth],
            ["$0", "$1", {"reduction": reduction}],
            grad=[0],
        )
    sample(
        "focal",
        lambda x, y: focal_binary(x, y, 1.5, 0.25),
        [f(5), truth],
        ["$0", "$1", {"gamma": 1.5, "alpha": 0.25}],
        grad=[0],
    )

    def focal_classes(x, y, alpha=None, gamma=2):
        log_p = x.log_softmax(1).gather(1, y.long()[:, None])[:, 0]
        own = -((1 - log_p.exp()) ** gamma) * log_p
        return (own if alpha is None else own * alpha[y.long()]).mean()

    sample("focal", focal_classes, [f(3, 4), labels(3, 3)])
    sample(
        "focal",
        lambda x, y, a: focal_classes(x, y, a, 1),
        [f(3, 4), labels(3, 3), f(4, low=0)],
        ["$0", "$1", {"gamma": 1, "alpha": "$2"}],
        grad=[0],
    )


def quantized():
    def unpack(words, bits, zero):
        each = 32 // bits
        shifts = torch.arange(each) * bits
        return ((words[..., None] >> shifts) & (2**bits - 1)).flatten(-2) - zero

    def weight_of(packed, scales, bits, group, zeros=None):
        zero = 2 ** (bits - 1) if zeros is None else zeros.repeat_interleave(group, 1)
        return unpack(packed, bits, zero) * scales.repeat_interleave(group, 1)

    for bits, group, into in ((8, 8, 8), (4, 8, 16), (8, 4, 8)):
        words = Spec("u32", (2, into * bits // 32), 0, 2**32 - 1)
        scales, shape = f(2, into // group, low=0.5, high=1), {"shape": [2, into], "bits": bits, "group": group}
        ours = {"packed": "$1", "scales": "$2", **shape}
        sample(
            "quantizedLinear",
            lambda x, q, s: F.linear(x, weight_of(q, s, bits, group)),
            [f(3, into), words, scales],
            ["$0", ours],
            grad=[0],
        )
        zeros = f(2, into // group, low=0, high=3)
        sample(
            "quantizedLinear",
            lambda x, q, s, z, b: F.linear(x, weight_of(q, s, bits, group, z), b),
            [f(1, into), words, scales, zeros, f(2)],
            ["$0", {**ours, "zeros": "$3"}, "$4"],
            grad=[0, 4],
        )


def identities():
    """Without chance: dropout that drops nothing."""
    for dtype in FLOATS:
        sample("dropout", lambda x: F.dropout(x, 0.0), [t(dtype, 5)], ["$0", 0])
        sample("dropout", lambda x: F.dropout(x, 1.0), [t(dtype, 2, 3)], ["$0", 1])
        sample("dropout", lambda x: F.dropout(x, 0.5, training=False), [t(dtype, 5)], ["$0", 0.5, {"training": False}])
