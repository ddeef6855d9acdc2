"""How a sample of op-samples.json is made, run in PyTorch and recorded; golden_op_samples.py says what it holds."""

import math

import numpy
import torch

SAMPLES = {}

MASK = 0xFFFFFFFF
SEED = 2**40 + 12345
NAN, INF = float("nan"), float("inf")
FLOATS, NUMBERS, ALL = ("f32", "f16"), ("f32", "f16", "i32"), ("f32", "f16", "i32", "u32", "bool")
# PyTorch's uint32 lacks most ops: int64 holds its numbers.
REAL = {"f32": torch.float32, "f16": torch.float16, "i32": torch.int32, "u32": torch.int64, "bool": torch.bool}
OURS = {
    torch.float32: "f32",
    torch.float16: "f16",
    torch.int32: "i32",
    torch.int64: "i32",
    torch.uint32: "u32",
    torch.bool: "bool",
}


def philox(block, stream):
    """Philox 4x32-10 (Salmon et al. 2011): the four words of a block, as test/support/philox.ts has them."""
    c0, c1, c2, c3 = block, 0, stream & MASK, stream >> 32
    k0, k1 = SEED & MASK, SEED >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def uniform(count, name):
    """`count` numbers of [0, 1), 24 bits each, of the stream that belongs to a name (its FNV-1a hash)."""
    stream = 2166136261
    for letter in name:
        stream = ((stream ^ ord(letter)) * 16777619) & MASK
    words = [word for block in range((count + 3) // 4) for word in philox(block, stream)]
    return [(word >> 8) / 2**24 for word in words[:count]]


class Spec:
    """An input: a type and a shape, with values drawn from low..high, or given ones."""

    def __init__(self, dtype, shape, low=None, high=None, values=None):
        whole = dtype not in FLOATS
        self.dtype, self.shape, self.values = dtype, list(shape), values
        natural = {"bool": (0, 1), "u32": (0, 5), "i32": (-3, 3)}.get(dtype, (-2, 2))
        self.low, self.high = (natural[0] if low is None else low, natural[1] if high is None else high)
        self.steps = (1 if whole else 16) * (self.high - self.low)
        self.natural = natural == (self.low, self.high)

    def numbers(self, name):
        if self.values is not None:
            return self.values
        drawn = uniform(math.prod(self.shape), name)
        step = 1 if self.dtype not in FLOATS else 1 / 16
        return [self.low + step * math.floor(u * (self.steps + 1)) for u in drawn]

    def encode(self):
        text = spec_text(self.dtype, self.shape)
        if self.values is not None:
            return [text, [encode_number(value) for value in self.values]]
        return text if self.natural else f"{text} {self.low}..{self.high}"


def t(dtype, *shape, low=None, high=None):
    """Drawn values: of floats multiples of 1/16, which f16 holds and which make short files."""
    return Spec(dtype, shape, low, high)


def f(*shape, low=None, high=None):
    return Spec("f32", shape, low, high)


def given(dtype, values, shape=None):
    """These values, as the type stores them."""
    flat = numpy.array(values, dtype=numpy.float64).flatten()
    if dtype in FLOATS:
        flat = flat.astype(numpy.float32 if dtype == "f32" else numpy.float16).astype(numpy.float64)
    return Spec(dtype, numpy.shape(values) if shape is None else shape, values=flat.tolist())


def encode_number(value):
    if isinstance(value, bool):
        return int(value)
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    value = float(f"{value:.7g}")
    return int(value) if value.is_integer() and abs(value) < 1e6 and math.copysign(1, value + 0.5) > 0 else value


def encode_all(tensor):
    return [encode_number(value) for value in tensor.detach().flatten().tolist()]


def listed(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def sample(op, function, inputs, args=None, grad=True):
    """
    Runs `function` on the inputs in float64 and records what it gives, with the gradients of the float inputs
    (`grad`: all, none, or the places of those wanted). `args` is how tapeform calls `op`: "$0" is input 0; default all
    inputs in order. Result types are those of PyTorch for inputs of the real types.
    """
    number = len(SAMPLES.get(op, ()))
    real = [tensor_of(spec, op, number, k, real=True) for k, spec in enumerate(inputs)]
    types = [OURS[y.dtype] for y in listed(function(*real))]
    if any(spec.dtype == "u32" for spec in inputs):
        types = ["int" if dtype == "i32" else dtype for dtype in types]
    leaves = [tensor_of(spec, op, number, k, real=False) for k, spec in enumerate(inputs)]
    wanted = [k for k, spec in enumerate(inputs) if spec.dtype in FLOATS and (grad is True or grad and k in grad)]
    for k in wanted:
        leaves[k].requires_grad_()
    outputs = listed(function(*leaves))
    total = sum(
        (y * torch.tensor(cotangent(y, op, number, k)).reshape(y.shape)).sum()
        for k, y in enumerate(outputs)
        if y.requires_grad
    )
    grads = [None] * len(leaves)
    if wanted and isinstance(total, torch.Tensor):
        total.backward()
        grads = [leaf.grad if k in wanted else None for k, leaf in enumerate(leaves)]
    shapes = [spec_text(dtype, y.shape) for dtype, y in zip(types, outputs)]
    first = spec_text(inputs[0].dtype, inputs[0].shape) if inputs else None
    row = [
        [spec.encode() for spec in inputs],
        args or 0,
        [["" if shape == first else shape, encode_all(y)] for shape, y in zip(shapes, outputs)],
    ]
    if any(value is not None for value in grads):
        row.append([0 if value is None else encode_all(value) for value in grads])
    SAMPLES.setdefault(op, []).append(row)


def spec_text(dtype, shape):
    return f"{dtype} {','.join(map(str, shape))}".rstrip()


def tensor_of(spec, op, number, k, real):
    dtype = REAL[spec.dtype] if real or spec.dtype not in FLOATS else torch.float64
    return torch.tensor(spec.numbers(f"{op}/{number}/{k}"), dtype=torch.float64).to(dtype).reshape(spec.shape)


def cotangent(y, op, number, k):
    """Quarters from -2 to 2: short, and exact in every type."""
    return [math.floor(17 * u) / 4 - 2 for u in uniform(y.numel(), f"{op}/{number}/g{k}")]
