"""likelihood.json: log-likelihoods of continuations, by Transformers in float64.

`ids`: of tiny-gpt2/ and tiny-llama/, for contexts and continuations of many lengths; of those longer than the model
reads (GPT-2: 32 tokens) the context loses its first tokens, as in lm-evaluation-harness. `texts`: of the small GPT that
comes with the project, with context and continuation encoded together, as lm-evaluation-harness does. `zeroShot`: the
likelihood of each label of a text by the same model, without and after examples, and of a dialogue by its
chat_template.
"""

import json
import os
import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LENGTHS = [(1, 1), (3, 2), (1, 9), (12, 5), (31, 1), (20, 12), (40, 4), (9, 31), (2, 32), (5, 1)]
TEXTS = [
    ("The state of the", " Union"),
    ("The state of the ", "Union"),
    ("The captain of the ship saw a", " whale in the sea."),
    ("", "My fellow citizens"),
    (" \n", "My fellow citizens"),
    ("Congress shall", " make no law\nrespecting it 🔥"),
]


def scores(model, context, continuation, positions):
    """ln p of each token of the continuation, and whether each is the most probable."""
    tokens = (context + continuation)[-(positions + 1) :]
    with torch.no_grad():
        logits = model(torch.tensor([tokens[:-1]])).logits[0, -len(continuation) :]
    targets = torch.tensor(continuation)
    probabilities = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
    return {
        "context": context,
        "continuation": continuation,
        "logProbs": probabilities.tolist(),
        "isGreedy": bool((logits.argmax(-1) == targets).all()),
    }


def of_ids(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
    generator = random.Random(5)
    cases = []
    for before, after in LENGTHS:
        draw = [generator.randrange(model.config.vocab_size) for _ in range(before + after)]
        cases.append(scores(model, draw[:before], draw[before:], 32))
    # What a greedy search writes.
    context = [5, 17, 33]
    written = model.generate(torch.tensor([context]), max_new_tokens=4, do_sample=False, pad_token_id=0)[0].tolist()
    cases.append(scores(model, context, written[len(context) :], 32))
    return cases


def of_texts(model, tokenizer):
    cases = []
    for context, continuation in TEXTS:
        before = tokenizer.encode(context.rstrip(), add_special_tokens=False)
        whole = tokenizer.encode(context + continuation, add_special_tokens=False)
        if not before:
            before, whole = [tokenizer.eos_token_id], [tokenizer.eos_token_id] + whole
        case = scores(model, whole[: len(before)], whole[len(before) :], model.config.n_positions)
        cases.append({"texts": [context, continuation], **case})
    return cases


TEMPLATES = ["{text}\nTopic: {label}", "Say: {text} This is about {label}."]
LABELS = ["war", "the whale and the sea", "taxes"]
SHOTS = [("The army fights.", "war"), ("They pay the bank.", "taxes")]
ASKED = ["The captain saw Moby Dick.", "Congress must lower the duties on imports."]
CHAT = [
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "The captain."},
    {"role": "user", "content": "Of which ship?\n"},
]


def zero_shot(model, tokenizer):
    cases = []
    for template in TEMPLATES:
        for examples in ([], SHOTS):
            shots = "".join(template.format(text=text, label=label) + "\n\n" for text, label in examples)
            before = template[: template.index("{label}")]
            for text in [*ASKED, ""]:
                prompt = shots + before.format(text=text).lstrip()
                sums, counts = [], []
                for label in LABELS:
                    context = tokenizer.encode(prompt.rstrip(), add_special_tokens=False)
                    whole = tokenizer.encode(prompt + label, add_special_tokens=False)
                    found = scores(model, context, whole[len(context) :], model.config.n_positions)
                    sums.append(sum(found["logProbs"]))
                    counts.append(len(found["logProbs"]))
                case = {"template": template, "examples": examples, "text": text, "sums": sums, "tokens": counts}
                cases.append(case)
    return cases


def of_chat(tokenizer):
    template = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    ids = tokenizer.apply_chat_template(CHAT, chat_template=template, return_dict=False)
    return {"messages": CHAT, "template": template, "ids": ids}


def generate(folder, _=None):
    shipped = os.path.join(folder, "..", "..", "models", "pretrained", "gpt-small")
    model = AutoModelForCausalLM.from_pretrained(shipped, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(shipped)
    golden = {
        "ids": {name: of_ids(os.path.join(folder, f"tiny-{name}")) for name in ("gpt2", "llama")},
        "texts": of_texts(model, tokenizer),
        "labels": LABELS,
        "zeroShot": zero_shot(model, tokenizer),
        "chat": of_chat(tokenizer),
    }
    with open(os.path.join(folder, "likelihood.json"), "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")
