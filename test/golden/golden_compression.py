"""compression.json: weights of 4 and 8 bits with learned steps, as PyTorch's own op has them, and their gradients;
zeros as the library hqq finds them: pip install --no-deps hqq==0.2.8.post1, into an environment of its own, for
Transformers does not load beside it.
"""

import json
import os

import torch
from hqq.core.optimize import optimize_weights_proximal_legacy


def fake_quantized(bits):
    """A weight [3, 64] in groups of 32, scales [6], and the gradients of sum(y * upstream)."""
    generator = torch.Generator().manual_seed(bits)
    weight = torch.randn(3, 64, generator=generator)
    weight[1, 5] = 6.0  # far outside of what its scale reaches
    scale = 0.3 * torch.rand(6, generator=generator) / (1 if bits == 4 else 16) + 0.01
    lowest, highest = (-8, 7) if bits == 4 else (-127, 127)
    # Within half a step of the ends PyTorch lets gradients through, and LSQ does not.
    steps = weight.reshape(6, 32) / scale[:, None]
    at_end = ((steps > highest) & (steps < highest + 0.6)) | ((steps < lowest) & (steps > lowest - 0.6))
    weight = torch.where(at_end, 0.5 * weight.reshape(6, 32), weight.reshape(6, 32)).reshape(3, 64)
    upstream = torch.randn(3, 64, generator=generator)
    w, s = weight.clone().requires_grad_(), scale.clone().requires_grad_()
    y = torch._fake_quantize_learnable_per_channel_affine(
        w.reshape(6, 32), s, torch.zeros(6), 0, lowest, highest, 1.0
    ).reshape(3, 64)
    (y * upstream).sum().backward()
    arrays = {"weight": weight, "scale": scale, "upstream": upstream, "y": y, "weightGrad": w.grad, "scaleGrad": s.grad}
    return {"bits": bits, **{name: x.detach().flatten().tolist() for name, x in arrays.items()}}


def half_quadratic():
    """Weights of 6 blocks of 32, one of them with a few that are far from the others."""
    generator = torch.Generator().manual_seed(7)
    weights = torch.randn(6, 32, generator=generator)
    weights[2, :3] *= 4.0
    low, high = weights.amin(1, keepdim=True), weights.amax(1, keepdim=True)
    scale = 15 / (high - low)
    zero = torch.round(-low * scale)
    codes, scale, zero = optimize_weights_proximal_legacy(weights, scale, zero, [0, 15], axis=1, device="cpu")
    arrays = {"weights": weights, "codes": codes, "inverses": scale, "zeros": zero}
    return {name: x.flatten().tolist() for name, x in arrays.items()}


def generate(folder, _):
    with open(os.path.join(folder, "compression.json"), "w") as file:
        numbers = {"fakeQuantized": [fake_quantized(bits) for bits in (4, 8)], "halfQuadratic": half_quadratic()}
        json.dump(numbers, file)
        file.write("\n")
