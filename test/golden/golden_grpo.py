"""Losses and gradients of GRPO, by TRL's own `GRPOTrainer._compute_loss` on given log-probabilities."""

import json
import os
from collections import defaultdict
from types import SimpleNamespace

import torch
from trl import GRPOTrainer
from trl.trainer.utils import nanstd

BATCH, LENGTH, GROUP, MOST = 6, 5, 3, 8


class Accelerator:
    num_processes = 1
    sync_gradients = True
    reduce = staticmethod(lambda x, reduction: x)
    gather = staticmethod(lambda x: x)


def trainer(logps, loss_type, level, beta, epsilon_high):
    """A trainer with no more than the loss looks at."""
    one = GRPOTrainer.__new__(GRPOTrainer)
    values = dict(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logps, torch.zeros_like(logps), None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        loss_type=loss_type,
        epsilon_low=0.2,
        epsilon_high=epsilon_high,
        use_vllm=False,
        model=SimpleNamespace(training=False),
        max_completion_length=MOST,
        accelerator=Accelerator(),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )
    for name, value in values.items():
        object.__setattr__(one, name, value)
    return one


def generate(folder, _):
    torch.manual_seed(0)
    logps = (-torch.rand(BATCH, LENGTH) * 3).double()
    old = logps + 0.5 * torch.randn(BATCH, LENGTH).double()
    reference = logps + 0.3 * torch.randn(BATCH, LENGTH).double()
    mask = (torch.arange(LENGTH)[None] < torch.tensor([5, 3, 1, 4, 5, 2])[:, None]).double()
    rewards = torch.tensor([1.0, 0.0, 0.5, 2.0, 2.0, 2.0]).double()
    groups = rewards.view(-1, GROUP)
    centred = (groups - groups.mean(1, keepdim=True)).flatten()
    deviations = {
        "group": nanstd(groups, dim=1).repeat_interleave(GROUP),
        "batch": nanstd(rewards).expand_as(rewards),
    }
    advantages = {scale: (centred / (std + 1e-4)).tolist() for scale, std in deviations.items()}
    advantages["none"] = centred.tolist()
    given = torch.tensor([1.2, -0.7, 0.3, -1.5, 0.9, -0.1]).double()
    cases = []
    for loss_type in ("dapo", "grpo", "dr_grpo"):
        for level in ("token", "sequence"):
            for beta, high, is_old in ((0.0, 0.2, True), (0.04, 0.28, True), (0.04, 0.2, False)):
                leaf = logps.clone().requires_grad_()
                inputs = {
                    "prompt_ids": torch.zeros(BATCH, 1, dtype=torch.long),
                    "prompt_mask": torch.ones(BATCH, 1),
                    "completion_ids": torch.zeros(BATCH, LENGTH, dtype=torch.long),
                    "completion_mask": mask,
                    "advantages": given,
                    "ref_per_token_logps": reference,
                    "num_items_in_batch": mask.sum(),
                }
                if is_old:
                    inputs["old_per_token_logps"] = old
                loss = trainer(leaf, loss_type, level, beta, high)._compute_loss(None, inputs)
                loss.backward()
                options = {"lossType": loss_type, "importanceSamplingLevel": level, "beta": beta, "epsilonHigh": high}
                cases.append({"options": options, "old": is_old, "loss": loss.item(), "gradient": flat(leaf.grad)})
    golden = {
        "shape": [BATCH, LENGTH],
        "maxCompletionLength": MOST,
        "logps": flat(logps),
        "old": flat(old),
        "reference": flat(reference),
        "mask": flat(mask),
        "given": given.tolist(),
        "rewards": rewards.tolist(),
        "group": GROUP,
        "advantages": advantages,
        "cases": cases,
    }
    with open(os.path.join(folder, "grpo.json"), "w") as file:
        json.dump(golden, file, separators=(",", ":"))


def flat(x):
    return [round(value, 10) for value in x.flatten().tolist()]
