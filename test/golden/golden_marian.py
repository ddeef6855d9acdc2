"""tiny-marian/, tiny-marian-apart/: small random MarianMTModels saved by Transformers; NAME.json and
NAME.safetensors: what Transformers computes with them.

The first shares one table of embeddings and scales it, as the Transformer of "Attention Is All You Need"
does; the second has a table and a vocabulary for each side.

NAME.safetensors holds, by prefix: `output.` what forward returns, `grad.` the gradient of the loss by every
parameter,
`masked.` the logits for given inputs and a mask of the decoder. Names after the prefix are those of
Transformers. NAME.json holds the inputs, the labels, the loss (with smoothed labels too), and a training run.

Row 1 of the source ends in padding, row 2 of the target too; row 0 of the source has a token that nothing may
attend to.
"""

import os

import torch
from transformers import MarianConfig, MarianMTModel

from model_case import run_forward, run_training, seq2seq_layers, write_case
from random_model import save_random

VOCABULARY, TARGETS = 53, 41
SOURCE, TARGET = [9, 6, 9], [7, 8, 5]
HOLE = (0, 4)
SHAPE = dict(
    vocab_size=VOCABULARY,
    max_position_embeddings=24,
    d_model=24,
    encoder_layers=2,
    encoder_attention_heads=3,
    encoder_ffn_dim=28,
    decoder_layers=2,
    decoder_attention_heads=2,
    decoder_ffn_dim=32,
    activation_function="swish",
    dropout=0.0,
    init_std=0.2,
    scale_embedding=True,
    pad_token_id=40,
    decoder_start_token_id=40,
    eos_token_id=0,
    forced_eos_token_id=0,
)


def make_cases():
    apart = dict(encoder_layers=1, decoder_layers=1, scale_embedding=False, activation_function="relu")
    return {
        "marian": MarianConfig(**SHAPE),
        "marian-apart": MarianConfig(
            **{**SHAPE, **apart}, share_encoder_decoder_embeddings=False, decoder_vocab_size=TARGETS
        ),
    }


def make_inputs():
    generator = torch.Generator().manual_seed(32)

    def rows(lengths, count):
        ids = torch.randint(1, count, (len(lengths), max(lengths)), generator=generator)
        mask = torch.tensor([[int(column < length) for column in range(max(lengths))] for length in lengths])
        return ids, mask

    ids, mask = rows(SOURCE, 40)
    ids = ids.masked_fill(mask == 0, 40)
    labels, target_mask = rows(TARGET, 40)
    given, _ = rows(TARGET, 40)
    mask[HOLE] = 0
    return {"input_ids": ids, "attention_mask": mask}, labels.masked_fill(target_mask == 0, -100), given, target_mask


def generate(folder, minilm):
    torch.manual_seed(31)
    for name, config in make_cases().items():
        path = os.path.join(folder, f"tiny-{name}")
        model = MarianMTModel(config)
        model.final_logits_bias.normal_(std=0.3)
        save_random(model, path)
        os.remove(os.path.join(path, "generation_config.json"))

        def load():
            # Dropout is 0, so training mode changes nothing but is what training runs in.
            return MarianMTModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).train()

        inputs, labels, given, target_mask = make_inputs()
        loss, tensors = run_forward(load(), inputs, labels, seq2seq_layers)
        last = f"output.encoder_hidden_states.{config.encoder_layers}"
        tensors["output.encoder_last_hidden_state"] = tensors.pop(last)
        smooth = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
        with torch.no_grad():
            logits = tensors["output.logits"]
            tensors["masked.logits"] = load()(
                **inputs, decoder_input_ids=given, decoder_attention_mask=target_mask
            ).logits
        golden = {
            "inputs": {key: value.tolist() for key, value in inputs.items()},
            "labels": labels.tolist(),
            "decoder": {"input_ids": given.tolist(), "attention_mask": target_mask.tolist()},
            "loss": loss,
            "smoothedLoss": smooth(logits.flatten(0, 1), labels.flatten()).item(),
            "training": run_training(load(), inputs, labels),
        }
        write_case(folder, name, tensors, golden)
