"""torch-ops.json: ops whose PyTorch semantics are easy to get wrong, computed in float64 from inputs that f32
holds.

A list of {op, inputs, attrs, outputs, grads}. A tensor is {shape, dtype, data} with dtype f32, i32 or bool,
data row-major, rounded to 7 significant digits, non-finite values as "inf", "-inf" and "nan". `op` and
`attrs` have PyTorch's names in camelCase. grads[k] is the gradient of sum over all outputs of sum(output *
cos(i)), i the row-major index of the element, by inputs[k]; null where inputs[k] is no f32 or a class weight,
or the op has no gradient. An input that is null was left out.
"""

import json
import os
import warnings

import torch

import ops_nn
import ops_tensor
from ops_case import CASES


def generate(folder, minilm):
    # padding "same" with an even kernel, and the plain mean of klDiv, are what is wanted.
    warnings.filterwarnings("ignore", message="Using padding='same'|reduction: 'mean' divides")
    torch.manual_seed(7)
    CASES.clear()
    for part in (
        ops_nn.losses,
        ops_nn.normalisation,
        ops_nn.activations,
        ops_tensor.reductions,
        ops_tensor.indexing,
        ops_tensor.products,
        ops_tensor.convolutions,
    ):
        part()
    with open(os.path.join(folder, "torch-ops.json"), "w", encoding="utf-8") as file:
        # One line a case.
        file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in CASES) + "\n]\n")
