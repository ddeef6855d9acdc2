"""layers.json: what PyTorch's modules compute, in float64 from numbers that f32 holds.

A list of {layer, args, options, state, calls, grads, after, evaluated}, names in camelCase but for the keys of states.
A tensor is {shape, data}, 7 significant digits. `calls` lists the calls in training mode, {inputs, outputs}, after
loading `state`. grads are those of the sum over all calls and outputs of sum(output * cos(i)), i the row-major index:
`inputs` for each call, `parameters` by key. `after` holds the buffers behind the last call, `evaluated` the outputs of
the first inputs in evaluation mode then.
"""

import json
import os

import torch
from torch import nn

CASES = []


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def rounded(tensor):
    """The numbers that the file has."""
    numbers = [float(f"{x:.7g}") for x in tensor.flatten().tolist()]
    return torch.tensor(numbers, dtype=torch.float64).reshape(tensor.shape)


def encode(tensor):
    numbers = [float(f"{x:.7g}") for x in tensor.detach().flatten().tolist()]
    return {"shape": list(tensor.shape), "data": [int(x) if x.is_integer() else x for x in numbers]}


def flat(outputs):
    """Tuples in tuples, as LSTM returns them, as one list."""
    return [y for part in outputs for y in flat(part)] if isinstance(outputs, (tuple, list)) else [outputs]


def case(layer, args, shapes, options=None, calls=1, call=None, ours=None, note=""):
    """`call(module, *inputs)` where it is no plain call; `ours` are options of tapeform in the place of `options`."""
    options = options or {}
    call = call or (lambda module, *inputs: module(*inputs))
    module = getattr(nn, layer)(*args, **options).double().train()
    with torch.no_grad():
        # Ones, and zeros, would hide a weight that was left out.
        for parameter in module.parameters():
            parameter.copy_(rounded(torch.randn_like(parameter) * 0.5))
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(rounded(torch.rand_like(buffer) + 0.5))
    state = {key: encode(value) for key, value in module.state_dict().items()}
    draw = lambda shape: rounded(torch.randn(shape, dtype=torch.float64)).requires_grad_()
    inputs = [[draw(shape) for shape in shapes] for _ in range(calls)]
    outputs = [flat(call(module, *own)) for own in inputs]
    total = sum(
        (y * torch.cos(torch.arange(y.numel()).double()).reshape(y.shape)).sum() for own in outputs for y in own
    )
    total.backward()
    after = {key: encode(value) for key, value in module.named_buffers()}
    with torch.no_grad():
        evaluated = flat(call(module.eval(), *inputs[0]))
    CASES.append({
        "layer": layer,
        "note": note,
        "args": list(args),
        "options": {camel(key): value for key, value in (options if ours is None else ours).items()},
        "state": state,
        "calls": [
            {"inputs": [encode(x) for x in own], "outputs": [encode(y) for y in ys]} for own, ys in zip(inputs, outputs)
        ],
        "grads": {
            "inputs": [[encode(x.grad) for x in own] for own in inputs],
            "parameters": {key: encode(value.grad) for key, value in module.named_parameters()},
        },
        "after": after,
        "evaluated": [encode(y) for y in evaluated],
    })


def convolutions():
    case("Conv1d", (2, 4, 3), [(2, 2, 5)])
    case("Conv1d", (4, 2, 2), [(4, 6)], {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False})
    case("Conv2d", (2, 3, 2), [(2, 2, 3, 4)])
    case("Conv2d", (2, 4, (3, 2)), [(1, 2, 5, 4)], {"stride": (2, 1), "padding": (1, 0), "groups": 2})
    case("Conv2d", (1, 2, 3), [(1, 1, 3, 3)], {"padding": "same"})


def pools():
    case("MaxPool1d", (2,), [(1, 2, 5)])
    case("MaxPool2d", (3,), [(1, 2, 5, 4)], {"stride": 2, "padding": 1})
    case("AvgPool1d", (3,), [(1, 2, 6)], {"stride": 1, "padding": 1})
    case("AvgPool2d", (2,), [(1, 2, 4, 5)])
    case("AdaptiveAvgPool1d", (3,), [(1, 2, 5)])
    case("AdaptiveAvgPool2d", (1,), [(2, 3, 2, 4)])


def norms():
    case("BatchNorm1d", (3,), [(4, 3)], calls=3)
    case("BatchNorm1d", (2,), [(2, 2, 3)], {"momentum": None, "eps": 1e-3}, calls=3)
    case("BatchNorm2d", (2,), [(2, 2, 2, 3)], {"momentum": 0.3}, calls=2)
    case("BatchNorm2d", (2,), [(2, 2, 2, 2)], {"affine": False, "track_running_stats": False}, calls=2)
    case("GroupNorm", (2, 4), [(2, 4, 3)])
    case("GroupNorm", (3, 6), [(1, 6, 2, 2)], {"affine": False, "eps": 1e-3})


def attention():
    first = {"batch_first": True}
    none = lambda module, *x: module(x[0], x[-1], x[-1], need_weights=False)[0]
    case("MultiheadAttention", (4, 2), [(2, 3, 4)], first, call=none, ours={})
    case("MultiheadAttention", (6, 3), [(1, 2, 6), (1, 4, 6)], first, call=none, ours={})
    both = lambda module, *x: module(x[0], x[-1], x[-1])
    case("MultiheadAttention", (4, 2), [(2, 3, 4)], first, call=both, ours={}, note="weights")
    bare = {"batch_first": True, "bias": False}
    case("MultiheadAttention", (4, 2), [(1, 2, 4), (1, 3, 4)], bare, call=both, ours={"bias": False}, note="weights")


def recurrent():
    case("LSTM", (3, 2), [(4, 2, 3)])
    case("LSTM", (2, 3), [(2, 3, 2)], {"num_layers": 2, "batch_first": True, "bidirectional": True})
    given = lambda module, x, h, c: module(x, (h, c))
    case("LSTM", (2, 2), [(3, 1, 2), (1, 1, 2), (1, 1, 2)], {"bias": False}, call=given)
    case("GRU", (3, 2), [(4, 2, 3)])
    case("GRU", (2, 3), [(3, 2, 2), (4, 2, 3)], {"num_layers": 2, "bidirectional": True})


def generate(folder, minilm):
    torch.manual_seed(11)
    CASES.clear()
    for part in (convolutions, pools, norms, attention, recurrent):
        part()
    with open(os.path.join(folder, "layers.json"), "w", encoding="utf-8") as file:
        # One line a case.
        file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in CASES) + "\n]\n")
