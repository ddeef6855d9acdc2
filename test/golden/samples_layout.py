"""Samples of op-samples.json: shapes, slices, joins, indices, reductions, scans."""

import torch
import torch.nn.functional as F

from op_sample import ALL, FLOATS, INF, NAN, NUMBERS, f, given, sample, t


def samples():
    shapes()
    slices()
    joins()
    indices()
    reductions()
    scans()
    ranks()
    order()


def shapes():
    for dtype in ALL:
        sample("reshape", lambda x: x.reshape(3, 2), [t(dtype, 2, 3)], ["$0", [3, 2]])
        sample("permute", lambda x: x.permute(2, 0, 1), [t(dtype, 2, 1, 3)], ["$0", 2, 0, 1])
        sample("clone", torch.clone, [t(dtype, 5)])
        sample("contiguous", lambda x: x.contiguous(), [t(dtype, 2, 3)])
        sample("flip", lambda x: x.flip(-1), [t(dtype, 5)], ["$0", -1])
        sample("expand", lambda x: x.expand(2, 3), [t(dtype, 1, 3)], ["$0", 2, 3])
        sample("repeat", lambda x: x.repeat(2, 2), [t(dtype, 3)], ["$0", 2, 2])
    sample("reshape", lambda x: x.reshape(-1), [f(2, 3)], ["$0", -1])
    sample("reshape", lambda x: x.reshape(2, -1, 2), [f(4, 2)], ["$0", 2, -1, 2])
    sample("reshape", lambda x: x.reshape(()), [f(1, 1)], ["$0", []])
    sample("reshape", lambda x: x.reshape(3, 0), [f(0, 2)], ["$0", [3, 0]])
    sample("reshape", lambda x: x.reshape(3, -1), [f(3, 0)], ["$0", [3, -1]])
    sample("view", lambda x: x.view(4, 2), [f(2, 4)], ["$0", 4, 2])
    sample("view", lambda x: x.view(-1, 1), [f(3)], ["$0", [-1, 1]])
    sample("viewAs", lambda x, y: x.view_as(y), [f(2, 3), t("i32", 6)])
    sample("viewAs", lambda x, y: x.view_as(y), [f(1), f()], grad=[0])
    sample("permute", lambda x: x.permute(1, 0), [f(2, 3)], ["$0", [1, 0]])
    sample("permute", lambda x: x.permute(-1, 0, -2), [f(2, 3, 2)], ["$0", -1, 0, -2])
    sample("permute", lambda x: x.permute(()), [f()], ["$0", []])
    sample("transpose", lambda x: x.transpose(-2, -1), [f(2, 3)])
    sample("transpose", lambda x: x.transpose(0, 2), [f(2, 1, 3)], ["$0", 0, 2])
    sample("transpose", lambda x: x.transpose(0, -1), [f(0, 3)], ["$0", 0, -1])
    for own in ((2, 3), (3,), ()):
        sample("t", torch.t, [f(*own)])
    sample("squeeze", torch.squeeze, [f(1, 3, 1)])
    sample("squeeze", lambda x: x.squeeze(0), [f(1, 3, 1)], ["$0", 0])
    sample("squeeze", lambda x: x.squeeze(1), [f(1, 3, 1)], ["$0", 1])
    sample("squeeze", lambda x: x.squeeze(-1), [f(1, 1)], ["$0", -1])
    sample("squeeze", torch.squeeze, [f()])
    sample("squeeze", lambda x: x.squeeze(0), [f()], ["$0", 0])
    for at in (0, 1, 2, -1, -2, -3):
        sample("unsqueeze", lambda x: x.unsqueeze(at), [f(2, 3)], ["$0", at])
    sample("unsqueeze", lambda x: x.unsqueeze(-1), [f()], ["$0", -1])
    sample("flatten", torch.flatten, [f(2, 1, 3)])
    sample("flatten", lambda x: x.flatten(1), [f(2, 2, 2)], ["$0", 1])
    sample("flatten", lambda x: x.flatten(0, -2), [f(2, 2, 2)], ["$0", 0, -2])
    sample("flatten", torch.flatten, [f()])
    sample("flatten", torch.flatten, [f(2, 0)])
    sample("flip", lambda x: x.flip(0, 1), [f(2, 3)], ["$0", 0, 1])
    sample("flip", lambda x: x.flip([0, -1]), [f(2, 1, 3)], ["$0", [0, -1]])
    sample("flip", lambda x: x.flip(0), [f(0, 2)], ["$0", 0])
    sample("expand", lambda x: x.expand(2, -1, 3), [f(2, 1)], ["$0", 2, -1, 3])
    sample("expand", lambda x: x.expand(2, 2), [f()], ["$0", [2, 2]])
    sample("expand", lambda x: x.expand(0, 3), [f(1, 3)], ["$0", 0, 3])
    sample("expandAs", lambda x, y: x.expand_as(y), [f(2, 1), t("i32", 3, 2, 2)])
    sample("expandAs", lambda x, y: x.expand_as(y), [f(), t("i32", 5)])
    sample("repeat", lambda x: x.repeat(2, 1, 2), [f(2, 2)], ["$0", [2, 1, 2]])
    sample("repeat", lambda x: x.repeat(0, 2), [f(2, 1)], ["$0", 0, 2])
    sample("repeat", lambda x: x.repeat(3), [f()], ["$0", 3])
    for dtype in ("f32", "f16", "i32", "bool"):
        sample("repeatInterleave", lambda x: x.repeat_interleave(2), [t(dtype, 3)], ["$0", 2])
    sample("repeatInterleave", lambda x: x.repeat_interleave(2), [f(2, 2)], ["$0", 2])
    sample("repeatInterleave", lambda x: x.repeat_interleave(3, -1), [f(2, 2)], ["$0", 3, -1])
    sample("repeatInterleave", lambda x: x.repeat_interleave(2, 0), [f(2, 3)], ["$0", 2, 0])
    sample("repeatInterleave", lambda x: x.repeat_interleave(0, 0), [f(2, 3)], ["$0", 0, 0])
    sample("repeatInterleave", lambda x: x.repeat_interleave(2), [f()], ["$0", 2])
    for args in ((0, 2, 1), (0, 3, 2), (-1, 2, 2), (1, 1, 1), (1, 4, 3)):
        sample("unfold", lambda x: x.unfold(*args), [f(3, 4)], ["$0", *args])
    for dtype in ALL:
        sample("unfold", lambda x: x.unfold(0, 3, 2), [t(dtype, 7)], ["$0", 0, 3, 2])
    for diagonal in (0, 1, -1, 5, -5):
        for name, function in (("tril", torch.tril), ("triu", torch.triu)):
            sample(name, lambda x: function(x, diagonal), [f(3, 4)], ["$0", diagonal])
    for dtype in ALL:
        sample("tril", torch.tril, [t(dtype, 2, 2, 3)])
        sample("triu", torch.triu, [t(dtype, 4, 2)])
    sample("tril", torch.tril, [given("f32", [[1, NAN], [INF, 2]])])
    sample("triu", torch.triu, [f(0, 3)])


def slices():
    for dtype in ALL:
        sample("slice", lambda x: x[1:4:2], [t(dtype, 5)], ["$0", [1, 4, 2]])
        sample("narrow", lambda x: x.narrow(1, 1, 2), [t(dtype, 2, 3)], ["$0", 1, 1, 2])
        sample("pad", lambda x: F.pad(x, (1, 2), value=1), [t(dtype, 3)], ["$0", [[1, 2]], 1])
    sample("slice", lambda x: x[:, -2:], [f(2, 3)], ["$0", None, [-2]])
    sample("slice", lambda x: x[1:, :, 0], [f(2, 2, 2)], ["$0", [1], None, 0])
    sample("slice", lambda x: x[-1], [f(3, 2)], ["$0", -1])
    sample("slice", lambda x: x[:-1:2], [f(6)], ["$0", [None, -1, 2]])
    sample("slice", lambda x: x[2:1], [f(3)], ["$0", [2, 1]])
    sample("slice", lambda x: x[-9:9], [f(3)], ["$0", [-9, 9]])
    sample("narrow", lambda x: x.narrow(-1, 0, 1), [f(2, 3)], ["$0", -1, 0, 1])
    sample("narrow", lambda x: x.narrow(0, 2, 0), [f(2, 3)], ["$0", 0, 2, 0])
    for args in ((0, 1), (1, 0), (-1, -1), (0, -2)):
        sample("select", lambda x: x.select(*args), [f(2, 3)], ["$0", *args])
    sample("select", lambda x: x.select(0, 1), [t("i32", 3)], ["$0", 0, 1])
    sample("split", lambda x: x.split(2), [f(5)], ["$0", 2])
    sample("split", lambda x: x.split([1, 0, 2], -1), [f(2, 3)], ["$0", [1, 0, 2], -1])
    sample("split", lambda x: x.split(4, 1), [f(2, 3)], ["$0", 4, 1])
    sample("split", lambda x: x.split(2), [f(0, 2)], ["$0", 2])
    sample("chunk", lambda x: x.chunk(2), [f(5)], ["$0", 2])
    sample("chunk", lambda x: x.chunk(4, -1), [f(2, 6)], ["$0", 4, -1])
    sample("chunk", lambda x: x.chunk(3), [f(2)], ["$0", 3])
    sample("chunk", lambda x: x.chunk(3), [f(1, 2)], ["$0", 3])
    sample("unbind", lambda x: x.unbind(), [f(2, 3)])
    sample("unbind", lambda x: x.unbind(-1), [f(2, 3)], ["$0", -1])
    sample("unbind", lambda x: x.unbind(), [t("bool", 3)])
    for pairs, value in (((1, 0, 0, 2), 0.5), ((-1, 1, 0, 0), 0), ((0, -2, 1, 1), -INF), ((2, 2), 0)):
        ours = [list(pairs[k : k + 2]) for k in range(0, len(pairs), 2)][::-1]
        args = ["$0", ours, "-inf" if value == -INF else value]
        sample("pad", lambda x: F.pad(x, pairs, value=value), [f(2, 3)], args)
    sample("pad", lambda x: F.pad(x, (1, 1)), [f(2, 0)], ["$0", [[1, 1]]])
    sample("pad", lambda x: F.pad(x, (1, 1), value=6), [t("bool", 2)], ["$0", [[1, 1]], 6])


def joins():
    for dtype in ALL:
        sample("concat", lambda *x: torch.cat(x), [t(dtype, 3), t(dtype, 2)], [["$0", "$1"]])
        sample("stack", lambda *x: torch.stack(x), [t(dtype, 3), t(dtype, 3)], [["$0", "$1"]])
        sample("roll", lambda x: x.roll(2, 0), [t(dtype, 5)], ["$0", 2])
    sample("concat", lambda *x: torch.cat(x, -1), [f(2, 1), f(2, 3), f(2, 0)], [["$0", "$1", "$2"], -1])
    sample("concat", lambda *x: torch.cat(x, 1), [f(2, 1, 2), f(2, 2, 2)], [["$0", "$1"], 1])
    sample("concat", lambda x: torch.cat([x, x]), [f(3)], [["$0", "$0"]])
    sample("concat", lambda x: torch.cat([x]), [f(3)], [["$0"]])
    sample("stack", lambda *x: torch.stack(x, -1), [f(2, 3), f(2, 3)], [["$0", "$1"], -1])
    sample("stack", lambda *x: torch.stack(x, 1), [f(2), f(2), f(2)], [["$0", "$1", "$2"], 1])
    sample("stack", lambda *x: torch.stack(x), [f(), f()], [["$0", "$1"]])
    sample("stack", lambda *x: torch.stack(x, -2), [f(3), f(3)], [["$0", "$1"], -2])
    for args in ((-1, 0), (1, -1), (7, 1), (0, 0), (-4, 1)):
        sample("roll", lambda x: x.roll(*args), [f(2, 3)], ["$0", *args])
    sample("roll", lambda x: x.roll(1, 0), [f(0, 2)], ["$0", 1])


def indices():
    def index(high, *shape):
        return t("i32", *shape, low=0, high=high)

    for dtype in ALL:
        sample("gather", lambda x, i: x.gather(0, i.long()), [t(dtype, 5), index(4, 3)], ["$0", 0, "$1"])
        sample("indexSelect", lambda x, i: x.index_select(1, i), [t(dtype, 2, 3), index(2, 4)], ["$0", 1, "$1"])
        sample("embedding", lambda x, i: x[i], [t(dtype, 4, 3), index(3, 2)])
    for dtype in NUMBERS:
        sample(
            "scatterAdd",
            lambda x, i, s: x.scatter_add(0, i.long(), s),
            [t(dtype, 5), index(4, 7), t(dtype, 7)],
            ["$0", 0, "$1", "$2"],
        )
    for axis, shape in ((0, (2, 3)), (1, (2, 5)), (-1, (1, 2)), (0, (0, 3)), (-2, (4, 2))):
        high = 1 if axis in (0, -2) else 2
        sample("gather", lambda x, i: x.gather(axis, i.long()), [f(2, 3), index(high, *shape)], ["$0", axis, "$1"])
    sample("gather", lambda x, i: x.gather(0, i.long()), [f(), index(0)], ["$0", 0, "$1"])
    for axis, shape, source in ((0, (4, 3), (4, 3)), (1, (2, 5), (2, 6)), (-1, (1, 2), (2, 2)), (0, (0, 3), (2, 3))):
        high = 1 if axis == 0 else 2
        sample(
            "scatterAdd",
            lambda x, i, s: x.scatter_add(axis, i.long(), s),
            [f(2, 3), index(high, *shape), f(*source)],
            ["$0", axis, "$1", "$2"],
            grad=shape == source or [0],
        )
    for axis, count in ((0, 5), (1, 2), (-1, 0), (-2, 1)):
        high = 1 if axis in (0, -2) else 2
        sample("indexSelect", lambda x, i: x.index_select(axis, i), [f(2, 3), index(high, count)], ["$0", axis, "$1"])
    sample("embedding", lambda w, i: F.embedding(i, w), [f(5, 3), index(4, 2, 3)])
    sample("embedding", lambda w, i: F.embedding(i, w), [f(5, 2), index(4)])
    sample("embedding", lambda w, i: F.embedding(i, w), [f(5, 4), index(4, 0)])
    sample(
        "embedding",
        lambda w, i: F.embedding(i, w, padding_idx=1),
        [f(3, 2), index(2, 6)],
        ["$0", "$1", {"paddingIdx": 1}],
    )
    for shape in ((3,), (2, 2), (), (0,)):
        sample("oneHot", lambda i: F.one_hot(i.long(), 4).float(), [index(3, *shape)], ["$0", 4])


def reductions():
    axes = (
        ((2, 3), 0, False),
        ((2, 3), -1, True),
        ((2, 1, 3), (0, 2), False),
        ((2, 1, 3), (-1, -3), True),
        ((1, 7), 1, False),
    )

    def both(name, function, dtypes, whole=True, empty=True, shape=(5,), **drawn):
        for dtype in dtypes:
            sample(name, function, [t(dtype, *shape)])
            sample(name, lambda x: function(x, 0), [t(dtype, 4, 2)], ["$0", 0])
        for own, axis, keep in axes:
            args = ["$0", list(axis) if isinstance(axis, tuple) else axis, *([{"keepDims": True}] if keep else [])]
            sample(name, lambda x: function(x, axis, keepdim=keep), [f(*own)], args)
        sample(name, function, [f()])
        sample(name, lambda x: function(x, -1), [f()], ["$0", -1])
        if empty:
            sample(name, lambda x: function(x, 0), [f(0, 2)], ["$0", 0])
            sample(name, function, [f(0)])
        sample(name, lambda x: function(x, 1), [f(0, 2)], ["$0", 1])
        edges = given("f32", [[1, NAN, 2], [INF, 1, -INF], [-INF, -INF, -INF], [INF, INF, 0]])
        sample(name, lambda x: function(x, 1), [edges], ["$0", 1])

    both("sum", torch.sum, ALL)
    both("mean", torch.mean, FLOATS)
    both(
        "logsumexp",
        lambda x, dim=None, **o: torch.logsumexp(x, all_axes(x) if dim is None else dim, **o),
        FLOATS,
        empty=False,
    )
    both("max", lambda x, dim=None, **o: torch.amax(x, all_axes(x) if dim is None else dim, **o), ALL, empty=False)
    both("min", lambda x, dim=None, **o: torch.amin(x, all_axes(x) if dim is None else dim, **o), ALL, empty=False)
    both("any", lambda x, dim=None, **o: torch.any(x, **({} if dim is None else {"dim": dim}), **o), ALL)
    both("all", lambda x, dim=None, **o: torch.all(x, **({} if dim is None else {"dim": dim}), **o), ALL)
    for name, function in (("variance", torch.var), ("std", torch.std)):
        for dtype in FLOATS:
            sample(name, function, [t(dtype, 5)])
        for own, axis, keep in axes:
            for correction in (1, 0):
                listed = list(axis) if isinstance(axis, tuple) else axis
                options = {"correction": correction, **({"keepDims": True} if keep else {})}
                sample(
                    name,
                    lambda x: function(x, axis, correction=correction, keepdim=keep),
                    [f(*own)],
                    ["$0", listed, options],
                )
        sample(name, lambda x: function(x, 0, correction=2), [f(2, 3)], ["$0", 0, {"correction": 2}])
        sample(name, function, [f(1)])
        sample(name, function, [f(0)])
        sample(name, function, [given("f32", [2, 2, 2])])
        sample(name, function, [given("f32", [1, INF, 2])])
        sample(name, lambda x: function(x, correction=0), [f()], ["$0", None, {"correction": 0}])
        sample(name, lambda x: function(x, 1), [f(0, 3)], ["$0", 1])
    for p in (2, 1, 0, 3, 1.5, -1, INF, -INF):
        ours = {INF: "inf", -INF: "-inf"}.get(p, p)
        differentiable = p != 0
        sample("norm", lambda x: torch.linalg.vector_norm(x, p), [f(5, low=0.25)], ["$0", ours], grad=differentiable)
        sample(
            "norm",
            lambda x: torch.linalg.vector_norm(x, p, -1),
            [f(2, 3, low=0.25)],
            ["$0", ours, -1],
            grad=differentiable,
        )
        sample(
            "norm",
            lambda x: torch.linalg.vector_norm(x, p, 0, True),
            [f(3, 2, low=-2, high=-1)],
            ["$0", ours, 0, {"keepDims": True}],
            grad=differentiable,
        )
    for p in (0.5, 1.5, 3, -1, INF):
        ours = "inf" if p == INF else p
        sample("norm", lambda x: torch.linalg.vector_norm(x, p), [given("f32", [int(p < 0), 1, -2, -2])], ["$0", ours])
    for name, function in (
        ("mean", torch.mean),
        ("variance", torch.var),
        ("std", torch.std),
        ("sum", torch.sum),
        ("norm", torch.linalg.vector_norm),
        ("logsumexp", lambda x: x.logsumexp(0)),
    ):
        sample(name, function, [given("f16", [40000, 39000, 30000])])
        sample(name, function, [given("f16", [300, -400, 0])])
    for p in (2, 1, 0, 3, 0.5, INF):
        sample(
            "norm",
            lambda x: torch.linalg.vector_norm(x, p),
            [given("f32", [0, 0, 0])],
            ["$0", "inf" if p == INF else p],
            grad=p != 0,
        )
        sample("norm", lambda x: torch.linalg.vector_norm(x, p), [f(0)], ["$0", p], grad=p != 0) if p != INF else None
        sample(
            "norm",
            lambda x: torch.linalg.vector_norm(x, p),
            [given("f32", [1, -INF, 2])],
            ["$0", "inf" if p == INF else p],
            grad=p != 0,
        )
        sample(
            "norm",
            lambda x: torch.linalg.vector_norm(x, p),
            [given("f32", [1, NAN, 2])],
            ["$0", "inf" if p == INF else p],
            grad=p not in (0, INF),
        )
    sample("norm", lambda x: torch.linalg.vector_norm(x), [t("f16", 5)])
    sample("norm", lambda x: torch.linalg.vector_norm(x), [f()])
    sample("normalize", F.normalize, [f(2, 3)])
    sample("normalize", F.normalize, [t("f16", 2, 3)])
    sample("normalize", F.normalize, [given("f16", [[300, 400]])])
    sample("normalize", lambda x: F.normalize(x, p=1, dim=0), [f(2, 3)], ["$0", {"p": 1, "axis": 0}])
    sample("normalize", lambda x: F.normalize(x, dim=-1, eps=5), [f(2, 3)], ["$0", {"axis": -1, "eps": 5}])
    sample("normalize", F.normalize, [given("f32", [[0, 0], [3, 4]])])
    sample("normalize", F.normalize, [f(0, 3)])
    for name in ("argmax", "argmin"):
        function = getattr(torch, name)
        for dtype in NUMBERS:
            sample(name, function, [t(dtype, 5)])
            sample(name, lambda x: function(x, 1), [t(dtype, 2, 4)], ["$0", 1])
        for axis in (0, 1, -1):
            sample(name, lambda x: function(x, axis, keepdim=True), [f(3, 2)], ["$0", axis, {"keepDims": True}])
        sample(name, function, [f(2, 3)])
        sample(name, lambda x: function(x, keepdim=True), [f(2, 3)], ["$0", None, {"keepDims": True}])
        sample(name, function, [f()])
        edges = [[1, NAN, INF], [INF, 1, INF], [-INF, -INF, 0], [2, 2, 1], [-0.0, 0, -0.0]]
        sample(name, lambda x: function(x, 1), [given("f32", edges)], ["$0", 1])


def all_axes(x):
    return tuple(range(x.ndim))


def scans():
    for dtype in ALL:
        sample("cumsum", lambda x: x.cumsum(0), [t(dtype, 7)], ["$0", 0])
    for shape, axis in (((2, 3), 0), ((2, 3), -1), ((2, 2, 3), 1), ((0, 3), 0), ((3, 0), 0), ((1,), -1), ((), 0)):
        sample("cumsum", lambda x: x.cumsum(axis), [f(*shape)], ["$0", axis])
    sample("cumsum", lambda x: x.cumsum(0), [given("f32", [1, INF, 2, NAN, 1])], ["$0", 0])
    for shape, axis in (((5,), -1), ((2, 3), 0), ((2, 3), 1), ((3, 1), 1), ((2, 0), 0), ((0, 3), -1), ((2, 2, 3), 1)):
        ours = ["$0", axis]
        sample("softmax", lambda x: x.softmax(axis), [f(*shape)], ours)
        sample("logSoftmax", lambda x: x.log_softmax(axis), [f(*shape)], ours)
    edges = [[0, -INF, 1], [-INF, -INF, -INF], [1000, 999, -1000], [NAN, 1, 2], [INF, 1, 2]]
    sample("softmax", lambda x: x.softmax(-1), [given("f32", edges)])
    sample("logSoftmax", lambda x: x.log_softmax(-1), [given("f32", edges)])
    sample("softmax", lambda x: x.softmax(-1), [t("f16", 2, 4)])
    sample("logSoftmax", lambda x: x.log_softmax(-1), [t("f16", 2, 4)])


def order():
    ties = [[2, -1, 2, 0, -1], [0, -0.0, 3, -2, 0]]
    edges = [1, NAN, INF, -0.0, -INF, 0, -NAN, -1]
    for descending in (False, True):
        for axis in (0, -1):
            ours = ["$0", axis, {"descending": descending}]
            for dtype in FLOATS:
                ordered = lambda x: x.sort(dim=axis, descending=descending, stable=True)
                sample("sort", ordered, [given(dtype, ties)], ours)
            ranked = lambda x: x.argsort(dim=axis, descending=descending, stable=True)
            sample("argsort", ranked, [given("f32", ties)], ours)
        ours = ["$0", -1, {"descending": descending}]
        sample("argsort", lambda x: x.argsort(descending=descending, stable=True), [given("f32", edges)], ours)
        sample("argsort", lambda x: x.argsort(descending=descending, stable=True), [given("i32", [3, -7, 3, 0])], ours)
    sample("sort", lambda x: x.sort(stable=True), [f()], ["$0"])


def ranks():
    distinct = [0.5, -2, 3, 1.25, -0.75, 2.5, -1]
    for dtype in FLOATS:
        sample("topk", lambda x: x.topk(3), [given(dtype, distinct)], ["$0", 3])
    sample("topk", lambda x: x.topk(2, largest=False), [given("f32", distinct)], ["$0", 2, -1, {"largest": False}])
    sample("topk", lambda x: x.topk(1, 0), [given("f32", [[1, 5], [4, 2], [3, 3]])], ["$0", 1, 0])
    sample("topk", lambda x: x.topk(2, -1), [given("f32", [[1, 5, -1], [4, 2, 3]])], ["$0", 2, -1])
    sample("topk", lambda x: x.topk(4), [given("f32", [1, NAN, INF, -INF])], ["$0", 4])
    sample(
        "topk",
        lambda x: x.topk(4, largest=False),
        [given("f32", [1, NAN, INF, -INF])],
        ["$0", 4, -1, {"largest": False}],
    )
    sample("topk", lambda x: x.topk(1), [f()], ["$0", 1])
    sample("topk", lambda x: x.topk(2), [f(0, 3)], ["$0", 2])
