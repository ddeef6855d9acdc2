"""tiny-compressed-tensors: a BERT classifier that compressed-tensors has packed, and what Transformers makes of
it. Layers of 4 bits in groups of 32, of 4 bits in groups of 16, and of 8 bits with one scale a row; the classifier's
weights are whole.
"""

import json
import os
import shutil

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

GROUPS = {
    "key": (4, 32), "query": (4, 16), "value": (8, None), "attention.output.dense": (4, 32),
    "intermediate.dense": (8, 32), "layer.0.output.dense": (4, 32), "pooler.dense": (8, None),
}


def generate(folder, _):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=16, num_labels=3, initializer_range=0.3, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, problem_type="single_label_classification",
    )
    model = BertForSequenceClassification(config).eval()
    state = model.state_dict()
    groups, ignore = {}, ["classifier"]
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name in ignore:
            continue
        bits, size = next(kind for end, kind in GROUPS.items() if name.endswith(end))
        weight = state.pop(f"{name}.weight")
        rows = weight.reshape(weight.shape[0], -1, size or weight.shape[1])
        half = 2 ** (bits - 1)
        # Scales that 16 bits hold, as GGUF's blocks have them.
        scale = (rows.abs().amax(-1) / (half - 0.5)).half().float()
        whole = torch.clamp(torch.round(rows / scale[..., None]), -half, half - 1).reshape(weight.shape)
        state[f"{name}.weight_packed"] = pack_to_int32(whole.to(torch.int8), bits)
        state[f"{name}.weight_scale"] = scale
        state[f"{name}.weight_shape"] = torch.tensor(weight.shape)
        strategy = {"strategy": "group", "group_size": size} if size else {"strategy": "channel"}
        weights = {"num_bits": bits, "type": "int", "symmetric": True, **strategy}
        groups[f"group_{len(groups)}"] = {"targets": [name], "weights": weights}
    path = os.path.join(folder, "tiny-compressed-tensors")
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    save_file({key: value.contiguous() for key, value in state.items()}, f"{path}/model.safetensors", {"format": "pt"})
    quantization = {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
        "config_groups": groups, "ignore": ignore,
    }
    settings = {"architectures": ["BertForSequenceClassification"], **config.to_diff_dict()}
    with open(f"{path}/config.json", "w") as file:
        json.dump({**settings, "quantization_config": quantization}, file, indent=2)
    loaded = AutoModelForSequenceClassification.from_pretrained(path).eval()
    ids = torch.randint(1, 40, (2, 7))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    with torch.no_grad():
        logits = loaded(input_ids=ids, attention_mask=mask).logits
    with open(os.path.join(folder, "compressed-tensors.json"), "w") as file:
        json.dump({"ids": ids.tolist(), "mask": mask.tolist(), "logits": logits.tolist()}, file)
        file.write("\n")
