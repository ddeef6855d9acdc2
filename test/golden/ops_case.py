"""How a case of torch-ops.json is run and recorded; golden_ops.py says what the file holds."""

import math

import torch

CASES = []


def rounded(value):
    if math.isnan(value):
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return float(f"{value:.7g}")


def encode(tensor):
    if tensor is None:
        return None
    names = {torch.float64: "f32", torch.int64: "i32", torch.bool: "bool"}
    data = tensor.detach().flatten().tolist()
    if tensor.is_floating_point():
        # 1 instead of 1.0: half the file is such numbers.
        data = [
            int(value)
            if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 and str(value) != "-0.0"
            else value
            for value in map(rounded, data)
        ]
    return {"shape": list(tensor.shape), "dtype": names[tensor.dtype], "data": data}


# Weights of classes and elements are settings: some torch losses have no gradient by them.
FIXED = {"crossEntropy": (2,), "bceWithLogits": (2, 3)}


def case(op, function, inputs, attrs=None, grad=True):
    """Runs `function` on the inputs (floats become leaves) and records what it returns with the gradients."""
    leaves = []
    for index, value in enumerate(inputs):
        if value is not None and value.is_floating_point():
            # What the file says is what is computed with.
            value = torch.tensor([float(f"{x:.7g}") for x in value.flatten().tolist()], dtype=torch.float64).reshape(
                value.shape
            )
            value.requires_grad_(grad and index not in FIXED.get(op, ()))
        leaves.append(value)
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    total = sum(
        (output * torch.cos(torch.arange(output.numel()).double()).reshape(output.shape)).sum()
        for output in outputs
        if output.requires_grad
    )
    grads = [None] * len(leaves)
    if grad and isinstance(total, torch.Tensor):
        total.backward()
        grads = [leaf.grad if leaf is not None and leaf.requires_grad else None for leaf in leaves]
    CASES.append(
        {
            "op": op,
            "inputs": [encode(leaf) for leaf in leaves],
            "attrs": attrs or {},
            "outputs": [encode(output) for output in outputs],
            "grads": [encode(value) for value in grads],
        }
    )


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def floats(*values):
    return torch.tensor(values, dtype=torch.float64)


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


INF = float("inf")
