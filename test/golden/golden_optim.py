"""optim.json: what torch.optim and the schedules of Transformers do, in float64.

optimizers: the parameters minimise 0.5 * sum(scale * (w - target)^2), so the gradient is scale * (w - target); `values`
lists them after each of ten steps. matrices: the same for methods that look at whole matrices, over parameters of
three, two and one axes (`shapes`), whose target is 0 and whose start and scale are START_OF and SCALE_OF of an
element's number; `values` lists what the last step leaves. Muon's iteration is in float64 where PyTorch has bfloat16.
schedules: the learning rate for each step, from a base rate of 0.001. clipping: torch.nn.utils.clip_grad_norm_.
"""

import contextlib
import json
import math
import os

import torch
from torch.optim import lr_scheduler
from transformers import (
    Adafactor,
    get_constant_schedule,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

START = [[0.5, -1.25, 2.0, 0.0, -3.5, 1.0], [0.75, -0.125]]
TARGET = [[1.0, -1.0, 0.0, 0.0, 4.0, 1.0], [-2.0, 0.5]]
SCALE = [[1.0, 0.5, 2.0, 1.0, 0.25, 1.0], [3.0, 0.0625]]

# Each: (name, options by their names in torch, options of the second parameter's group where it has its own)
OPTIMIZERS = [
    ("SGD", {"lr": 0.1}, None),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}, None),
    ("SGD", {"lr": 0.1, "momentum": 0.9}, None),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.25}, None),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, None),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {"lr": 0.01, "weight_decay": 0.0}),
    ("AdamW", {"lr": 0.1}, None),
    ("AdamW", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.0}, None),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.02, "weight_decay": 0.0}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.02, "weight_decay": 0.0}),
    ("RMSprop", {"lr": 0.01, "weight_decay": 0.1}, None),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5}, {"lr": 0.02}),
    ("RMSprop", {"lr": 0.01, "centered": True}, None),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.1}, {"centered": True}),
]

SHAPES = [[2, 3, 2], [3, 4], [4, 2], [5]]
START_OF = lambda i: math.sin(3 * i) + 0.1
SCALE_OF = lambda i: 1.5 + math.cos(i)

# Each: (name, class, options by their names there, numbers of the parameters in SHAPES)
MATRICES = [
    ("Adafactor", Adafactor, {}, [0, 1, 2, 3]),
    ("Adafactor", Adafactor, {"warmup_init": True, "beta1": 0.8, "weight_decay": 0.1}, [0, 1, 2, 3]),
    (
        "Adafactor",
        Adafactor,
        {"lr": 0.05, "relative_step": False, "scale_parameter": False, "clip_threshold": 0.5, "weight_decay": 0.1},
        [0, 1, 2, 3],
    ),
    ("Adafactor", Adafactor, {"lr": 0.1, "relative_step": False, "decay_rate": -0.5, "eps": [1e-6, 0.5]}, [1, 3]),
    ("Muon", torch.optim.Muon, {}, [1, 2]),
    ("Muon", torch.optim.Muon, {"lr": 0.05, "momentum": 0.8, "nesterov": False, "weight_decay": 0.5}, [1, 2]),
    ("Muon", torch.optim.Muon, {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}, [2, 1]),
    (
        "Muon",
        torch.optim.Muon,
        {"lr": 0.02, "adjust_lr_fn": "spectral_unclamped", "ns_coefficients": [2, -1.5, 0.5], "eps": 10.0},
        [1, 2],
    ),
]

SCHEDULES = [
    ("constant", get_constant_schedule, {}),
    ("constantWithWarmup", get_constant_schedule_with_warmup, {"num_warmup_steps": 5}),
    ("linearWithWarmup", get_linear_schedule_with_warmup, {"num_warmup_steps": 5, "num_training_steps": 20}),
    ("linearWithWarmup", get_linear_schedule_with_warmup, {"num_warmup_steps": 0, "num_training_steps": 20}),
    ("linearWithWarmup", get_linear_schedule_with_warmup, {"num_warmup_steps": 20, "num_training_steps": 20}),
    ("cosineWithWarmup", get_cosine_schedule_with_warmup, {"num_warmup_steps": 5, "num_training_steps": 20}),
    (
        "cosineWithWarmup",
        get_cosine_schedule_with_warmup,
        {"num_warmup_steps": 0, "num_training_steps": 20, "num_cycles": 2},
    ),
]


# Each: (name, maker, options by their names there), for groups of rates 0.1 and 0.01
LR_SCHEDULERS = [
    ("CosineAnnealingLR", lr_scheduler.CosineAnnealingLR, {"T_max": 15}),
    ("CosineAnnealingLR", lr_scheduler.CosineAnnealingLR, {"T_max": 30, "eta_min": 0.005}),
    ("LinearLR", lr_scheduler.LinearLR, {}),
    ("LinearLR", lr_scheduler.LinearLR, {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 12}),
    ("StepLR", lr_scheduler.StepLR, {"step_size": 4, "gamma": 0.5}),
    ("ExponentialLR", lr_scheduler.ExponentialLR, {"gamma": 0.9}),
    ("LambdaLR", lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.95**step), {}),
    ("constantWithWarmup", get_constant_schedule_with_warmup, {"num_warmup_steps": 5}),
    ("linearWithWarmup", get_linear_schedule_with_warmup, {"num_warmup_steps": 5, "num_training_steps": 15}),
    ("cosineWithWarmup", get_cosine_schedule_with_warmup, {"num_warmup_steps": 5, "num_training_steps": 15}),
]


def camel(name):
    first, *rest = name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def options_json(options):
    return None if options is None else {camel(name): value for name, value in options.items()}


def run_optimizer(name, options, second):
    parameters = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in START]
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    groups = (
        [{"params": parameters}]
        if second is None
        else [{"params": parameters[:1]}, {"params": parameters[1:], **second}]
    )
    optimizer = getattr(torch.optim, name)(groups, **options)
    values = []
    for _ in range(10):
        optimizer.zero_grad()
        losses = [
            (0.5 * torch.tensor(s).double() * (w - torch.tensor(t).double()) ** 2).sum()
            for w, t, s in zip(parameters, TARGET, SCALE)
        ]
        sum(losses).backward()
        optimizer.step()
        values.append([parameter.tolist() for parameter in parameters])
    return {"name": name, "options": options_json(options), "secondGroup": options_json(second), "values": values}


@contextlib.contextmanager
def muon_in_float64():
    """torch.optim.Muon's own Newton-Schulz iteration, but for its cast to bfloat16."""
    original = torch.bfloat16
    torch.bfloat16 = torch.float64
    try:
        yield
    finally:
        torch.bfloat16 = original


def run_matrices(name, make, options, chosen):
    """Twelve steps in float64 on one gradient for all, scale * w."""

    def filled(shape, of):
        return torch.tensor([of(i) for i in range(math.prod(shape))], dtype=torch.float64).reshape(shape)

    shapes = [SHAPES[i] for i in chosen]
    parameters = [filled(shape, START_OF).requires_grad_() for shape in shapes]
    optimizer = make(parameters, **options)
    for _ in range(12):
        for parameter, shape in zip(parameters, shapes):
            parameter.grad = filled(shape, SCALE_OF) * parameter.detach()
        with muon_in_float64() if name == "Muon" else contextlib.nullcontext():
            optimizer.step()
    values = [parameter.flatten().tolist() for parameter in parameters]
    return {"name": name, "options": options_json(options), "shapes": shapes, "steps": 12, "values": values}


def run_schedule(name, make, options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = make(optimizer, **options)
    rates = []
    for _ in range(23):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return {"name": name, "options": options_json(options), "learningRates": rates}


def run_lr_scheduler(name, make, options):
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.01)]
    optimizer = torch.optim.SGD(groups)
    scheduler = make(optimizer, **options)
    rates = []
    for _ in range(20):
        rates.append(scheduler.get_last_lr())
        optimizer.step()
        scheduler.step()
    return {"name": name, "options": options_json(options), "learningRates": rates}


def run_clipping(gradients, limit):
    parameters = [torch.zeros(len(values), dtype=torch.float64, requires_grad=True) for values in gradients]
    for parameter, values in zip(parameters, gradients):
        parameter.grad = torch.tensor(values, dtype=torch.float64)
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit).item()
    return {
        "gradients": gradients,
        "maxNorm": limit,
        "norm": norm,
        "clipped": [parameter.grad.tolist() for parameter in parameters],
    }


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return {key: rounded(part) for key, part in value.items()} if isinstance(value, dict) else value


def generate(folder, minilm):
    golden = {
        "problem": {"start": START, "target": TARGET, "scale": SCALE},
        "optimizers": [run_optimizer(*case) for case in OPTIMIZERS],
        "matrices": [run_matrices(*case) for case in MATRICES],
        "schedules": [run_schedule(*case) for case in SCHEDULES],
        "lrSchedulers": [run_lr_scheduler(*case) for case in LR_SCHEDULERS],
        "clipping": [run_clipping([[3.0, 0.0], [-4.0]], limit) for limit in (1.0, 4.999, 5.0, 100.0)]
        + [run_clipping([[0.0], [0.0]], 1.0)],
    }
    with open(os.path.join(folder, "optim.json"), "w", encoding="utf-8") as file:
        parts = []
        for key, value in golden.items():
            body = (
                ",\n".join(json.dumps(rounded(row)) for row in value) if isinstance(value, list) else json.dumps(value)
            )
            parts.append(f'"{key}": [\n{body}\n]' if isinstance(value, list) else f'"{key}": {body}')
        file.write("{\n" + ",\n".join(parts) + "\n}\n")
