"""adapter-starts.json: PiSSA, ways to join adapters and DoRA on tables, as PEFT computes them.

`pissa`: losses of ten AdamW steps from the start, and the product of B and A of one layer. `joined`: last rows of
logits of two adapters of adapters/ joined in each way.
`dora-table`: as golden_adapters.py has its cases. Folders: adapters/gpt2-pissa, adapters/qwen2-dora-table.
"""

import json
import os

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from golden_adapters import CAUSAL, inputs_of, last_row, load, run, short, tidy, train

PISSA = {
    "gpt2": ("tiny-gpt2", dict(**CAUSAL, r=3, lora_alpha=6, target_modules=["c_attn", "mlp.c_proj"])),
    "llama": ("tiny-llama", dict(**CAUSAL, r=4, use_rslora=True, target_modules="all-linear")),
    "gpt2-dora": ("tiny-gpt2", dict(**CAUSAL, r=2, target_modules=["c_attn"], use_dora=True)),
}


def pissa(name, folder):
    base, settings = PISSA[name]
    model = get_peft_model(load(base, folder), LoraConfig(**settings, init_lora_weights="pissa"))
    model.eval()
    layer = next(x for x in model.modules() if hasattr(x, "lora_A") and len(x.lora_A) > 0)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    product = (b @ a).detach()
    inputs, labels = inputs_of(base)
    lengths = {"a": a.norm(dim=1).tolist(), "b": b.norm(dim=0).tolist()}
    losses = train(model, inputs, labels)
    if name == "gpt2":  # its file as it is, which needs the same base to begin from
        path = os.path.join(folder, "adapters", "gpt2-pissa")
        model.save_pretrained(path)
        tidy(path)
    return {"product": product[0].tolist(), **lengths, "losses": losses, "logits": last_row(model(**inputs).logits)}


def joined(folder):
    found = {}
    for kind, settings in {
        "svd": {},
        "svd-2": {"svd_rank": 2},
        "ties": {"density": 0.5},
        "ties-frequency": {"density": 0.6, "majority_sign_method": "frequency"},
        "magnitude_prune": {"density": 0.4},
        "ties_svd": {"density": 0.5},
        "magnitude_prune_svd": {"density": 0.3, "svd_rank": 4},
        "linear": {},
    }.items():
        model = load("tiny-gpt2", folder)
        paths = [os.path.join(folder, "adapters", f"gpt2-{name}") for name in ("first", "second")]
        model = PeftModel.from_pretrained(model, paths[0], adapter_name="first").eval()
        model.load_adapter(paths[1], adapter_name="second")
        weights = [0.7, -0.4]
        kind_of = kind.split("-")[0]
        model.add_weighted_adapter(["first", "second"], weights, "both", combination_type=kind_of, **settings)
        model.set_adapter("both")
        found[kind] = last_row(model(**inputs_of("tiny-gpt2")[0]).logits)
    return found


def generate(folder, minilm):
    golden = {f"pissa-{name}": pissa(name, folder) for name in PISSA}
    golden["joined"] = joined(folder)
    settings = dict(**CAUSAL, r=2, target_modules=["embed_tokens", "q_proj"], use_dora=True)
    golden["dora-table"] = run("qwen2-dora-table", "tiny-qwen2", settings, folder)
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(short(value))}" for key, value in golden.items())
    with open(os.path.join(folder, "adapter-starts.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + rows + "\n}\n")
