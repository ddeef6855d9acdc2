"""dtypes.safetensors: every dtype we read, written by the safetensors library; dtypes.json: its values.

safetensors-headers.json: headers, in latin1, before 8 bytes of data; `accepted`: by the Rust reader.
"""

import json
import os
import struct
import tempfile

import torch
from safetensors import safe_open
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

GOOD = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
# Each %s is GOOD.
HEADERS = {
    "plain": '{"a":%s}',
    "a size of 2.0": '{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}',
    "a size of 2e0": '{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}',
    "an offset of -0": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[-0,8]}}',
    "an offset of 0.0": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0.0,8]}}',
    "dtype twice": '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "metadata twice": '{"__metadata__":{},"__metadata__":{},"a":%s}',
    "an unknown field": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1.5}}',
    "a byte that is no UTF-8": '{"a\xff":%s}',
    "an overlong NUL": '{"a\xc0\x80":%s}',
    "a surrogate in UTF-8": '{"a\xed\xa0\x80":%s}',
    "a high surrogate alone": '{"a\\ud800":%s}',
    "a low surrogate alone": '{"a\\udc00":%s}',
    "a high surrogate before a letter": '{"a\\ud800\\u0041":%s}',
    "a pair": '{"a\\ud83d\\ude00":%s}',
    "half a pair in metadata": '{"__metadata__":{"k":"\\ud800"},"a":%s}',
    "half a pair in an unknown field": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":"\\ud800"}}',
    "spaces at the end": '{"a":%s}   ',
    "NUL at the end": '{"a":%s}\x00',
    "a size of 2^64 beside 0": '{"a":%s,"b":{"dtype":"F32","shape":[18446744073709551616,0],"data_offsets":[8,8]}}',
    "sizes that overflow before a 0":
        '{"a":%s,"b":{"dtype":"F32","shape":[1099511627776,1099511627776,0],"data_offsets":[8,8]}}',
    "sizes that would overflow after a 0":
        '{"a":%s,"b":{"dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[8,8]}}',
    "200 lists": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":' + 200 * "[" + 200 * "]" + "}}",
    "100 lists": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":' + 100 * "[" + 100 * "]" + "}}",
    "metadata of null": '{"__metadata__":null,"a":%s}',
    "names of Object": '{"__metadata__":{"__proto__":"x","constructor":"y"},"__proto__":%s}',
    "an empty name": '{"":%s}',
    "empty tensors between": '{"a":%s,"b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
    "an empty tensor inside another": '{"a":%s,"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}',
    "a line end in a name": '{"a\n":%s}',
    "three offsets": '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}',
}


def accepts(header):
    """Whether the Rust reader opens a file with these bytes as its header."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(struct.pack("<Q", len(header)) + header + bytes(8))
        file.flush()
        try:
            with safe_open(file.name, framework="pt"):
                return True
        except Exception:
            return False


def generate(folder, minilm):
    headers = {name: text.replace("%s", GOOD) for name, text in HEADERS.items()}
    cases = [
        {"name": name, "header": text, "accepted": accepts(text.encode("latin1"))} for name, text in headers.items()
    ]
    with open(os.path.join(folder, "safetensors-headers.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
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
