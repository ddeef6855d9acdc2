"""op-samples.json: several samples of every op, as torch.testing's OpInfo has them, computed in float64.

For each op a list of [inputs, args, outputs, grads]. An input is "dtype shape", such as "f32 2,3". Its values are
drawn from Philox, see op_sample.py: floats are multiples of 1/16 from -2 to 2, unless a range follows ("f32 3 0..4") or
values are given (["f32 2", [0, "nan"]]). `args` is how tapeform calls the op, "$0" is input 0; 0 stands for all inputs.
An output is ["dtype shape", values]; "" is input 0's type and shape, int is i32 or u32. grads[k] is the gradient of the
sum over all float outputs of sum(output * cotangent) by input k, 0 where there is none; no grads where there are none.
Numbers have 7 significant digits.
"""

import json
import os
import warnings

import samples_elementwise
import samples_layout
import samples_nn
from op_sample import SAMPLES


def generate(folder, minilm):
    warnings.filterwarnings("ignore")  # of padding "same" with an even kernel, and of klDiv's plain mean
    SAMPLES.clear()
    for part in (samples_elementwise, samples_layout, samples_nn):
        part.samples()
    with open(os.path.join(folder, "op-samples.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(f'"{op}":[\n{lines(rows)}\n]' for op, rows in SAMPLES.items()) + "\n}\n")


def lines(rows):
    return ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
