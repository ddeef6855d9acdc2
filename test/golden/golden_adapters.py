"""adapters/NAME/: adapters saved by PEFT for the small models beside; adapters.json: what PEFT computes with them.

For each adapter: the loss and the last row of logits, the norm of each gradient and its product with cos(0), cos(1),
..., by the keys of the file, and the losses of ten AdamW steps. `combined`: two adapters of one base active together
by weights, as `add_weighted_adapter` joins them.
"""

import json
import os
import shutil

import torch
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from model_case import ten_steps

CAUSAL = {"task_type": "CAUSAL_LM"}
CASES = {
    "bert-classifier": ("tiny-bert", dict(task_type="SEQ_CLS", r=4, lora_alpha=16, lora_dropout=0.0)),
    "gpt2-biases": ("tiny-gpt2", dict(**CAUSAL, r=2, target_modules=["attn.c_proj"], bias="all")),
    "gpt2": ("tiny-gpt2", dict(**CAUSAL, r=2, target_modules=["c_attn", "mlp.c_proj"], bias="lora_only")),
    "gpt2-first": ("tiny-gpt2", dict(**CAUSAL, r=3, lora_alpha=6, target_modules=["c_attn"])),
    "gpt2-second": ("tiny-gpt2", dict(**CAUSAL, r=3, lora_alpha=3, target_modules=["c_attn", "c_fc"])),
    "llama-all-linear": (
        "tiny-llama",
        dict(
            **CAUSAL,
            r=4,
            use_rslora=True,
            target_modules="all-linear",
            rank_pattern={"q_proj": 2, r"layers\.1\.mlp\..*": 3},
            alpha_pattern={"o_proj": 5},
        ),
    ),
    "llama-pattern": ("tiny-llama", dict(**CAUSAL, r=3, target_modules=r".*\.layers\.\d+\.mlp\.(up|down)_proj")),
    "llama-layer": (
        "tiny-llama",
        dict(**CAUSAL, r=3, target_modules=["v_proj", "up_proj"], exclude_modules=["up_proj"], layers_to_transform=[1]),
    ),
    "bert-dora": ("tiny-bert", dict(task_type="SEQ_CLS", r=2, target_modules=["query", "output.dense"], use_dora=True)),
    "gpt2-dora": ("tiny-gpt2", dict(**CAUSAL, r=2, target_modules=["c_attn"], use_dora=True)),
    "qwen2-embedding": ("tiny-qwen2", dict(**CAUSAL, r=2, target_modules=["embed_tokens", "q_proj"])),
    "qwen2-head": ("tiny-qwen2", dict(**CAUSAL, r=2, target_modules=["lm_head", "k_proj"])),
}
IA3_CASES = {
    "bert-ia3": ("tiny-bert", dict(task_type="SEQ_CLS")),
    "gpt2-ia3": ("tiny-gpt2", CAUSAL),
    "llama-ia3": (
        "tiny-llama",
        dict(**CAUSAL, target_modules=["v_proj", "gate_proj", "up_proj"], feedforward_modules=["up_proj"]),
    ),
}
VIRTUAL = {**CAUSAL, "num_virtual_tokens": 3}
PROMPT_CASES = {
    "bert-prompt": ("tiny-bert", dict(task_type="SEQ_CLS", num_virtual_tokens=4)),
    "gpt2-prompt": ("tiny-gpt2", VIRTUAL),
    "llama-prompt": ("tiny-llama", VIRTUAL),
}
PREFIX_CASES = {
    "gpt2-prefix": ("tiny-gpt2", VIRTUAL),
    "llama-prefix": ("tiny-llama", VIRTUAL),
    "qwen3-projected": ("tiny-qwen3", dict(**VIRTUAL, prefix_projection=True, encoder_hidden_size=8)),
}
KINDS = ((IA3Config, IA3_CASES), (PromptTuningConfig, PROMPT_CASES), (PrefixTuningConfig, PREFIX_CASES))


def load(base, folder):
    path = os.path.join(folder, base)
    kind = AutoModelForSequenceClassification if base == "tiny-bert" else AutoModelForCausalLM
    torch.manual_seed(1)
    return kind.from_pretrained(path, attn_implementation="eager", dtype=torch.float32)


def inputs_of(base):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 60, (3, 7), generator=generator)
    labels = torch.tensor([1, 0, 1]) if base == "tiny-bert" else ids
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, labels


def randomise(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if "magnitude" in name:
                parameter.mul_(1 + 0.2 * noise)
            elif "ia3_" in name:
                parameter.copy_(1 + 0.3 * noise)
            elif "transform" in name:
                parameter.copy_(0.2 * noise)
            elif "lora_" in name or "prompt_encoder" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.add_(0.1 * noise)


def sums(gradient):
    flat = gradient.double().flatten()
    return [flat.norm().item(), (flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum().item()]


def without_name(key):
    if key.startswith("prompt_encoder."):
        return "prompt_embeddings"
    for part in (".modules_to_save.default", ".lora_magnitude_vector.default.weight"):
        if part in key:
            return key.replace(part, ".lora_magnitude_vector" if "magnitude" in part else "")
    return key.replace(".default", "")


def last_row(logits):
    return logits.reshape(-1, logits.shape[-1])[-1].tolist()


def train(model, inputs, labels):
    trained = [x for x in model.parameters() if x.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    return ten_steps(model, inputs, labels, optimizer)


def tidy(path):
    os.remove(os.path.join(path, "README.md"))
    file = os.path.join(path, "adapter_config.json")
    with open(file, encoding="utf-8") as source:
        config = json.load(source)
    config["base_model_name_or_path"] = os.path.basename(config["base_model_name_or_path"])
    if config["modules_to_save"]:
        config["modules_to_save"] = list(dict.fromkeys(config["modules_to_save"]))
    for key in ("target_modules", "exclude_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()
    with open(file, "w", encoding="utf-8") as target:
        target.write(json.dumps(config, indent=2, sort_keys=True))


def run(name, base, settings, folder):
    path = os.path.join(folder, "adapters", name)
    kind = next((kind for kind, cases in KINDS if name in cases), LoraConfig)
    model = get_peft_model(load(base, folder), kind(**settings))
    randomise(model)
    model.save_pretrained(path)
    tidy(path)
    if kind in (PromptTuningConfig, PrefixTuningConfig):
        model = trainable_again(base, folder, path, settings, kind)
    else:
        model = PeftModel.from_pretrained(load(base, folder), path, is_trainable=True).eval()
    inputs, labels = inputs_of(base)
    if kind is PromptTuningConfig and base != "tiny-bert":
        # PEFT lets the last virtual token predict the first token of the text, which is not asked for here.
        labels = torch.cat((torch.full((len(labels), 1), -100), labels[:, 1:]), 1)
    output = model(**inputs, labels=labels)
    output.loss.backward()
    gradients = {without_name(key): sums(x.grad) for key, x in model.named_parameters() if x.grad is not None}
    keys = set(load_file(os.path.join(path, "adapter_model.safetensors")))
    assert gradients.keys() <= keys, gradients.keys() - keys
    counts = model.get_nb_trainable_parameters()
    return {
        "base": base,
        "loss": output.loss.item(),
        "logits": last_row(output.logits),
        "trainable": list(counts),
        "gradients": gradients,
        "losses": train(model, inputs, labels),
    }


def trainable_again(base, folder, path, settings, kind):
    """PEFT loads virtual tokens for use only: they are put on a new model, as their file has them."""
    saved = load_file(os.path.join(path, "adapter_model.safetensors"))
    network = ("prefix_projection", "encoder_hidden_size")
    settings = {key: value for key, value in settings.items() if key not in network}
    model = get_peft_model(load(base, folder), kind(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(saved[without_name(name)])
    return model.eval()


def combine(folder):
    names = ["gpt2-first", "gpt2-second"]
    found = {}
    for kind in ("linear", "cat"):
        model = load("tiny-gpt2", folder)
        paths = [os.path.join(folder, "adapters", name) for name in names]
        model = PeftModel.from_pretrained(model, paths[0], adapter_name="first").eval()
        model.load_adapter(paths[1], adapter_name="second")
        model.add_weighted_adapter(["first", "second"], [0.7, 0.4], "both", combination_type=kind)
        model.set_adapter("both")
        inputs, _ = inputs_of("tiny-gpt2")
        found[kind] = last_row(model(**inputs).logits)
    model.base_model.set_adapter(["first", "second"])
    found["together"] = last_row(model(**inputs).logits)
    return found


def all_cases():
    return {**CASES, **{name: case for _, cases in KINDS for name, case in cases.items()}}


def generate(folder, minilm):
    shutil.rmtree(os.path.join(folder, "adapters"), ignore_errors=True)
    cases = {name: run(name, base, settings, folder) for name, (base, settings) in all_cases().items()}
    golden = {"ids": inputs_of("tiny-gpt2")[0]["input_ids"].tolist(), "combined": combine(folder), **cases}
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(short(value))}" for key, value in golden.items())
    with open(os.path.join(folder, "adapters.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + rows + "\n}\n")


def short(value):
    """Numbers with the digits that float32 has."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [short(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
