"""decoder-classifiers.json: the small decoders of this folder as classifiers of texts, by Transformers: logits, loss
and gradients of one batch, with a head of cosines.

rewards.json: the loss of a reward model by the code of TRL's RewardTrainer, on given rewards, and of a decoder.
"""

import json
import os
from collections import defaultdict
from unittest.mock import MagicMock

import torch
import transformers as hf
from trl import RewardTrainer

FAMILIES = {
    "gpt2": "GPT2", "llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3", "smollm3": "SmolLM3",
    "gemma2": "Gemma2", "gemma3": "Gemma3Text", "phi3": "Phi3", "olmo2": "Olmo2", "gpt-neox": "GPTNeoX", "opt": "OPT",
    "opt-post-norm": "OPT",
}
# Padded on the right; on the left; nowhere, with padding's token inside of it.
IDS = [[5, 9, 3, 17, 0, 0, 0], [0, 0, 8, 4, 11, 6, 12], [3, 21, 0, 7, 13, 2, 10]]
MASK = [[1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1], [1] * 7]
LABELS = [2, 0, 1]


def with_head(cls, path, count):
    """The model, in training mode, whose dropout is 0, with score[i, j] = cos(i D + j)."""
    model = cls.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float32, num_labels=count, pad_token_id=0,
        problem_type="regression" if count == 1 else "single_label_classification",
    ).train()
    weight = model.score.weight
    with torch.no_grad():
        weight.copy_(torch.arange(weight.numel(), dtype=torch.float64).cos().reshape(weight.shape))
    return model


def gradients(model):
    norms = [parameter.grad.double().norm() for parameter in model.parameters() if parameter.grad is not None]
    return {"norm": torch.stack(norms).norm().item(), "score": model.score.weight.grad.flatten().tolist()}


def classify(folder, name, family):
    model = with_head(getattr(hf, f"{family}ForSequenceClassification"), os.path.join(folder, f"tiny-{name}"), 3)
    ids, mask, labels = torch.tensor(IDS), torch.tensor(MASK), torch.tensor(LABELS)
    output = model(input_ids=ids, attention_mask=mask, labels=labels)
    output.loss.backward()
    return {"logits": output.logits.flatten().tolist(), "loss": output.loss.item(), **gradients(model)}


def trainer(coefficient):
    """What stands for a trainer: its settings, and anything for what it logs."""
    fake = MagicMock()
    fake.args.center_rewards_coefficient = coefficient
    fake.accelerator.gather = fake.accelerator.gather_for_metrics = lambda x: x
    fake.model.training = True
    fake._total_train_tokens, fake._tp_size = 0, 1
    fake._metrics = {"train": defaultdict(list)}
    return fake


def rewards_of(options, model, inputs):
    """Loss and margin of a batch of chosen texts above rejected ones."""
    fake = trainer(options.get("coefficient"))
    if "margins" in options:
        inputs = {**inputs, "margin": torch.tensor(options["margins"])}
    loss = RewardTrainer.compute_loss(fake, model, inputs)
    loss.backward()
    logged = fake._metrics["train"]
    return {"options": options, "loss": loss.item(), **{key: logged[key][0] for key in ("margin", "accuracy")}}


def generate(folder, _):
    found = {name: classify(folder, name, family) for name, family in FAMILIES.items()}
    inputs = {"ids": IDS, "mask": MASK, "labels": LABELS}
    write(folder, "decoder-classifiers.json", {"inputs": inputs, "families": found})

    cases = [{}, {"margins": [0.5, 2.0]}, {"coefficient": 0.25}, {"margins": [1.0, 0.25], "coefficient": 0.01}]
    given = torch.tensor([[0.75], [-1.5], [0.25], [2.0]])
    by_hand, by_model = [], []
    ids = torch.tensor([IDS[0], IDS[1], IDS[2], IDS[0][::-1]])
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    for options in cases:
        rewards = given.clone().requires_grad_()
        result = rewards_of(options, lambda **_: MagicMock(logits=rewards), {"attention_mask": torch.ones(4, 1)})
        by_hand.append({**result, "gradient": rewards.grad.flatten().tolist()})
        model = with_head(hf.LlamaForSequenceClassification, os.path.join(folder, "tiny-llama"), 1)
        result = rewards_of(options, lambda margin=None, use_cache=None, **rest: model(**rest), batch)
        by_model.append({**result, **gradients(model)})
    write(folder, "rewards.json", {
        "given": given.flatten().tolist(), "byHand": by_hand, "ids": ids.tolist(), "byModel": by_model,
    })


def write(folder, name, golden):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(golden, file)
        file.write("\n")
