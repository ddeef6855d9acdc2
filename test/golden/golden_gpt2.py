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

from model_case import run_forward, run_training, write_case
from random_model import save_random

VOCABULARY = 97
LENGTHS = [10, 6, 10]
WIDTH = max(LENGTHS)
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


def make_inputs():
    generator = torch.Generator().manual_seed(12)
    ids = torch.randint(1, VOCABULARY, (len(LENGTHS), WIDTH), generator=generator)
    mask = torch.tensor([[int(column < length) for column in range(WIDTH)] for length in LENGTHS])
    labels = ids.masked_fill(mask == 0, -100)
    ids = ids * mask
    mask[HOLE] = 0
    positions = torch.stack([torch.randperm(32, generator=generator)[:WIDTH] for _ in LENGTHS])
    return {"input_ids": ids, "attention_mask": mask}, labels, positions


def load(path, **settings):
    # Dropout is 0, so training mode changes nothing but is what training runs in.
    return GPT2LMHeadModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32, **settings).train()


def generate(folder, minilm):
    path = os.path.join(folder, "tiny-gpt2")
    make_model(path)
    inputs, labels, positions = make_inputs()
    loss, tensors = run_forward(load(path), inputs, labels, ("hidden_states", "attentions"))
    with torch.no_grad():
        tensors["positions.logits"] = load(path)(**inputs, position_ids=positions).logits
        tensors["scaled.logits"] = load(path, scale_attn_by_inverse_layer_idx=True)(**inputs).logits
    golden = {
        "inputs": {name: value.tolist() for name, value in inputs.items()},
        "labels": labels.tolist(),
        "positions": positions.tolist(),
        "loss": loss,
        "training": run_training(load(path), inputs, labels),
    }
    write_case(folder, "gpt2", tensors, golden)
