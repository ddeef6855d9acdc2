"""Fine-tunes in PyTorch on the rows that bench/questions/rows.ts wrote, batch by batch as train/finetune-qa.ts does,
and answers the test questions as Transformers' run_qa. Prints losses, exact match, F1 and the time.

Needs examples/pytorch/question-answering/utils_qa.py of Transformers' repository.
"""

import argparse
import collections
import importlib.util
import json
import re
import string
import time

import torch
from transformers import AutoTokenizer, BertForQuestionAnswering, get_linear_schedule_with_warmup


class Examples(list):
    def __getitem__(self, key):
        return [item[key] for item in self] if isinstance(key, str) else super().__getitem__(key)


def padded_length(longest):
    """As models/pipelines/rows.ts pads: what is padded takes part in the loss, in Transformers too."""
    step = 8
    while 4 * step < longest:
        step *= 2
    return -(-longest // step) * step


def padded(rows):
    width = padded_length(max(len(ids) for ids, *_ in rows))
    fill = lambda values: torch.tensor([[*value, *[0] * (width - len(value))] for value in values])
    return {
        "input_ids": fill([row[0] for row in rows]),
        "token_type_ids": fill([row[1] for row in rows]),
        "attention_mask": fill([[1] * len(row[0]) for row in rows]),
    }


def words(text):
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def word_f1(text, truth):
    own, other = words(text), words(truth)
    common = sum((collections.Counter(own) & collections.Counter(other)).values())
    return 2 * common / (len(own) + len(other)) if common else 0


def predict(model, tokenizer, data, utils):
    features, rows = [], []
    for example in data["test"]:
        encoded = tokenizer(
            example["question"].lstrip(),
            example["context"],
            truncation="only_second",
            max_length=data["maxLength"],
            stride=data["docStride"],
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for i, offsets in enumerate(encoded["offset_mapping"]):
            inside = [pair if of == 1 else None for pair, of in zip(offsets, encoded.sequence_ids(i))]
            features.append({"example_id": example["id"], "offset_mapping": inside})
            rows.append([encoded["input_ids"][i], encoded["token_type_ids"][i]])
    starts, ends = [None] * len(rows), [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i][0]))
    model.eval()
    with torch.no_grad():
        for at in range(0, len(order), 8):
            batch = order[at : at + 8]
            output = model(**padded([rows[i] for i in batch]))
            for k, i in enumerate(batch):
                starts[i] = output.start_logits[k, : len(rows[i][0])].numpy()
                ends[i] = output.end_logits[k, : len(rows[i][0])].numpy()
    return utils.postprocess_qa_predictions(Examples(data["test"]), features, (starts, ends))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows")
    parser.add_argument("model")
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--utils-qa", required=True)
    parser.add_argument("--steps", type=int, help="stop after so many, the schedule unchanged")
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("utils_qa", arguments.utils_qa)
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    with open(arguments.rows, encoding="utf-8") as file:
        data = json.load(file)

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = BertForQuestionAnswering.from_pretrained(
        arguments.model, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, dtype=torch.float32
    )
    with torch.no_grad():
        for name, value in data["head"].items():
            getattr(model.qa_outputs, name).copy_(torch.tensor(value))
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    named = list(model.named_parameters())
    groups = [
        {"params": [value for name, value in named if not plain(name)], "weight_decay": 0.01},
        {"params": [value for name, value in named if plain(name)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=arguments.learning_rate)
    steps = len(data["batches"])
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    model.train()
    start = time.time()
    for step, members in enumerate(data["batches"][: arguments.steps]):
        rows = [data["rows"][i] for i in members]
        positions = {"start_positions": 2, "end_positions": 3}
        labels = {name: torch.tensor([row[at] for row in rows]) for name, at in positions.items()}
        loss = model(**padded(rows), **labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        print(f"step {step + 1} loss {loss.item():.6f}", flush=True)
    seconds = time.time() - start

    texts = predict(model, tokenizer, data, utils)
    scores = []
    for example in data["test"]:
        text, truths = texts[example["id"]], example["answers"]["text"]
        same = any(words(text) == words(truth) for truth in truths)
        scores.append((same, max(word_f1(text, truth) for truth in truths)))
    exact, f1 = (100 * sum(column) / len(scores) for column in zip(*scores))
    print(f"exact match {exact:.2f}  F1 {f1:.2f}  {seconds:.0f} s of training")


if __name__ == "__main__":
    main()
