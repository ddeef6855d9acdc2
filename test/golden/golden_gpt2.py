"""tiny-gpt2/: a small random GPT2LMHeadModel saved by Transformers; gpt2.json and gpt2.safetensors: what
Transformers computes with it.

gpt2.safetensors holds, by prefix: `output.` what forward returns, `grad.` the gradient of the loss by every
parameter,
`positions.` and `scaled.` the logits with other positions and with scores divided by the number of the layer.
Names after the prefix are those of Transformers. gpt2.json holds the inputs, the labels, the loss, and a
training run.

Row 1 ends in padding; row 2 has a token in its middle that nothing may attend to.
"""

import os

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from model_case import causal_case, causal_inputs, load_eager
from random_model import save_random

VOCABULARY = 97
LENGTHS = [10, 6, 10]
HOLE = (2, 3)


def make_model(path):
    torch.manual_seed(11)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_inner=80,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.15,
        bos_token_id=0,
        eos_token_id=0,
    )
    save_random(GPT2LMHeadModel(config), path)
    os.remove(os.path.join(path, "generation_config.json"))


def load(path, **settings):
    return load_eager(GPT2LMHeadModel, path, **settings)


def generate(folder, minilm):
    path = os.path.join(folder, "tiny-gpt2")
    make_model(path)
    batch = causal_inputs(12, (1, VOCABULARY), LENGTHS, HOLE, 32)

    def change(tensors):
        tensors["scaled.logits"] = load(path, scale_attn_by_inverse_layer_idx=True)(**batch[0]).logits

    causal_case(folder, "gpt2", lambda: load(path), batch, change)
