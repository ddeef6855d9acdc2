"""tiny-llama/, tiny-qwen2/, tiny-qwen3/: small random models saved by Transformers; NAME.json and
NAME.safetensors: what Transformers computes with them.

Llama has an untied head and grouped queries; Qwen2 a tied head, biases on queries, keys and values, and
frequencies scaled as in Llama 3 (one kept, one blended, two stretched); Qwen3 normalised heads of another
size than hidden_size / heads.

NAME.safetensors holds, by prefix: `output.` what forward returns, `grad.` the gradient of the loss by every
parameter,
`positions.` the logits with other positions. Names after the prefix are those of Transformers. NAME.json
holds the inputs, the labels, the loss, and a training run.

Row 1 ends in padding; row 2 has a token in its middle that nothing may attend to.
"""

import os

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from model_case import causal_case, causal_inputs, load_eager
from random_model import save_random

VOCABULARY = 61
POSITIONS = 600
LENGTHS = [10, 6, 10]
HOLE = (2, 3)

SHAPE = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=POSITIONS,
    initializer_range=0.15,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
STRETCHED = dict(
    rope_type="llama3",
    rope_theta=100.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)


def make_cases():
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**SHAPE)),
        "qwen2": Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True, rope_parameters=STRETCHED)),
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**{**SHAPE, "head_dim": 12, "num_hidden_layers": 1})),
    }


def generate(folder, minilm):
    torch.manual_seed(21)
    for name, model in make_cases().items():
        path = os.path.join(folder, f"tiny-{name}")
        save_random(model, path)
        os.remove(os.path.join(path, "generation_config.json"))

        def load():
            return load_eager(type(model), path)

        causal_case(folder, name, load, causal_inputs(22, (1, VOCABULARY), LENGTHS, HOLE, POSITIONS))
