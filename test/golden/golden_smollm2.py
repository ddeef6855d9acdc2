"""smollm2.json: SmolLM2-135M-Instruct from its GGUF file, as Transformers loads it (dequantised, float32).

Per prompt: `text`, or the `messages` that the chat template makes it of, the token `ids`, greedy `answer` of 64 tokens
(the token that ends texts not wanted) with the `gaps` between the best and the second logit of each. `logits` (base64,
f32) are those of every STEP-th token, and of the best 8, at the `positions`.

Transformers leaves out of the file's tokenizer that digits stand alone (tokenizer.ggml.pre "smollm"), as the model's
own tokenizer.json has it: that is put back, so that the ids are those that the model was trained with.
"""

import base64
import json
import os

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

STEP = 512
LONG = (
    "The history of the lighthouse on the northern cape is told in three notebooks. The first was kept by a keeper "
    "named Aldous Finch, who arrived in 1871 with a trunk, two cats and a barometer that never worked. He wrote down "
    "the weather every morning, the ships every evening, and on Sundays what he had eaten. The second notebook belongs "
    "to his daughter. She was less patient with the weather and more patient with people: the baker's quarrels, the "
    "price of lamp oil, the winter of 1894, when the sea froze as far as the second buoy and the mail came by sledge. "
)
PROMPTS = [
    {"messages": [{"role": "user", "content": "What is the capital of France?"}]},
    {"messages": [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ]},
    {"messages": [
        {"role": "user", "content": "My name is Ada and I am 36 years old."},
        {"role": "assistant", "content": "Nice to meet you, Ada!"},
        {"role": "user", "content": "What is my name? Write a short poem about it."},
    ]},
    {"messages": [{"role": "user", "content": "Écris une phrase en français sur l'été à Paris 🗼."}]},
    {"text": "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n"},
    {"text": "Il était une fois, dans un petit village de Provence,"},
    {"text": "1 + 1 = 2\n2 + 2 = 4\n12 + 30 = "},
    {"text": "\tSome text   with odd\u00a0spaces,\n\n漢字 and a naïve café…"},
    {"text": LONG * 3 + "The third notebook"},
    {"text": "The"},
]


def text_of(array):
    return base64.b64encode(np.ascontiguousarray(array, dtype=np.float32).tobytes()).decode()


@torch.no_grad()
def case(model, tokenizer, prompt):
    if "messages" in prompt:
        text = tokenizer.apply_chat_template(prompt["messages"], add_generation_prompt=True, tokenize=False)
    else:
        text = prompt["text"]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    logits = model(torch.tensor([ids])).logits[0]
    count = len(ids)
    positions = sorted({0, count // 3, 2 * count // 3, count - 1})
    tops = [logits[position].topk(8).indices.sort().values.tolist() for position in positions]
    values = [torch.cat([logits[p][::STEP], logits[p][top]]) for p, top in zip(positions, tops)]
    answer, gaps, grown = [], [], list(ids)
    for _ in range(64):
        last = model(torch.tensor([grown])).logits[0, -1]
        last[model.config.eos_token_id] = -torch.inf
        best = last.topk(2)
        answer.append(best.indices[0].item())
        gaps.append(round((best.values[0] - best.values[1]).item(), 6))
        grown.append(answer[-1])
    return {
        **prompt, "chat": text, "ids": ids, "positions": positions, "tops": tops,
        "logits": text_of(torch.stack(values).numpy()), "answer": answer, "gaps": gaps,
    }


def generate(folder, file):
    place = {"pretrained_model_name_or_path": os.path.dirname(file), "gguf_file": os.path.basename(file)}
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(**place)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    cases = [case(model, tokenizer, prompt) for prompt in PROMPTS]
    with open(os.path.join(folder, "smollm2.json"), "w", encoding="utf-8") as out:
        json.dump({"step": STEP, "cases": cases}, out, ensure_ascii=True)
        out.write("\n")
