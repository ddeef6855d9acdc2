"""Samples of op-samples.json: functions of each element, comparisons, types, in place, creation."""

import torch
import torch.nn.functional as F

from op_sample import ALL, FLOATS, INF, NAN, NUMBERS, f, given, sample, t

EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-7, 30.0, -30.0, 80.0, -80.0, INF, -INF, NAN)


def samples():
    unary()
    binary()
    choices()
    types()
    in_place()
    creation()


def unary():
    anywhere = (
        ("abs", torch.abs, NUMBERS),
        ("sign", torch.sign, ALL),
        ("floor", torch.floor, NUMBERS),
        ("ceil", torch.ceil, NUMBERS),
        ("round", torch.round, NUMBERS),
        ("neg", torch.neg, NUMBERS),
        ("exp", torch.exp, ALL),
        ("expm1", torch.expm1, ALL),
        ("sin", torch.sin, ALL),
        ("cos", torch.cos, ALL),
        ("erf", torch.erf, ALL),
        ("tanh", torch.tanh, ALL),
        ("sigmoid", torch.sigmoid, ALL),
        ("relu", torch.relu, NUMBERS),
        ("gelu", F.gelu, FLOATS),
        ("silu", F.silu, FLOATS),
        ("softplus", F.softplus, FLOATS),
        ("logSigmoid", F.logsigmoid, FLOATS),
        ("leakyRelu", F.leaky_relu, FLOATS),
    )
    positive = (
        ("log", torch.log, ALL),
        ("log1p", torch.log1p, ALL),
        ("sqrt", torch.sqrt, ALL),
        ("rsqrt", torch.rsqrt, ALL),
    )
    for name, function, dtypes in anywhere + positive:
        low = 1 if (name, function, dtypes) in positive else None
        for dtype in dtypes:
            sample(name, function, [t(dtype, 5, low=low if dtype != "bool" else None)])
        sample(name, function, [f(2, 4, low=low)])
        sample(name, function, [f(low=low)])
        sample(name, function, [f(2, 0, 3)])
        # sin and cos have no limit at infinity, and are inexact far from 0.
        edges = [x for x in EDGES if name not in ("sin", "cos") or abs(x) <= 30 or x != x]
        sample(name, function, [given("f32", edges)])
    sample("gelu", lambda x: F.gelu(x, approximate="tanh"), [f(5)], ["$0", {"approximate": "tanh"}])
    sample("gelu", lambda x: F.gelu(x, approximate="tanh"), [given("f32", EDGES[:11])], ["$0", {"approximate": "tanh"}])
    sample("leakyRelu", lambda x: F.leaky_relu(x, 0.25), [f(5)], ["$0", 0.25])
    sample("round", torch.round, [given("f32", [0.5, 1.5, 2.5, -0.5, -1.5, 8388609.0, 0.49999997])])
    for name, function in (("isFinite", torch.isfinite), ("isNan", torch.isnan), ("isinf", torch.isinf)):
        for dtype in ALL:
            sample(name, function, [t(dtype, 3)])
        sample(name, function, [given("f32", EDGES)])
        sample(name, function, [given("f16", EDGES)])
        sample(name, function, [f(0)])


def binary():
    shapes = (((3,), (2, 3)), ((2, 1, 3), (4, 1)), ((), (5,)), ((1,), (3, 1)), ((0, 3), (1, 3)), ((2, 4), (2, 4)))
    ops = (
        ("add", torch.add, ALL),
        ("sub", torch.sub, NUMBERS),
        ("mul", torch.mul, ALL),
        ("div", torch.div, NUMBERS),
        ("maximum", torch.maximum, ALL),
        ("minimum", torch.minimum, ALL),
    )
    # Gradients at kinks and poles.
    sample("pow", torch.pow, [given("f32", [0, 0, 0, 1, INF, 2]), given("f32", [0, 1, 2, 0, 2, INF])])
    for exponent in (0.5, 1.5, 2, 3, -1, 0, 1):
        sample("pow", lambda x: x**exponent, [given("f32", [0, INF, NAN])], ["$0", exponent])
    nan_rules = given("f32", [NAN, 1, NAN, INF, -INF, 0, -0.0, INF]), given("f32", [1, NAN, NAN, INF, INF, -0.0, 0, 0])
    for name, function, dtypes in ops:
        low = 1 if name == "div" else None
        for left, right in shapes:
            sample(name, function, [f(*left), f(*right, low=low)])
        for dtype in dtypes:
            sample(name, function, [t(dtype, 5), t(dtype, 5, low=low)])
        sample(name, function, list(nan_rules))
        # Types that meet: PyTorch's promotion.
        for a, b in (("i32", "f32"), ("bool", "f32"), ("f16", "f32"), ("i32", "f16"), ("bool", "i32")):
            if name != "sub" or "bool" not in (a, b):
                sample(name, function, [t(a, 3), t(b, 3, low=low)])
        sample(name, function, [given("f32", [1, 2, 2]), given("f32", [1, 1, 3])])
    for name, function in (("add", torch.add), ("mul", torch.mul), ("sub", torch.sub), ("div", torch.div)):
        for dtype in NUMBERS:
            sample(name, lambda x: function(x, 3), [t(dtype, 5)], ["$0", 3])
        sample(name, lambda x: function(x, 0.5), [t("i32", 3)], ["$0", 0.5])
        sample(name, lambda x: function(torch.tensor(2.5, dtype=x.dtype), x), [f(3, low=1)], [2.5, "$0"])
    sample("div", torch.div, [given("f32", [1, -1, 0, INF, 1]), given("f32", [0, 0, 0, INF, -INF])])
    sample("div", torch.div, [given("i32", [7, -7, 1]), given("i32", [2, 2, 0])])
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        function = getattr(torch, name)
        for dtype in ALL:
            sample(name, function, [t(dtype, 5), t(dtype, 5)])
        sample(name, function, [f(2, 1), t("i32", 3)])
        sample(name, function, list(nan_rules))
        sample(name, lambda x: function(x, 1), [t("i32", 4)], ["$0", 1])
        sample(name, lambda x: function(x, 0.5), [t("i32", 4)], ["$0", 0.5])
        sample(name, function, [f(0), f(1)])
    for name, function in (("logicalAnd", torch.logical_and), ("logicalOr", torch.logical_or)):
        for dtype in ALL:
            sample(name, function, [t(dtype, 5), t("bool", 5)])
        sample(name, function, [f(2, 1), t("i32", 3)])
        sample(name, function, list(nan_rules))
    for dtype in ALL:
        sample("logicalNot", torch.logical_not, [t(dtype, 2, 3)])
    sample("logicalNot", torch.logical_not, [given("f32", EDGES)])
    sample("logicalNot", torch.logical_not, [t("bool", 0)])

    sample("pow", torch.pow, [f(5, low=1, high=3), f(5)])
    sample("pow", torch.pow, [f(2, 1, low=1, high=3), f(3)])
    sample("pow", torch.pow, [t("f16", 5, low=1, high=2), t("f16", 5)])
    sample("pow", torch.pow, [t("i32", 5), t("i32", 5, low=0, high=4)])
    sample("pow", torch.pow, [f(3, low=1), t("i32", 3)], grad=[0])
    for exponent in (0, 1, 2, 3, 4, -1, -2, 0.5, 1.5, -0.5):
        sample("pow", lambda x: x**exponent, [f(4, low=1, high=3)], ["$0", exponent])
        if isinstance(exponent, int) and exponent >= 0:
            for dtype in ("i32", "f16"):
                sample("pow", lambda x: x**exponent, [t(dtype, 4)], ["$0", exponent])
            sample("pow", lambda x: x**exponent, [given("f32", [0, -1, -2, 0.5])], ["$0", exponent])
    sample("pow", lambda x: torch.pow(2, x), [f(4)], [2, "$0"])
    sample("pow", lambda x: torch.pow(2, x), [t("i32", 4, low=0)], [2, "$0"])
    sample("pow", lambda x: torch.pow(0, x), [given("f32", [0, 1, 2.5])], [0, "$0"])
    sample("pow", lambda x: x**0.5, [t("i32", 4, low=0)], ["$0", 0.5])


def choices():
    for dtype in NUMBERS:
        sample("clamp", lambda x: x.clamp(-1, 1), [t(dtype, 5)], ["$0", -1, 1])
        sample("clamp", lambda x: x.clamp(min=0), [t(dtype, 5)], ["$0", 0])
    sample("clamp", lambda x: x.clamp(0.3, 0.9), [f(2, 4)], ["$0", 0.3, 0.9])
    sample("clamp", lambda x: x.clamp(0.5, 1.5), [t("i32", 5)], ["$0", 0.5, 1.5])
    sample("clamp", lambda x: x.clamp(2, 1), [f(3)], ["$0", 2, 1])
    sample("clamp", lambda x: x.clamp(-1, 1), [given("f32", EDGES)], ["$0", -1, 1])
    sample("clamp", lambda x: x.clamp(-INF, 1), [f(3)], ["$0", "-inf", 1])
    sample("clamp", lambda x: x.clamp(0, 1), [f(0)], ["$0", 0, 1])
    for dtype in ALL:
        sample("where", torch.where, [t("bool", 5), t(dtype, 5), t(dtype, 5)])
        sample("maskedFill", lambda x, m: x.masked_fill(m, 1), [t(dtype, 5), t("bool", 5)], ["$0", "$1", 1])
    sample("where", torch.where, [t("bool", 2, 1), f(3), f()])
    sample("where", torch.where, [t("bool", 3), t("i32", 3), f(3)])
    sample("where", lambda c, x: torch.where(c, x, 0.5), [t("bool", 4), f(4)], ["$0", "$1", 0.5])
    sample("where", lambda c, x: torch.where(c, 2, x), [t("bool", 4), t("i32", 4)], ["$0", 2, "$1"])
    sample("where", torch.where, [given("bool", [1, 0, 1]), given("f32", [NAN, NAN, INF]), f(3)])
    sample("where", torch.where, [t("bool", 0, 3), f(3), f(1)])
    sample("maskedFill", lambda x, m: x.masked_fill(m, -INF), [f(2, 3), t("bool", 3)], ["$0", "$1", "-inf"])
    sample("maskedFill", lambda x, m: x.masked_fill(m, 0), [f(2, 3), t("bool", 2, 1)], ["$0", "$1", 0])


def types():
    for name, dtype in (
        ("float", torch.float32),
        ("half", torch.float16),
        ("int", torch.int32),
        ("long", torch.int64),
        ("bool", torch.bool),
    ):
        for own in ALL:
            sample(name, conversion(dtype), [t(own, 5)])
        sample(name, conversion(dtype), [given("f32", [0.9, -0.9, -0.0, 2.5])], grad=dtype.is_floating_point)
    sample("bool", conversion(torch.bool), [given("f32", EDGES)], grad=False)
    sample("half", conversion(torch.float16), [given("f32", [1e6, -1e6, 65504, 1e-9, NAN, INF])], grad=False)
    for own in ALL:
        sample("cast", lambda x: x.to(torch.int64), [t(own, 3)], ["$0", "i32"], grad=False)
        sample("cast", conversion(torch.float32), [t(own, 3)], ["$0", "f32"])


def conversion(dtype):
    """In the float64 run, conversions between float types are the identity, so that gradients pass exactly."""
    return lambda x: x * 1 if x.dtype == torch.float64 and dtype.is_floating_point else x.to(dtype)


def in_place():
    for dtype in NUMBERS:
        sample("add_", lambda x, y: x.add_(y), [t(dtype, 5), t(dtype, 5)], grad=False)
        sample("sub_", lambda x, y: x.sub_(y), [t(dtype, 5), t(dtype, 1)], grad=False)
        sample("mul_", lambda x, y: x.mul_(y), [t(dtype, 2, 3), t(dtype, 3)], grad=False)
        sample("mul_", lambda x: x.mul_(2), [t(dtype, 5)], ["$0", 2], grad=False)
        sample("add_", lambda x: x.add_(2), [t(dtype, 5)], ["$0", 2], grad=False)
        sample("sub_", lambda x: x.sub_(2), [t(dtype, 5)], ["$0", 2], grad=False)
        sample("clamp_", lambda x: x.clamp_(-1, 1), [t(dtype, 5)], ["$0", -1, 1], grad=False)
        sample("addAssign", lambda x, y: x.add_(y), [t(dtype, 2, 3), t(dtype, 3)], grad=False)
    for dtype in FLOATS:
        sample("div_", lambda x, y: x.div_(y), [t(dtype, 5), t(dtype, 5, low=1)], grad=False)
        sample("div_", lambda x: x.div_(2), [t(dtype, 5)], ["$0", 2], grad=False)
    sample("add_", lambda x, y: x.add_(y), [f(3), t("i32", 3)], grad=False)
    sample("clamp_", lambda x: x.clamp_(min=0.5), [f(4)], ["$0", 0.5], grad=False)
    for dtype in ALL:
        sample("fill_", lambda x: x.fill_(1), [t(dtype, 5)], ["$0", 1], grad=False)
        sample("zero_", lambda x: x.zero_(), [t(dtype, 2, 3)], grad=False)
        sample("assign", lambda x, y: x.copy_(y), [t(dtype, 2, 3), t(dtype, 3)], grad=False)
        sample("assign", lambda x, y: x.copy_(y), [t(dtype, 4), f(4, low=0)], grad=False)
        sample("assign", lambda x, y: x.copy_(y), [t(dtype, 4), t("bool", 1)], grad=False)


def creation():
    for dtype in ALL:
        options = {"dtype": dtype}
        sample("zeros", lambda: made(torch.zeros(2, 3), dtype), [], [[2, 3], options])
        sample("ones", lambda: made(torch.ones(5), dtype), [], [5, options])
        sample("full", lambda: made(torch.full((2, 2), 1.0), dtype), [], [[2, 2], 1, options])
        sample("zerosLike", torch.zeros_like, [t(dtype, 2, 3)], grad=False)
        sample("onesLike", torch.ones_like, [t(dtype, 5)], grad=False)
        sample("fullLike", lambda x: torch.full_like(x, 1), [t(dtype, 3)], ["$0", 1], grad=False)
        sample("tensor", lambda: made(torch.tensor([[0, 1], [1, 1]]), dtype), [], [[[0, 1], [1, 1]], options])
    sample("zeros", lambda: torch.zeros(()), [], [[]])
    sample("zeros", lambda: torch.zeros(0, 2), [], [0, 2])
    sample("full", lambda: torch.full((3,), NAN), [], [[3], "nan"])
    sample("tensor", lambda: torch.tensor([True, False]), [], [[True, False]])
    sample("tensor", lambda: torch.tensor(2.5), [], [2.5])
    sample("tensor", lambda: torch.tensor([]), [], [[]])
    sample("tensor", lambda: torch.tensor([[1.5, INF, NAN]]), [], [[[1.5, "inf", "nan"]]])
    for args in ((5,), (2, 7), (1, 2, 0.25), (3, -2, -2), (0, 1, 0.1), (2, 2), (-1, 1, 0.3)):
        sample("arange", lambda: torch.arange(*args, dtype=torch.float32), [], list(args))
    sample("arange", lambda: torch.arange(0, 5, 2, dtype=torch.int32), [], [0, 5, 2, {"dtype": "i32"}])
    for args in ((0, 1, 5), (2, -2, 4), (3, 3, 2), (1, 2, 1), (0, 1, 0)):
        sample("linspace", lambda: torch.linspace(*args), [], list(args))
    for args in ((3,), (2, 4), (4, 2), (0, 3), (1, 1)):
        sample("eye", lambda: torch.eye(*args), [], list(args))
    sample("eye", lambda: torch.eye(2, dtype=torch.bool), [], [2, 2, {"dtype": "bool"}])


def made(x, dtype):
    return x.to(
        {"f32": torch.float32, "f16": torch.float16, "i32": torch.int32, "u32": torch.uint32, "bool": torch.bool}[dtype]
    )
