"""preferences.json: losses of preference tuning, and their gradients, by the code of TRL's trainers (DPO, KTO, CPO for
simpo and cdpo, ORPO), which is run on given log-probabilities in place of a model's.

`given`: log-probabilities of two tokens for each answer, and the reference's of whole answers. `model`: those of the
small GPT of this project on one batch, with its gradients.
"""

import json
import os
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

PAIRS = [
    {"prompt": "The state of the", "chosen": " Union is strong", "rejected": " whale"},
    {"prompt": "Call me", "chosen": " Ishmael.", "rejected": " a taxi, I am late"},
    {"prompt": "We have seen", "chosen": " peace and plenty", "rejected": " nothing of the sort"},
]
OPTIONS = {
    "dpo": {"beta": 0.1},
    "cdpo": {"beta": 0.3, "labelSmoothing": 0.2},
    "ipo": {"beta": 0.2},
    "simpo": {"beta": 2.0, "gamma": 1.0},
    "orpo": {"beta": 0.1},
    "kto": {"beta": 0.1},
}


def fake(**values):
    """What stands for a trainer: its settings, and anything for what it logs."""
    trainer = MagicMock()
    trainer.accelerator.device = torch.device("cpu")
    trainer.accelerator.gather_for_metrics = lambda x: x
    trainer.model.training = True
    for name, value in values.items():
        setattr(trainer, name, value)
    return trainer


def outputs(tokens):
    none = torch.zeros_like(tokens)
    return SimpleNamespace(log_probs=tokens, entropy=none, mean_logits=none, is_top1=none.bool())


def loss_of(name, tokens, mask, reference, others, options, whole=None):
    """The loss of answers [2 P, T] of log-probabilities, 0 where no token counts."""
    beta = options["beta"]
    half = len(tokens) // 2
    full_mask = torch.cat([torch.zeros(len(mask), 1), mask], 1)
    ids = torch.zeros(full_mask.shape, dtype=torch.long)
    if name in ("dpo", "ipo"):
        trainer = fake(
            beta=beta, loss_types=["sigmoid" if name == "dpo" else "ipo"], loss_weights=[1.0], ld_alpha=None,
            f_divergence_type="reverse_kl", precompute_ref_logps=True, use_weighting=False, aux_loss_enabled=False,
        )
        batch = {
            "input_ids": ids, "completion_mask": full_mask, "attention_mask": full_mask,
            "ref_chosen_logps": reference[:half], "ref_rejected_logps": reference[half:],
        }
        return DPOTrainer._compute_loss(trainer, lambda **_: outputs(tokens), batch, False)
    if name == "kto":
        trainer = fake(
            beta=beta, loss_type="kto", calculate_KL=True, precompute_ref_logps=True, aux_loss_enabled=False,
            desirable_weight=1.0, undesirable_weight=1.0, _compute_kl_logps=lambda *_: others[0],
        )
        batch = {
            "input_ids": ids, "completion_mask": full_mask, "attention_mask": full_mask, "ref_logps": reference,
            "ref_KL_logps": others[1], "label": torch.tensor([True] * half + [False] * half),
        }
        return KTOTrainer._compute_loss(trainer, lambda **_: outputs(tokens), batch, False)
    sums = (tokens * mask).sum(1)
    if name == "orpo":
        means = sums / mask.sum(1)
        odds = ORPOTrainer.odds_ratio_loss(fake(beta=beta), means[:half], means[half:])[0]
        return -odds.mean() + (whole if whole is not None else 0)
    kind = {"loss_type": "simpo", "simpo_gamma": options["gamma"]} if name == "simpo" else {"loss_type": "sigmoid"}
    trainer = fake(beta=beta, alpha=0.0, label_smoothing=options.get("labelSmoothing", 0.0), **kind)
    scores = sums / mask.sum(1) if name == "simpo" else sums - reference
    return CPOTrainer.cpo_loss(trainer, scores[:half], scores[half:])[0].mean()


def by_hand():
    generator = torch.Generator().manual_seed(1)
    tokens = -3 * torch.rand((8, 2), generator=generator) - 0.05
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]] * 4)
    tokens = tokens * mask
    reference = tokens.sum(1) + torch.randn(8, generator=generator)
    others = (-torch.rand(4, generator=generator), -1 - torch.rand(4, generator=generator))
    found = {}
    for name, options in OPTIONS.items():
        x = tokens.clone().requires_grad_()
        loss = loss_of(name, x, mask, reference, others, options)
        loss.backward()
        found[name] = {"options": options, "loss": loss.item(), "gradient": (x.grad * mask).tolist()}
    given = {"tokens": tokens, "mask": mask, "reference": reference, "others": others[0], "otherReference": others[1]}
    return {**{key: value.tolist() for key, value in given.items()}, "losses": found}


def by_model(path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    end = tokenizer.eos_token
    rows = []
    for name in ("chosen", "rejected"):
        for pair in PAIRS:
            before = tokenizer(pair["prompt"])["input_ids"]
            rows.append((before, tokenizer(pair["prompt"] + pair[name] + end)["input_ids"]))
    # kto's answers to other questions: that of the pair before.
    others = []
    for i in range(len(PAIRS)):
        prompt, other = rows[i][0], rows[(i - 1) % len(PAIRS)]
        others.append((prompt, prompt + other[1][len(other[0]):]))

    def log_probs(model, rows):
        """ln p of each token of answers, their mask, and ln p of all tokens."""
        width = max(len(ids) for _, ids in rows)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for _, ids in rows])
        full = torch.tensor([[1.0] * len(ids) + [0.0] * (width - len(ids)) for _, ids in rows])
        mask = torch.tensor([[float(len(p) <= i < len(ids)) for i in range(width)] for p, ids in rows])[:, 1:]
        logits = model(input_ids=ids, attention_mask=full).logits[:, :-1]
        tokens = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        return tokens, mask, full[:, 1:]

    offsets = torch.tensor([0.5, -1.0, 0.25, -0.75, 1.5, 0.125])
    found = {}
    for name, options in OPTIONS.items():
        model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).train()
        tokens, mask, full = log_probs(model, rows)
        other, other_mask, _ = log_probs(model, others)
        other = (other * other_mask).sum(1).detach()
        reference = (tokens * mask).sum(1).detach() + offsets
        half = len(PAIRS)
        whole = -(tokens * full)[:half].sum() / full[:half].sum()
        loss = loss_of(name, tokens * mask, mask, reference, (other, other - 0.5), options, whole)
        loss.backward()
        norms = [parameter.grad.double().norm() for parameter in model.parameters()]
        found[name] = {
            "loss": loss.item(), "norm": torch.stack(norms).norm().item(),
            "gradient": model.transformer.ln_f.weight.grad.tolist(),
            "reference": reference.tolist(), "otherReference": (other - 0.5).tolist(),
        }
    return {"pairs": PAIRS, "losses": found}


def generate(folder, _):
    path = os.path.join(folder, "..", "..", "models", "pretrained", "gpt-small")
    golden = {"given": by_hand(), "model": by_model(path)}
    with open(os.path.join(folder, "preferences.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file)
        file.write("\n")
