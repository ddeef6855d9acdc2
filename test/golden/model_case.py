"""What the parts that compare language models share: forward and backward once, a short training run, and
writing both."""

import json
import os

import torch
from safetensors.torch import save_file


def load_head(cls, path, settings, seed):
    """A model with a head, the parameters that the folder lacks random, and their names."""
    torch.manual_seed(seed)
    model, report = cls.from_pretrained(
        path, output_loading_info=True, attn_implementation="eager", dtype=torch.float32, **settings
    )
    new = sorted(report["missing_keys"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in new:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    # Dropout is 0, so training mode changes nothing but is what training runs in.
    return model.train(), new


def model_loss(output):
    """The loss of a bare encoder: mean(last_hidden_state * cos(i)) + mean(pooler_output * sin(i)), if it has one."""

    def weighted(tensor, function):
        weights = function(torch.arange(tensor.numel(), dtype=torch.float64)).float().reshape(tensor.shape)
        return (tensor * weights).mean()

    loss = weighted(output.last_hidden_state, torch.cos)
    return loss + weighted(output.pooler_output, torch.sin) if "pooler_output" in output else loss


def run_forward(model, inputs, labels, layers):
    """Loss, and by prefix `output.` what forward returns (`layers`: outputs that are one tensor a layer) and
    `grad.` the gradients."""
    output = model(**inputs, labels=labels, output_hidden_states=True, output_attentions=True)
    output.loss.backward()
    tensors = {"output.logits": output.logits}
    for name in layers:
        tensors.update({f"output.{name}.{index}": part for index, part in enumerate(output[name])})
    tensors.update(
        {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    )
    return output.loss.item(), tensors


def run_training(model, inputs, labels):
    """Ten AdamW steps on one batch: losses before each step and after the last, and the norm of the last logits."""
    groups = [
        {"params": [value for value in model.parameters() if value.ndim > 1], "weight_decay": 0.1},
        {"params": [value for value in model.parameters() if value.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses = ten_steps(model, inputs, labels, optimizer)
    with torch.no_grad():
        output = model(**inputs, labels=labels)
    return {"losses": [*losses, output.loss.item()], "logitsNorm": output.logits.norm().item()}


def causal_inputs(seed, ids, lengths, hole, positions):
    """Rows of these lengths, padded to the longest, for a decoder: inputs, labels, other positions. `ids` are the
    tokens [first, end) to draw from; nothing may attend to the token at `hole`."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    tokens = torch.randint(*ids, (len(lengths), width), generator=generator)
    mask = torch.tensor([[int(column < length) for column in range(width)] for length in lengths])
    labels = tokens.masked_fill(mask == 0, -100)
    tokens = tokens * mask
    mask[hole] = 0
    other = torch.stack([torch.randperm(positions, generator=generator)[:width] for _ in lengths])
    return {"input_ids": tokens, "attention_mask": mask}, labels, other


def causal_case(folder, name, load, batch, change=None, more=None):
    """Writes NAME's files for a decoder, which `load` loads in training mode. `change` edits the tensors, `more` is
    written to NAME.json besides."""
    inputs, labels, positions = batch
    loss, tensors = run_forward(load(), inputs, labels, ("hidden_states", "attentions"))
    with torch.no_grad():
        tensors["positions.logits"] = load()(**inputs, position_ids=positions).logits
        if change:
            change(tensors)
    golden = {
        "inputs": {key: value.tolist() for key, value in inputs.items()},
        "labels": labels.tolist(),
        "positions": positions.tolist(),
        "loss": loss,
        "training": run_training(load(), inputs, labels),
        **(more or {}),
    }
    write_case(folder, name, tensors, golden)


def load_eager(cls, path, **settings):
    # Dropout is 0, so training mode changes nothing but is what training runs in.
    return cls.from_pretrained(path, attn_implementation="eager", dtype=torch.float32, **settings).train()


def ten_steps(model, inputs, labels, optimizer):
    """The loss before each of ten steps on one batch."""
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


def write_case(folder, name, tensors, golden):
    """NAME.safetensors and NAME.json, a line for each key."""
    tensors = {key: tensor.detach().contiguous().clone() for key, tensor in tensors.items()}
    save_file(tensors, os.path.join(folder, f"{name}.safetensors"), metadata={"format": "pt"})
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + rows + "\n}\n")


seq2seq_layers = (
    "encoder_hidden_states",
    "encoder_attentions",
    "decoder_hidden_states",
    "decoder_attentions",
    "cross_attentions",
)


def seq2seq_inputs(count, seed, padding):
    """Two sources, the second one padded, and their labels, for a vocabulary of `count` tokens; those below 3
    are special."""
    generator = torch.Generator().manual_seed(seed)

    def rows(lengths):
        ids = torch.randint(3, count, (len(lengths), max(lengths)), generator=generator)
        mask = torch.tensor([[int(column < length) for column in range(max(lengths))] for length in lengths])
        return ids, mask

    ids, mask = rows([9, 6])
    labels, target_mask = rows([8, 5])
    inputs = {"input_ids": ids.masked_fill(mask == 0, padding), "attention_mask": mask}
    return inputs, labels.masked_fill(target_mask == 0, -100)


def seq2seq_case(folder, name, load, inputs, labels, layers, options=None, more=None):
    """Writes NAME's files for an encoder-decoder of so many layers, which `load` loads in training mode."""
    loss, tensors = run_forward(load(), inputs, labels, seq2seq_layers)
    tensors["output.encoder_last_hidden_state"] = tensors.pop(f"output.encoder_hidden_states.{layers}")
    golden = {
        "inputs": {key: value.tolist() for key, value in inputs.items()},
        "labels": labels.tolist(),
        "loss": loss,
        "training": run_training(load(), inputs, labels),
        **(run_generation(load().eval(), inputs, options) if options else {}),
        **(more or {}),
    }
    write_case(folder, name, tensors, golden)


def run_generation(model, inputs, cases):
    """For each case of options: the new tokens of each source, and the scores of beam searches."""
    found = []
    for options in cases:
        case = {"options": options, "texts": []}
        for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"]):
            output = model.generate(
                ids[mask == 1][None], do_sample=False, return_dict_in_generate=True, output_scores=True, **options
            )
            end = model.config.eos_token_id
            row = output.sequences[0, 1:].tolist()
            case["texts"].append(row[: row.index(end) + 1] if end in row else row)
            if options.get("num_beams", 1) > 1:
                case.setdefault("scores", []).extend(output.sequences_scores.tolist())
        found.append(case)
    return {"generated": found}
