"""tiny-bart/, tiny-mbart/, tiny-pegasus/: small random models saved by Transformers; NAME.json and
NAME.safetensors: what Transformers computes with them, as golden_marian.py has it, and the texts that they
generate.

tiny-bart-classify/ and bart-classify.json likewise for a head for labels of texts.

The decoder of the mBART begins with the last of the labels, since its config names no start.
"""

import os

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    MBartConfig,
    MBartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
)

from model_case import seq2seq_case, seq2seq_inputs
from random_model import save_random

SHAPE = dict(
    vocab_size=41,
    max_position_embeddings=20,
    d_model=16,
    encoder_layers=1,
    encoder_attention_heads=4,
    encoder_ffn_dim=20,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=24,
    dropout=0.0,
    init_std=0.3,
)
OPTIONS = [
    {"max_new_tokens": 12, "no_repeat_ngram_size": 1},
    {"max_new_tokens": 10, "num_beams": 3, "forced_bos_token_id": 7, "forced_eos_token_id": 2},
    {"max_length": 9, "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 2, "early_stopping": True},
]


def make_models():
    return {
        "bart": BartForConditionalGeneration(BartConfig(**SHAPE)),
        "mbart": MBartForConditionalGeneration(MBartConfig(**SHAPE, scale_embedding=True)),
        "pegasus": PegasusForConditionalGeneration(
            PegasusConfig(**SHAPE, scale_embedding=True, activation_function="relu")
        ),
    }


def classify(folder):
    """bart-classify: BartForSequenceClassification on two texts, the second one padded, each with its end."""
    path = os.path.join(folder, "tiny-bart-classify")
    labels = ["contradiction", "neutral", "entailment"]
    config = BartConfig(**SHAPE, id2label=dict(enumerate(labels)), label2id={key: i for i, key in enumerate(labels)})
    save_random(BartForSequenceClassification(config), path)

    def load():
        kind = BartForSequenceClassification
        return kind.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).train()

    inputs, _ = seq2seq_inputs(41, 43, config.pad_token_id)
    for row, length in zip(inputs["input_ids"], inputs["attention_mask"].sum(1).tolist()):
        row[2] = row[length - 1] = config.eos_token_id
    labels = torch.tensor([2, 0])
    seq2seq_case(folder, "bart-classify", load, inputs, labels, 1)


def generate(folder, minilm):
    torch.manual_seed(41)
    for name, model in make_models().items():
        path = os.path.join(folder, f"tiny-{name}")
        model.final_logits_bias.normal_(std=0.3)
        save_random(model, path)
        os.remove(os.path.join(path, "generation_config.json"))

        def load():
            # Dropout is 0, so training mode changes nothing but is what training runs in.
            loaded = type(model).from_pretrained(path, attn_implementation="eager", dtype=torch.float32).train()
            if name == "pegasus":  # sines; loading forgets that they are not learned
                for side in (loaded.model.encoder, loaded.model.decoder):
                    side.embed_positions.weight.requires_grad_(False)
            return loaded

        inputs, labels = seq2seq_inputs(41, 42, model.config.pad_token_id)
        seq2seq_case(folder, name, load, inputs, labels, 1, OPTIONS)
    torch.manual_seed(42)
    classify(folder)
