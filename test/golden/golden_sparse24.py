"""tiny-sparse-24: a BERT classifier with 2 of 4 weights zero, stored by compressed-tensors 0.12 without them
("sparse-24-bitmask"; later versions dropped it), and what Transformers makes of the dense model.
"""

import json
import os
import shutil

import torch
from compressed_tensors.compressors.sparse_compressors.sparse_24_bitmask import Sparse24BitMaskCompressor
from compressed_tensors.config import Sparse24BitMaskConfig
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification


def generate(folder, _):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
        max_position_embeddings=16, num_labels=3, initializer_range=0.3, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, problem_type="single_label_classification",
    )
    model = BertForSequenceClassification(config).eval()
    layers = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "classifier"]
    with torch.no_grad():
        for name in layers:
            fours = model.get_submodule(name).weight.view(-1, 4)
            fours.scatter_(1, fours.abs().topk(2, dim=1, largest=False).indices, 0.0)
    sparsity = Sparse24BitMaskConfig(global_sparsity=0.5, targets=layers)
    stored = Sparse24BitMaskCompressor(config=sparsity).compress(dict(model.state_dict()), set(layers))
    path = os.path.join(folder, "tiny-sparse-24")
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    save_file({key: value.contiguous() for key, value in stored.items()}, f"{path}/model.safetensors", {"format": "pt"})
    settings = {"architectures": ["BertForSequenceClassification"], **config.to_diff_dict()}
    quantization = {"quant_method": "compressed-tensors", "sparsity_config": sparsity.model_dump()}
    with open(f"{path}/config.json", "w") as file:
        json.dump({**settings, "quantization_config": quantization}, file, indent=2)
        file.write("\n")
    ids = torch.randint(1, 40, (2, 7))
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    with open(os.path.join(folder, "sparse-24.json"), "w") as file:
        json.dump({"ids": ids.tolist(), "logits": logits.tolist()}, file)
        file.write("\n")
