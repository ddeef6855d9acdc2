"""dtypes.safetensors: every dtype we read, written by the safetensors library; dtypes.json: its values."""

import json
import os

import torch
from safetensors.torch import save_file

HALVES = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    65504.0,
    6.103515625e-05,
    5.960464477539063e-08,
    -3.0517578125e-05,
    0.333251953125,
    float("inf"),
    float("-inf"),
]
BRAINS = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    3.3895313892515355e38,
    1.1754943508222875e-38,
    9.183549615799121e-41,
    0.333984375,
    float("inf"),
    float("-inf"),
]


def generate(folder, minilm):
    tensors = {
        "f32": torch.tensor([[1.5, -2.25, 1e-45], [3.4028234663852886e38, 0.1, -0.0]], dtype=torch.float32),
        "f64": torch.tensor([0.1, -1e300, 5e-324], dtype=torch.float64),
        "f16": torch.tensor(HALVES, dtype=torch.float16),
        "bf16": torch.tensor(BRAINS, dtype=torch.bfloat16),
        "i64": torch.tensor([[0, -1], [2**31 - 1, -(2**31)]], dtype=torch.int64),
        "i64_large": torch.tensor([2**53 + 1, -(2**63)], dtype=torch.int64),
        "i32": torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32),
        "i16": torch.tensor([[[-32768]], [[32767]]], dtype=torch.int16),
        "i8": torch.tensor([-128, 127, 0], dtype=torch.int8),
        "u8": torch.tensor([0, 255, 7], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(42.0),
        "empty": torch.zeros(3, 0),
    }
    save_file(tensors, os.path.join(folder, "dtypes.safetensors"), metadata={"format": "pt", "note": "two strings"})
    golden = {
        # Strings, since JSON has neither infinities nor 64-bit integers.
        name: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "values": [str(value) for value in tensor.flatten().tolist()],
        }
        for name, tensor in tensors.items()
    }
    with open(os.path.join(folder, "dtypes.json"), "w", encoding="utf-8") as file:
        file.write(
            "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items()) + "\n}\n"
        )
