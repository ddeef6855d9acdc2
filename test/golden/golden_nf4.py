"""tiny-nf4: a BERT classifier that bitsandbytes has packed in NF4, and what Transformers makes of it; a weight that
bitsandbytes packs, with all of its parts. By itself: it needs bitsandbytes (0.50.2), which runs on the CPU.

    VENV/bin/pip install bitsandbytes accelerate && VENV/bin/python test/golden/golden_nf4.py
"""

import json
import os
import shutil

import bitsandbytes.functional as F
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification
from transformers import BitsAndBytesConfig


def make(folder: str) -> None:
    torch.manual_seed(5)
    weight = torch.randn(12, 64) * torch.rand(12, 1) ** 2
    weight[3] = 0
    packed, state = F.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    case = {
        "weight": weight.flatten().tolist(),
        "packed": packed.flatten().tolist(),
        "absmax": state.absmax.tolist(),
        "offset": state.offset.item(),
        "nested_absmax": state.state2.absmax.tolist(),
        "nested_quant_map": state.state2.code.tolist(),
        "quant_map": state.code.tolist(),
        "values": F.dequantize_4bit(packed, state).flatten().tolist(),
    }

    config = BertConfig(
        vocab_size=40, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=16, num_labels=3, initializer_range=0.3,
    )
    whole, path = os.path.join(folder, "whole-nf4"), os.path.join(folder, "tiny-nf4")
    BertForSequenceClassification(config).save_pretrained(whole)
    shutil.rmtree(path, ignore_errors=True)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=["classifier"],
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        whole, quantization_config=quantization, device_map="cpu", dtype=torch.float32,
    ).eval()
    model.save_pretrained(path)
    shutil.rmtree(whole)
    # On CPUs its layers may compute in bfloat16: the logits are of the same weights, dequantised.
    plain = BertForSequenceClassification(config).eval()
    saved, own = load_file(f"{path}/model.safetensors"), plain.state_dict()
    for name in own:
        parts = {key.removeprefix(f"{name}."): saved[key] for key in saved if key.startswith(f"{name}.")}
        own[name] = F.dequantize_4bit(saved[name], F.QuantState.from_dict(parts, "cpu")) if parts else saved[name]
    plain.load_state_dict(own)
    ids = torch.randint(1, 40, (2, 7))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    with torch.no_grad():
        logits = plain(input_ids=ids, attention_mask=mask).logits
        print("as it computes:", (model(input_ids=ids, attention_mask=mask).logits - logits).abs().max())
    with open(os.path.join(folder, "nf4.json"), "w") as file:
        json.dump({**case, "ids": ids.tolist(), "mask": mask.tolist(), "logits": logits.tolist()}, file)


if __name__ == "__main__":
    make(os.path.dirname(os.path.abspath(__file__)))
