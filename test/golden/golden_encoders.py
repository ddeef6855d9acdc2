"""For each family of encoders: tiny-NAME/, a small random model for masked tokens saved by Transformers, and
NAME.json and NAME.safetensors, what Transformers computes with it, head by head.

NAME.safetensors holds, under `HEAD/`: `weight.` the parameters that tiny-NAME/ has no values for (a new head),
`output.` what forward returns, `grad.` gradients of the loss: of every parameter for the bare model, of the new
parameters for a head. Names after the prefix are those of Transformers. NAME.json holds the inputs and, by head,
the class, the labels, the loss, the norms of all gradients, and the other keys of the file that Transformers
saves; with one head a training run.

Rows 1 to 3 end in padding, row 0 has a token that nothing may attend to, row 2 has a padding token in its middle
that is attended to. The loss of the bare model is mean(last_hidden_state * cos(i)) + mean(pooler_output * sin(i))
with i the row-major index of the element.
"""

import os
import tempfile

import torch
import transformers
from safetensors import safe_open
from transformers import logging

from model_case import load_head, model_loss, run_training, write_case
from random_model import save_random

logging.set_verbosity_error()

LENGTHS = [9, 6, 8, 2]
WIDTH = max(LENGTHS)
VOCABULARY = 40
SHARED = dict(
    vocab_size=VOCABULARY,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
    max_position_embeddings=24,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.2,
)
FAMILIES = {
    "distilbert": dict(
        prefix="DistilBert",
        config=dict(
            vocab_size=VOCABULARY,
            dim=16,
            n_layers=2,
            n_heads=2,
            hidden_dim=20,
            max_position_embeddings=24,
            dropout=0.0,
            attention_dropout=0.0,
            qa_dropout=0.0,
            seq_classif_dropout=0.0,
            initializer_range=0.2,
        ),
    ),
    "roberta": dict(prefix="Roberta", config=dict(**SHARED, type_vocab_size=1)),
    "electra": dict(
        prefix="Electra", config=dict(**SHARED, type_vocab_size=2, embedding_size=12), more=("replaced-tokens",)
    ),
    "mpnet": dict(prefix="MPNet", config=dict(**SHARED)),
    "albert": dict(
        prefix="Albert",
        config=dict(
            **{**SHARED, "num_hidden_layers": 3},
            type_vocab_size=2,
            embedding_size=12,
            num_hidden_groups=2,
            classifier_dropout_prob=0.0,
            hidden_act="gelu_new",
        ),
        more=("sentence-order",),
    ),
    "deberta-v2": dict(
        prefix="DebertaV2",
        config=dict(
            **SHARED,
            relative_attention=True,
            position_buckets=4,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type="p2c|c2p",
            position_biased_input=False,
        ),
    ),
    "deberta-v2-apart": dict(
        prefix="DebertaV2",
        config=dict(
            **SHARED,
            relative_attention=True,
            max_relative_positions=6,
            pos_att_type=["c2p", "p2c"],
            type_vocab_size=2,
            legacy=False,
        ),
    ),
}


def make_inputs(config):
    generator = torch.Generator().manual_seed(52)
    ids = torch.randint(5, VOCABULARY, (len(LENGTHS), WIDTH), generator=generator)
    mask = torch.tensor([[int(column < length) for column in range(WIDTH)] for length in LENGTHS])
    types = torch.tensor([[int(column >= length // 2) for column in range(WIDTH)] for length in LENGTHS]) * mask
    ids = ids.masked_fill(mask == 0, config.pad_token_id)
    ids[2, 3] = config.pad_token_id
    mask[0, 4] = 0
    typed = {"token_type_ids": types} if getattr(config, "type_vocab_size", 0) > 1 else {}
    return {"input_ids": ids, "attention_mask": mask, **typed}


def make_heads(prefix, config, more):
    """name: (class, settings, labels)"""
    generator = torch.Generator().manual_seed(53)
    mask = make_inputs(config)["attention_mask"].bool()
    tokens = torch.randint(0, 5, mask.shape, generator=generator).masked_fill(~mask, -100)
    chosen = (torch.rand(mask.shape, generator=generator) < 0.4) & mask
    masked = torch.randint(0, VOCABULARY, mask.shape, generator=generator).masked_fill(~chosen, -100)
    replaced = torch.randint(0, 2, mask.shape, generator=generator)
    answers = {"start_positions": torch.tensor([2, 0, WIDTH, 1]), "end_positions": torch.tensor([5, 4, WIDTH + 4, 1])}
    wishes = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    several = {"num_labels": 3, "problem_type": "multi_label_classification"}
    heads = {
        "model": ("Model", {}, {}),
        "masked-lm": ("ForMaskedLM", {}, {"labels": masked}),
        "sequence-classification": (
            "ForSequenceClassification",
            {"num_labels": 3},
            {"labels": torch.tensor([2, 0, 1, 1])},
        ),
        "sequence-multi-label": ("ForSequenceClassification", several, {"labels": wishes}),
        "token-classification": ("ForTokenClassification", {"num_labels": 5}, {"labels": tokens}),
        "question-answering": ("ForQuestionAnswering", {}, answers),
        "replaced-tokens": ("ForPreTraining", {}, {"labels": replaced}),
        "sentence-order": (
            "ForPreTraining",
            {},
            {"labels": masked, "sentence_order_label": torch.tensor([0, 1, 1, 0])},
        ),
    }
    usual = list(heads)[:6]
    return {name: (getattr(transformers, prefix + heads[name][0]), *heads[name][1:]) for name in (*usual, *more)}


def saved_keys(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(os.path.join(folder, "model.safetensors"), "pt") as file:
            return sorted(file.keys())


def run_head(path, inputs, cls, settings, labels):
    model, new = load_head(cls, path, settings, seed=54)
    bare = not labels
    extras = {"output_hidden_states": True, "output_attentions": True} if bare else {}
    output = model(**inputs, **labels, **extras)
    loss = model_loss(output) if bare else output.loss
    loss.backward()
    tensors = {f"weight.{key}": value for key, value in model.named_parameters() if key in new}
    for key, value in output.items():
        if key != "loss":
            parts = (
                {f"{key}.{index}": part for index, part in enumerate(value)}
                if isinstance(value, tuple)
                else {key: value}
            )
            tensors.update({f"output.{part}": tensor for part, tensor in parts.items()})
    grads = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    tensors.update({f"grad.{key}": grad for key, grad in grads.items() if bare or key in new})
    golden = {
        "class": cls.__name__,
        "config": settings,
        "labels": {
            key: {"shape": list(value.shape), "data": value.flatten().tolist()} for key, value in labels.items()
        },
        "loss": loss.item(),
        "newKeys": new,
        "withoutGradient": sorted(set(saved_keys(model)) - set(grads)),
        "gradientNorms": {key: float(f"{grad.norm().item():.6g}") for key, grad in grads.items()},
    }
    return golden, tensors


def write_family(folder, name, prefix, config, more=()):
    torch.manual_seed(51)
    path = os.path.join(folder, f"tiny-{name}")
    settings = getattr(transformers, f"{prefix}Config")(**config)
    save_random(getattr(transformers, f"{prefix}ForMaskedLM")(settings), path)
    inputs = make_inputs(settings)
    golden = {"inputs": {key: value.tolist() for key, value in inputs.items()}}
    tensors = {}
    heads = make_heads(prefix, settings, more)
    for head, (cls, arguments, labels) in heads.items():
        golden[head], found = run_head(path, inputs, cls, arguments, labels)
        tensors.update({f"{head}/{key}": tensor for key, tensor in found.items()})
    cls, arguments, labels = heads["sequence-classification"]
    golden["training"] = run_training(load_head(cls, path, arguments, seed=54)[0], inputs, labels["labels"])
    write_case(folder, name, tensors, golden)


def generate(folder, minilm):
    for name, family in FAMILIES.items():
        write_family(folder, name, **family)
