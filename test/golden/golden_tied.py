"""tied.json: what Transformers makes of files that hold a weight under two names which config.json ties.

Each case takes a tiny model of this folder, sets `tie_word_embeddings` to `tie` (null: the key is not there),
drops the keys in `without` and adds those of `added`: name -> [the name it is made of, whether it is equal]. One
that is not equal holds the values in reverse order, times 0.5. `apart` lists the pairs that Transformers warns of and
keeps apart, `parameters` is how many are learned, `saved` those of the keys in question that are in the file which it
saves; then logits of one place, and a training run.
"""

import json
import logging
import os
import re
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM, GPT2LMHeadModel, LlamaForCausalLM, MarianMTModel, Qwen2ForCausalLM

from model_case import run_training

GPT2 = {"lm_head.weight": "transformer.wte.weight"}
LLAMA = {"lm_head.weight": "model.embed_tokens.weight"}
BERT = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
SHARED = "model.shared.weight"
MARIAN = {f"model.{side}.embed_tokens.weight": SHARED for side in ("encoder", "decoder")}
MARIAN["lm_head.weight"] = SHARED


def case(folder, cls, names, apart=(), equal=(), tie=True, without=()):
    added = {key: [names[key], key in equal] for key in (*apart, *equal)}
    names = sorted({*names.keys(), *names.values()})
    return {
        "folder": folder, "class": cls.__name__, "tie": tie, "without": list(without), "added": added, "saved": names
    }


CLASSES = {cls.__name__: cls for cls in (
    BertForMaskedLM, GPT2LMHeadModel, LlamaForCausalLM, MarianMTModel, Qwen2ForCausalLM
)}


def make_cases():
    head = ["lm_head.weight"]
    weight, bias = BERT
    encoder, decoder, _ = MARIAN
    return [
        case("tiny-gpt2", GPT2LMHeadModel, GPT2, apart=head),
        case("tiny-gpt2", GPT2LMHeadModel, GPT2, apart=head, tie=None),
        case("tiny-gpt2", GPT2LMHeadModel, GPT2, apart=head, tie=False),
        case("tiny-gpt2", GPT2LMHeadModel, GPT2, equal=head),
        case("tiny-qwen2", Qwen2ForCausalLM, LLAMA, apart=head),
        case("tiny-llama", LlamaForCausalLM, LLAMA, apart=head, tie=None),
        case("tiny-llama", LlamaForCausalLM, LLAMA, apart=head),
        case("tiny-llama", LlamaForCausalLM, LLAMA, equal=head),
        case("tiny-bert", BertForMaskedLM, BERT, apart=[weight], equal=[bias]),
        case("tiny-bert", BertForMaskedLM, BERT, apart=[bias]),
        case("tiny-bert", BertForMaskedLM, BERT, apart=[weight, bias], tie=None),
        case("tiny-marian", MarianMTModel, MARIAN, apart=head, equal=[decoder]),
        case("tiny-marian", MarianMTModel, MARIAN, apart=[encoder], equal=head),
        case("tiny-marian", MarianMTModel, MARIAN, apart=[encoder], equal=[decoder], without=[SHARED]),
        case("tiny-marian-apart", MarianMTModel, {head[0]: "model.decoder.embed_tokens.weight"}, apart=head),
    ]


def write(source, target, tie, without, added):
    """Writes the folder of a case."""
    with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config.pop("tie_word_embeddings", None)
    if tie is not None:
        config["tie_word_embeddings"] = tie
    with open(os.path.join(target, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    weights = load_file(os.path.join(source, "model.safetensors"))
    for key, (name, is_equal) in added.items():
        values = weights[name]
        weights[key] = values.clone() if is_equal else 0.5 * values.flatten().flip(0).reshape(values.shape)
    kept = {key: value.contiguous() for key, value in weights.items() if key not in without}
    save_file(kept, os.path.join(target, "model.safetensors"), metadata={"format": "pt"})


class Warnings(logging.Handler):
    def __init__(self):
        super().__init__()
        self.pairs = []

    def emit(self, record):
        found = re.search(r"specifies to tie (\S+) to (\S+), but both", record.getMessage())
        if found:
            self.pairs.append([found[2], found[1]])


def run(folder, made):
    warnings = Warnings()
    logger = logging.getLogger("transformers.modeling_utils")
    with tempfile.TemporaryDirectory() as path, tempfile.TemporaryDirectory() as saved:
        write(os.path.join(folder, made["folder"]), path, made["tie"], made["without"], made["added"])
        logger.addHandler(warnings)
        model = CLASSES[made["class"]].from_pretrained(path, attn_implementation="eager", dtype=torch.float32).train()
        logger.removeHandler(warnings)
        for name, value in model.named_parameters():
            # Marian's are computed, which from_pretrained forgets.
            value.requires_grad_("embed_positions" not in name)
        model.save_pretrained(saved)
        keys = load_file(os.path.join(saved, "model.safetensors"))
    # The loss of a translation is that of its labels alone: others may ask for inputs of any kind.
    inputs = {"input_ids": torch.tensor([[3, 7, 11, 5], [9, 2, 30, 8]])}
    labels = torch.tensor([[4, 12, 6, 1], [10, 3, 33, 2]])
    with torch.no_grad():
        logits = model(**inputs, labels=labels).logits[1, 2]
    return {
        **made,
        "apart": sorted(warnings.pairs),
        "parameters": sum(value.requires_grad for value in model.parameters()),
        "saved": [name for name in made["saved"] if name in keys],
        "logits": [float(f"{value:.7g}") for value in logits.tolist()],
        "training": run_training(model, inputs, labels),
    }


def generate(folder, minilm):
    golden = [run(folder, made) for made in make_cases()]
    with open(os.path.join(folder, "tied.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(entry) for entry in golden) + "\n]\n")
