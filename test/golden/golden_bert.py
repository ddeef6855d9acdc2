"""tiny-bert/: a small random BertForPreTraining saved by Transformers; bert.json and bert-<head>.safetensors: what
Transformers computes with it, head by head.

bert-<head>.safetensors holds, by prefix: `weight.` the parameters tiny-bert/ has no values for (a new head), `output.`
what forward returns, `grad.` the gradient of the loss by every parameter that has one. Names after the prefix are those
of Transformers. bert.json holds the inputs (the same for all heads), the labels and losses, and the training runs.

The loss of `model` (BertModel has none) is mean(last_hidden_state * cos(i)) + mean(pooler_output * sin(i)) with i the
row-major index of the element.
"""

import json
import os

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    get_linear_schedule_with_warmup,
    logging,
)

from model_case import load_head, model_loss
from random_model import save_random

# The reports of from_pretrained list heads that are new on purpose.
logging.set_verbosity_error()

LENGTHS = [11, 7, 9, 3]
WIDTH = max(LENGTHS)


def make_model(path):
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=40,
        type_vocab_size=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.15,
    )
    save_random(BertForPreTraining(config), path)


def make_inputs():
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, 99, (len(LENGTHS), WIDTH), generator=generator)
    mask = torch.tensor([[int(column < length) for column in range(WIDTH)] for length in LENGTHS])
    types = torch.tensor([[int(column >= length // 2) for column in range(WIDTH)] for length in LENGTHS]) * mask
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}


def make_heads():
    """name: (class, arguments of from_pretrained, labels)"""
    generator = torch.Generator().manual_seed(3)
    mask = make_inputs()["attention_mask"].bool()
    tokens = torch.randint(0, 5, mask.shape, generator=generator).masked_fill(~mask, -100)
    chosen = (torch.rand(mask.shape, generator=generator) < 0.4) & mask
    masked = torch.randint(0, 99, mask.shape, generator=generator).masked_fill(~chosen, -100)
    next_sentence = torch.tensor([0, 1, 1, 0])
    # A position past the end is an answer that was cut off: Transformers leaves it out of the loss.
    answers = {"start_positions": torch.tensor([2, 0, WIDTH, 1]), "end_positions": torch.tensor([5, 6, WIDTH + 4, 2])}
    wishes = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    return {
        "model": (BertModel, {}, {}),
        "sequence-classification": (
            BertForSequenceClassification,
            {"num_labels": 3},
            {"labels": torch.tensor([2, 0, 1, 1])},
        ),
        "sequence-regression": (
            BertForSequenceClassification,
            {"num_labels": 1},
            {"labels": torch.tensor([0.5, -1.0, 2.0, 0.0])},
        ),
        "sequence-multi-label": (
            BertForSequenceClassification,
            {"num_labels": 3, "problem_type": "multi_label_classification"},
            {"labels": wishes},
        ),
        "token-classification": (BertForTokenClassification, {"num_labels": 5}, {"labels": tokens}),
        "question-answering": (BertForQuestionAnswering, {}, answers),
        "masked-lm": (BertForMaskedLM, {}, {"labels": masked}),
        "next-sentence-prediction": (BertForNextSentencePrediction, {}, {"labels": next_sentence}),
        "pre-training": (BertForPreTraining, {}, {"labels": masked, "next_sentence_label": next_sentence}),
    }


# The full gradients of these are written; of the other two only what the new head gets, for the encoder's differ only
# in what flows in.
SMALL = ("sequence-regression", "sequence-multi-label")


def run_head(folder, path, name, cls, arguments, labels):
    model, new = load_head(cls, path, arguments, seed=4)
    extras = {"output_hidden_states": True, "output_attentions": True} if cls is BertModel else {}
    output = model(**make_inputs(), **labels, **extras)
    loss = model_loss(output) if cls is BertModel else output.loss
    loss.backward()
    tensors = {f"weight.{key}": value.detach() for key, value in model.named_parameters() if key in new}
    for key, value in output.items():
        if key != "loss":
            several = (
                {f"{key}.{index}": part for index, part in enumerate(value)}
                if isinstance(value, tuple)
                else {key: value}
            )
            tensors.update({f"output.{part}": tensor.detach() for part, tensor in several.items()})
    grads = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    without = [key for key, value in model.named_parameters() if value.grad is None]
    tensors.update({f"grad.{key}": grad for key, grad in grads.items() if name not in SMALL or key in new})
    tensors = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    save_file(tensors, os.path.join(folder, f"bert-{name}.safetensors"), metadata={"format": "pt"})
    return {
        "class": cls.__name__,
        "config": arguments,
        "labels": {
            key: {"shape": list(value.shape), "data": value.flatten().tolist()} for key, value in labels.items()
        },
        "loss": loss.item(),
        "newKeys": new,
        "withoutGradient": without,
    }


def run_training(path, head, scheduled):
    """Ten AdamW steps on one batch: losses before each step and after the last, learning rates, gradient norms."""
    cls, arguments, labels = head
    model, _ = load_head(cls, path, arguments, seed=4)
    decayed = lambda name: not (name.endswith("bias") or "LayerNorm" in name)
    groups = [
        {"params": [value for name, value in model.named_parameters() if decayed(name)], "weight_decay": 0.01},
        {"params": [value for name, value in model.named_parameters() if not decayed(name)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, 10) if scheduled else None
    losses, rates, norms = [], [], []
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(**make_inputs(), **labels).loss
        loss.backward()
        limit = 1.0 if scheduled else float("inf")
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), limit).item())
        losses.append(loss.item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule:
            schedule.step()
    with torch.no_grad():
        output = model(**make_inputs(), **labels)
    return {
        "losses": [*losses, output.loss.item()],
        "learningRates": rates,
        "gradientNorms": norms,
        "logits": output.logits.tolist(),
    }


def generate(folder, minilm):
    path = os.path.join(folder, "tiny-bert")
    make_model(path)
    heads = make_heads()
    inputs = {key: value.tolist() for key, value in make_inputs().items()}
    golden = {"inputs": inputs, "heads": {}, "training": {}}
    for name, head in heads.items():
        golden["heads"][name] = run_head(folder, path, name, *head)
    golden["training"]["adamw"] = run_training(path, heads["sequence-classification"], scheduled=False)
    golden["training"]["adamwClippedScheduled"] = run_training(path, heads["sequence-classification"], scheduled=True)
    sections = []
    for key, value in golden.items():
        rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
        sections.append(f"{json.dumps(key)}: {{\n{rows}\n}}")
    with open(os.path.join(folder, "bert.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(sections) + "\n}\n")
