"""sft.json: what TRL and Transformers make of conversations: which tokens are learnt, how rows are packed, and ten
losses of the small GPT of this project.

The labels are those of SFTTrainer's own preparation (assistant_only_loss for dialogues, completion_only_loss for
prompts); those of dialogues under a template without generation tags are made as SFTTrainer makes them of a prompt
and its completion, turn by turn. The ten losses are of AdamW on all rows as one batch, in PyTorch.
"""

import json
import os
import tempfile

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from trl.data_utils import pack_dataset

from model_case import run_training

MARKED = """{% for message in messages %}
{% if message.role == 'assistant' %}
assistant:
{% generation %}{{ message.content }}{{ eos_token }}
{% endgeneration %}
{% else %}
{{ message.role }}:
{{- ' ' + message.content | trim }}
{% endif %}
{% endfor %}
{%- if add_generation_prompt %}assistant:
{% endif %}"""
TRIMMED = (
    "{%- for m in messages -%} <{{ m.role }}> {%- if m.role == 'assistant' -%} {%- generation -%}  {{ m.content }}  "
    "{%- endgeneration -%} {%- else -%}{{ m.content }}{%- endif -%}{{ eos_token }}{%- endfor -%}"
)
PLAIN = (
    "{% for message in messages %}{{'<' + message['role'] + '>\\n' + message['content'] + eos_token + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>\\n' }}{% endif %}"
)
DIALOGUES = [
    [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "It is 4."}],
    [
        {"role": "system", "content": "Be short. "},
        {"role": "user", "content": "Say é and 漢字 🙂"},
        {"role": "assistant", "content": "é 漢字 🙂"},
        {"role": "user", "content": "Again"},
        {"role": "assistant", "content": "  two\n\nlines "},
    ],
    [
        {"role": "user", "content": "The whale"},
        {"role": "assistant", "content": "Call me Ishmael. Some years ago, never mind how long precisely"},
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": "having little or no money in my purse"},
        {"role": "user", "content": "unanswered"},
    ],
]
COMPLETIONS = [
    {"prompt": "The state of the", "completion": " Union is strong"},
    {"prompt": "A word cut in two: Congr", "completion": "ess"},
    {"prompt": "", "completion": "from nothing"},
]
TEXTS = [{"text": "We have seen the whale."}, {"text": "It ends by itself.<|endoftext|>"}]
SIZES = [
    [3, 9, 5, 8, 2, 2, 10, 1, 7, 4, 4, 6, 10, 3, 0, 5],
    [16, 1, 15, 8, 8, 8, 9, 7, 7, 2, 14, 3, 13, 12, 5, 4, 1, 1, 6, 11],
]
WIDTHS = [10, 16]


def prepared(model, tokenizer, rows, template=None, **settings):
    """Rows as SFTTrainer prepares them: ids and labels."""
    tokenizer.chat_template = template
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(folder, max_length=None, report_to=[], use_cpu=True, bf16=False, **settings)
        trainer = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    return [{"ids": row["input_ids"], "labels": row["labels"]} for row in trainer.train_dataset]


def by_turns(tokenizer, messages):
    """Labels of a dialogue, each turn as the completion of all before it."""
    tokenizer.chat_template = PLAIN

    def text(count, prompt):
        return tokenizer.apply_chat_template(messages[:count], add_generation_prompt=prompt, tokenize=False)

    encoded = tokenizer(text(len(messages), False), return_offsets_mapping=True)
    labels = [-100] * len(encoded["input_ids"])
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        start, end = len(text(i, True)), len(text(i + 1, False))
        for k, (first, last) in enumerate(encoded["offset_mapping"]):
            if first < end and last > start:
                labels[k] = encoded["input_ids"][k]
    return {"ids": encoded["input_ids"], "labels": labels}


def generate(folder, _):
    path = os.path.join(folder, "..", "..", "models", "pretrained", "gpt-small")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.pad_token = tokenizer.eos_token

    def load():
        return AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).train()

    messages = [{"messages": each} for each in DIALOGUES]
    masks = {}
    for name, template in {"marked": MARKED, "trimmed": TRIMMED}.items():
        masks[name] = []
        for each in DIALOGUES:
            out = tokenizer.apply_chat_template(
                each, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
            )
            masks[name].append({"ids": out["input_ids"], "mask": out["assistant_masks"]})
    labelled = {
        "messages": prepared(load(), tokenizer, messages, MARKED, assistant_only_loss=True),
        "completions": prepared(load(), tokenizer, COMPLETIONS),
        "texts": prepared(load(), tokenizer, TEXTS),
        "turns": [by_turns(tokenizer, each) for each in DIALOGUES],
    }
    packed = []
    for sizes, width in zip(SIZES, WIDTHS):
        rows = Dataset.from_dict({"input_ids": [[i] * size for i, size in enumerate(sizes)]})
        result = pack_dataset(rows, width, "bfd")
        packed.append([list(dict.fromkeys(row)) for row in result["input_ids"]])
    rows = labelled["messages"]
    width = max(len(row["ids"]) for row in rows)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row["ids"] + [pad] * (width - len(row["ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (width - len(row["ids"])) for row in rows])
    labels = torch.tensor([row["labels"] + [-100] * (width - len(row["ids"])) for row in rows])
    training = run_training(load(), {"input_ids": ids, "attention_mask": mask}, labels)
    golden = {
        "templates": {"marked": MARKED, "trimmed": TRIMMED, "plain": PLAIN},
        "dialogues": DIALOGUES,
        "completions": COMPLETIONS,
        "texts": TEXTS,
        "masks": masks,
        "labelled": labelled,
        "packing": [{"sizes": s, "width": w, "rows": r} for s, w, r in zip(SIZES, WIDTHS, packed)],
        "losses": training["losses"],
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    with open(os.path.join(folder, "sft.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + lines + "\n}\n")
