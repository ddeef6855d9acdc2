"""Cases of torch-ops.json: reductions, indexing, products, convolutions."""

import torch
import torch.nn.functional as F

from ops_case import INF, case, floats, ints, randn


def reductions():
    ties = floats([1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -5.0, -1.0, -5.0])
    for name in ("max", "min"):
        case(name, getattr(torch, name), [ties], {"dim": None})
        case(name, lambda t: tuple(getattr(torch, name)(t, dim=1)), [ties], {"dim": 1})
        case(name, lambda t: tuple(getattr(torch, name)(t, dim=0, keepdim=True)), [ties], {"dim": 0, "keepdim": True})
        case(f"a{name}", lambda t: getattr(torch, f"a{name}")(t, dim=1), [ties], {"dim": 1})
        for dim in (None, 0, 1, -1):
            case(f"arg{name}", lambda t: getattr(torch, f"arg{name}")(t, dim=dim), [ties], {"dim": dim}, grad=False)
    x = randn(3, 4)
    case("sum", lambda t: t.sum((0, -1)), [x], {"dim": [0, -1]})
    case("mean", lambda t: t.mean(1, keepdim=True), [x], {"dim": 1, "keepdim": True})
    case("cumsum", lambda t: t.cumsum(0), [x], {"dim": 0})
    case("cumsum", lambda t: t.cumsum(-1), [x], {"dim": -1})
    for correction in (0, 1, 2):
        case("var", lambda t: t.var(1, correction=correction), [x], {"dim": 1, "correction": correction})
        case("var", lambda t: t.var(correction=correction), [x], {"dim": None, "correction": correction})
    case("var", lambda t: t.var(1, correction=0), [randn(3, 1)], {"dim": 1, "correction": 0})
    case(
        "var",
        lambda t: t.var((0, 2), keepdim=True),
        [randn(2, 3, 2) + 1000],
        {"dim": [0, 2], "correction": 1, "keepdim": True},
    )
    lowest = floats([-INF, 0.0, 1.0], [-INF, -INF, 2.0], [1000.0, 1000.0, -1000.0])
    case("logsumexp", lambda t: t.logsumexp(1), [lowest], {"dim": 1})
    case("logsumexp", lambda t: t.logsumexp(0), [floats([-INF, 1.0], [-INF, 2.0])], {"dim": 0})
    case("logsumexp", lambda t: t.logsumexp((0, 1)), [x], {"dim": [0, 1]})
    case("softmax", lambda t: t.softmax(1), [lowest], {"dim": 1})
    case("softmax", lambda t: t.softmax(0), [x], {"dim": 0})
    case("logSoftmax", lambda t: t.log_softmax(1), [floats([1000.0, 0.0], [-1000.0, 1.0])], {"dim": 1})
    case("logSoftmax", lambda t: t.log_softmax(0), [x], {"dim": 0})


def indexing():
    x = randn(3, 4)
    case("gather", lambda t, i: t.gather(1, i), [x, ints([0, 0, 3], [1, 1, 1], [2, 3, 2])], {"dim": 1})
    case("gather", lambda t, i: t.gather(0, i), [x, ints([0, 2], [2, 2])], {"dim": 0})
    case("indexSelect", lambda t, i: t.index_select(0, i), [x, ints(2, 0, 2, 2)], {"dim": 0})
    case("indexSelect", lambda t, i: t.index_select(1, i), [x, ints(3, 3)], {"dim": 1})
    case(
        "scatterAdd",
        lambda t, i, s: t.scatter_add(0, i, s),
        [x, ints([0, 2, 2, 1], [0, 0, 2, 1]), randn(2, 4)],
        {"dim": 0},
    )
    case(
        "scatterAdd", lambda t, i, s: t.scatter_add(1, i, s), [x, ints([1, 1], [0, 3], [2, 2]), randn(3, 2)], {"dim": 1}
    )
    case("embedding", lambda w, i: F.embedding(i, w), [randn(5, 2), ints([1, 1], [4, 0])])
    case(
        "embedding",
        lambda w, i: F.embedding(i, w, padding_idx=1),
        [randn(5, 2), ints([1, 1], [4, 0])],
        {"paddingIdx": 1},
    )
    case("oneHot", lambda i: F.one_hot(i, 4), [ints([0, 3], [2, 2])], {"numClasses": 4}, grad=False)
    for diagonal in (-2, 0, 1):
        case("tril", lambda t: t.tril(diagonal), [x], {"diagonal": diagonal})
        case("triu", lambda t: t.triu(diagonal), [x], {"diagonal": diagonal})
    case("roll", lambda t: t.roll((1, -2), (0, 1)), [x], {"shifts": [1, -2], "dims": [0, 1]})
    case("roll", lambda t: t.roll(5), [x], {"shifts": 5, "dims": None})
    case("flip", lambda t: t.flip((0, -1)), [x], {"dims": [0, -1]})
    case("pad", lambda t: F.pad(t, (1, 2, 0, 1), value=0.5), [x], {"pad": [1, 2, 0, 1], "value": 0.5})
    case("pad", lambda t: F.pad(t, (-1, 1)), [x], {"pad": [-1, 1], "value": 0.0})


def products():
    for equation, *shapes in (
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("ij,jk", (2, 3), (3, 2)),
        ("ji,jk->ki", (3, 2), (3, 2)),
        ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
        ("bhqd,bhkd->bhqk", (1, 2, 2, 3), (1, 2, 3, 3)),
        ("...ij,...jk->...ik", (2, 1, 2, 3), (2, 3, 2)),
        ("ii->i", (3, 3)),
        ("ii->", (3, 3)),
        ("ij->ji", (2, 3)),
        ("ba", (2, 3)),
        ("ijk->k", (2, 2, 3)),
        ("i,j->ij", (2,), (3,)),
        ("ij,ij->", (2, 3), (2, 3)),
        ("i,i", (3,), (3,)),
        ("ij,j->i", (2, 3), (3,)),
        ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)),
        ("bqd,kd->bqk", (2, 2, 3), (4, 3)),
        ("iij->j", (2, 2, 3)),
        ("ij,kj->ik", (2, 1), (3, 4)),
    ):
        case(
            "einsum",
            lambda *tensors: torch.einsum(equation, *tensors),
            [randn(*shape) for shape in shapes],
            {"equation": equation},
        )
    for left, right in (
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 1, 2, 3), (2, 3, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
    ):
        case("matmul", torch.matmul, [randn(*left), randn(*right)])

    query, key, value = randn(1, 2, 3, 4), randn(1, 2, 5, 4), randn(1, 2, 5, 2)
    allowed = torch.tensor([[True, False, True, True, False], [True] * 5, [False, False, False, True, False]])
    attention = F.scaled_dot_product_attention
    case("scaledDotProductAttention", lambda q, k, v, m: attention(q, k, v), [query, key, value, None])
    case("scaledDotProductAttention", lambda q, k, v, m: attention(q, k, v, attn_mask=m), [query, key, value, allowed])
    case(
        "scaledDotProductAttention",
        lambda q, k, v, m: attention(q, k, v, attn_mask=m),
        [query, key, value, randn(1, 1, 3, 5)],
    )
    case(
        "scaledDotProductAttention",
        lambda q, k, v, m: attention(q, k, v, attn_mask=m),
        [query, key, value, floats([0.0, -INF, 0.0, 0.0, -INF])],
    )
    case(
        "scaledDotProductAttention",
        lambda q, k, v, m: attention(q, k, v, is_causal=True),
        [query, key, value, None],
        {"isCausal": True},
    )
    case(
        "scaledDotProductAttention",
        lambda q, k, v, m: attention(q, k, v, scale=0.3),
        [randn(2, 3), randn(3, 3), randn(3, 3), None],
        {"scale": 0.3},
    )
    case(
        "scaledDotProductAttention",
        lambda q, k, v, m: attention(q, k, v, is_causal=True),
        [randn(1, 5, 2), randn(1, 3, 2), randn(1, 3, 2), None],
        {"isCausal": True},
    )


def convolutions():
    for options, length, channels, kernel in (
        ({}, 7, (2, 3), 3),
        ({"stride": 2}, 7, (2, 3), 3),
        ({"padding": 2, "dilation": 2}, 6, (2, 2), 3),
        ({"padding": 1, "stride": 3}, 8, (1, 2), 2),
        ({"groups": 2}, 5, (4, 2), 3),
        ({"groups": 3, "padding": 1}, 4, (3, 6), 3),
        ({"padding": "same", "dilation": 2}, 6, (1, 1), 3),
        ({"padding": "same"}, 5, (1, 1), 2),
        ({}, 3, (2, 2), 3),
        ({}, 4, (2, 2), 1),
    ):
        inputs, outputs = channels
        weight = randn(outputs, inputs // options.get("groups", 1), kernel)
        case(
            "conv1d",
            lambda x, w, b: F.conv1d(x, w, b, **options),
            [randn(2, inputs, length), weight, randn(outputs)],
            options,
        )
    case("conv1d", lambda x, w, b: F.conv1d(x, w), [randn(1, 2, 5), randn(1, 2, 2), None])
    for options, size, channels, kernel in (
        ({}, (4, 5), (2, 2), (3, 2)),
        ({"stride": [2, 1]}, (5, 4), (1, 2), (2, 2)),
        ({"padding": [1, 0], "dilation": [2, 1]}, (5, 4), (2, 1), (3, 2)),
        ({"padding": 2, "stride": 2}, (3, 3), (1, 1), (3, 3)),
        ({"groups": 2}, (3, 3), (2, 4), (2, 2)),
        ({"padding": "same"}, (3, 4), (1, 1), (3, 2)),
    ):
        inputs, outputs = channels
        weight = randn(outputs, inputs // options.get("groups", 1), *kernel)
        case(
            "conv2d",
            lambda x, w, b: F.conv2d(x, w, b, **options),
            [randn(1, inputs, *size), weight, randn(outputs)],
            options,
        )
