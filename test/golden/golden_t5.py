"""tiny-t5/, tiny-t5-gated/: small random T5ForConditionalGeneration saved by Transformers, the second one of the
kind of v1.1 (gated GELU, a head of its own that is not scaled); t5.json, t5-gated.json and their .safetensors:
what Transformers computes with them, as golden_bart.py has it. `buckets` of t5.json: the buckets of distances
from -150 to 150, for several settings.
"""

import json
import os

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from model_case import seq2seq_case, seq2seq_inputs
from random_model import save_random

SHAPE = dict(
    vocab_size=41,
    d_model=16,
    d_kv=8,
    d_ff=20,
    num_layers=2,
    num_decoder_layers=2,
    num_heads=3,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    dropout_rate=0.0,
    initializer_factor=1.0,
    decoder_start_token_id=0,
)
OPTIONS = [
    {"max_new_tokens": 20, "no_repeat_ngram_size": 1},
    {"max_new_tokens": 10, "num_beams": 3, "forced_bos_token_id": 7, "forced_eos_token_id": 1},
    {"max_length": 9, "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 2, "early_stopping": True},
]
BUCKETS = [(32, 128, True), (32, 128, False), (8, 12, True), (8, 12, False), (32, 100, True), (20, 50, False)]


def buckets_of(number, distance, bidirectional):
    relative = torch.arange(-150, 151)
    return T5Attention._relative_position_bucket(relative, bidirectional, number, distance).tolist()


def save(path, is_gated):
    gated = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False) if is_gated else {}
    save_random(T5ForConditionalGeneration(T5Config(**SHAPE, **gated)), path)
    os.remove(os.path.join(path, "generation_config.json"))
    if not is_gated:
        return
    # As the files of v1.1 are: Transformers 5 keeps the head apart where its values differ.
    weights = load_file(os.path.join(path, "model.safetensors"))
    weights["lm_head.weight"] = torch.randn(SHAPE["vocab_size"], SHAPE["d_model"])
    save_file(weights, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps({**config, "tie_word_embeddings": False}, indent=2) + "\n")


def generate(folder, minilm):
    torch.manual_seed(51)
    for name in ("t5", "t5-gated"):
        path = os.path.join(folder, f"tiny-{name}")
        save(path, name == "t5-gated")

        def load():
            # Dropout is 0, so training mode changes nothing but is what training runs in.
            return T5ForConditionalGeneration.from_pretrained(
                path, attn_implementation="eager", dtype=torch.float32
            ).train()

        inputs, labels = seq2seq_inputs(41, 52, 0)
        more = {"buckets": [[*rule, buckets_of(*rule)] for rule in BUCKETS]} if name == "t5" else {}
        seq2seq_case(folder, name, load, inputs, labels, 2, OPTIONS, more)
