"""minilm.json and minilm.safetensors: all-MiniLM-L6-v2's encoder on three sentences, padded to one length."""

import json
import os

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertModel

SENTENCES = [
    "A man is eating food.",
    "The quick brown fox jumps over the lazy dog, and nobody minds.",
    "Réunion at 9:30 — déjà vu!",
]


def generate(folder, minilm):
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = BertModel.from_pretrained(minilm, attn_implementation="eager", dtype=torch.float32).eval()
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model(**batch)
    tensors = {name: tensor.to(torch.int32) for name, tensor in batch.items()}
    tensors["last_hidden_state"] = output.last_hidden_state
    tensors["pooler_output"] = output.pooler_output
    save_file(tensors, os.path.join(folder, "minilm.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "minilm.json"), "w", encoding="utf-8") as file:
        json.dump({"sentences": SENTENCES}, file, indent=1)
        file.write("\n")
