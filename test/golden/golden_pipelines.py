"""tiny-bert-tasks/: a small random BERT with heads for masked tokens and for labels of texts and of tokens (one matrix
serves both), with the tokenizer of tiny-bert-qa/. pipelines.json: what Transformers' pipelines make of texts with it.

Places in texts count UTF-16 units, as JavaScript strings do; Transformers counts code points.
"""

import json
import os
import shutil
import warnings

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    logging,
    pipeline,
)

from golden_tokenizer import utf16_positions
from random_model import save_random

logging.set_verbosity_error()
warnings.filterwarnings("ignore")

LABELS = ["O", "B-FOX", "I-FOX", "B-HILL", "I-HILL", "entailment"]
TEXTS = [
    "The red fox ran over the hill.",
    "ok",
    "🙂🙂 The 🔥 fox 👨‍👩‍👧‍👦 ran. 🇩🇪 It ran on.",
    "Un cafe\u0301 noir, naïve.\u0301 unreadable rereading readers; the reader's re-read.",
    "北京是中国的首都。The 𠀀 city 東京 is in 日本。",
    "   the fox   is in the house   ",
]
LONG = " ".join(TEXTS[:4] * 3)
PAIRS = [{"text": "The fox ran.", "text_pair": "the dog read a book"}, {"text": "who?", "text_pair": "the man 🔥"}]
MASKED = ["The [MASK] fox ran over the hill.", "🔥 [MASK]", "the [MASK] read [MASK] book", "[MASK]"]
CLASSIFY = [
    {},
    {"top_k": 3},
    {"top_k": None},
    {"function_to_apply": "sigmoid"},
    {"top_k": 2, "function_to_apply": "none"},
]
FILL = [{}, {"top_k": 3}, {"targets": ["fox", "dog", "unreadable", "fox"]}, {"targets": "hill", "top_k": 2}]
STRATEGIES = ["none", "simple", "first", "average", "max"]
ZERO_SHOT = [
    {"candidate_labels": ["fox", "dog", "a house"]},
    {"candidate_labels": "fire, river", "hypothesis_template": "it is the {}"},
    {"candidate_labels": ["fox", "dog"], "multi_label": True},
    {"candidate_labels": "fox"},
]


def make_model(folder):
    path = os.path.join(folder, "tiny-bert-tasks")
    source = os.path.join(folder, "tiny-bert-qa")
    torch.manual_seed(9)
    settings = AutoConfig.from_pretrained(source).to_dict()
    config = BertConfig(
        **{key: settings[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")},
        **{key: settings[key] for key in ("intermediate_size", "max_position_embeddings")},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    save_random(BertForMaskedLM(config), path)
    tokens = BertForTokenClassification(config)
    texts = BertModel(config)
    file = os.path.join(path, "model.safetensors")
    weights = load_file(file)
    weights["classifier.weight"] = 3 * torch.randn_like(tokens.classifier.weight)
    weights["classifier.bias"] = torch.randn_like(tokens.classifier.bias)
    weights["bert.pooler.dense.weight"] = torch.randn_like(texts.pooler.dense.weight)
    weights["bert.pooler.dense.bias"] = torch.randn_like(texts.pooler.dense.bias)
    save_file(weights, file, {"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(source, name), path)
    return path


def rounded(value):
    """Six significant digits, plain types."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return float(f"{value:.6g}") if isinstance(value, float) else value


def in_units(text, entities):
    positions = utf16_positions(text)
    return [{**entity, "start": positions[entity["start"]], "end": positions[entity["end"]]} for entity in entities]


def generate(folder, _=None):
    path = make_model(folder)
    common = {"tokenizer": path, "device": "cpu"}
    classify = pipeline("text-classification", model=BertForSequenceClassification.from_pretrained(path), **common)
    label = pipeline("token-classification", model=BertForTokenClassification.from_pretrained(path), **common)
    fill = pipeline("fill-mask", model=BertForMaskedLM.from_pretrained(path), **common)
    features = pipeline("feature-extraction", model=BertModel.from_pretrained(path), **common)
    zero_shot = pipeline("zero-shot-classification", model=classify.model, **common)
    golden = {
        "textClassification": [
            {"options": options, "texts": classify(TEXTS, **options), "pairs": classify(PAIRS, **options)}
            for options in CLASSIFY
        ],
        "tokenClassification": [
            {
                "strategy": strategy,
                "texts": [in_units(text, label(text, aggregation_strategy=strategy)) for text in TEXTS],
                "kept": in_units(TEXTS[0], label(TEXTS[0], aggregation_strategy=strategy, ignore_labels=[])),
                "long": None
                if strategy == "none"
                else in_units(LONG, label(LONG, aggregation_strategy=strategy, stride=20)),
            }
            for strategy in STRATEGIES
        ],
        "fillMask": [{"options": options, "results": [fill(text, **options) for text in MASKED]} for options in FILL],
        "features": [features(text) for text in TEXTS[:2]],
        "zeroShot": [{"options": options, "results": zero_shot(TEXTS[:3], **options)} for options in ZERO_SHOT],
    }
    inputs = {"texts": TEXTS, "long": LONG, "pairs": PAIRS, "masked": MASKED, "labels": LABELS}
    with open(os.path.join(folder, "pipelines.json"), "w", encoding="utf-8") as file:
        json.dump({**inputs, **rounded(golden)}, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    generate(os.path.dirname(os.path.abspath(__file__)))
