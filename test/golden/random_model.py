"""Small random models that Transformers saves, for the parts that compare models."""

import shutil

import torch


def save_random(model, path):
    """Moves the biases and scales of a freshly made model off 0 and 1, which would hide one left out, and
    saves it to a new folder."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(path)
