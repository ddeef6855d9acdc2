"""tiny-NAME/: small random decoders saved by Transformers; NAME.json and NAME.safetensors: what Transformers
computes with them; rotary.json: frequencies of every scaling of rotary positions.

NAME.safetensors holds, by prefix: `output.` what forward returns, `grad.` the gradient of the loss by every
parameter, `positions.` the logits with other positions. Names after the prefix are those of Transformers.
NAME.json holds the inputs, the labels, the loss, a training run, and a greedy text with the logits of its
first and last token (`generated`), longer than every sliding window.

Row 1 ends in padding, so little that each window reaches a token; row 2 has a token in its middle that nothing
may attend to. Sliding windows are shorter than the rows, and heads have other sizes than hidden_size / heads where
the family allows it.
"""

import json
import os
import zlib

import torch
import transformers as hf
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from model_case import causal_case, causal_inputs, load_eager
from random_model import save_random

VOCABULARY = 37
POSITIONS = 300
LENGTHS = [12, 9, 12]
HOLE = (2, 3)
PROMPT = [5, 11, 7, 3, 9]
NEW_TOKENS = 24

TOKENS = dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=0)
SHAPE = dict(
    **TOKENS,
    hidden_size=16,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=POSITIONS,
    initializer_range=0.25,
)
YARN = dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=32)
LONG = dict(
    rope_type="longrope", rope_theta=100.0, short_factor=[1.0, 1.5], long_factor=[2.0, 3.0],
    original_max_position_embeddings=16,
)
GEMMA = dict(
    head_dim=8, num_hidden_layers=3, query_pre_attn_scalar=12, sliding_window=4, initializer_range=0.12,
    attn_implementation="eager",
)

CASES = {
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(
        **SHAPE, head_dim=8, sliding_window=5,
        rope_parameters=dict(rope_type="linear", rope_theta=100.0, factor=2.0),
    )),
    "qwen2-window": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(
        **SHAPE, use_sliding_window=True, sliding_window=4, max_window_layers=1, rope_parameters=YARN,
    )),
    "smollm3": lambda: hf.SmolLM3ForCausalLM(hf.SmolLM3Config(
        **SHAPE, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6,
    )),
    "llama-dynamic": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(
        **{**SHAPE, "max_position_embeddings": 100, "num_hidden_layers": 1},
        rope_parameters=dict(rope_type="dynamic", rope_theta=100.0, factor=3.0),
    )),
    "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**SHAPE)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(
        **SHAPE, sliding_window=6,
        rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5),
    )),
    "phi3-long": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(
        **{**SHAPE, "num_hidden_layers": 1}, original_max_position_embeddings=16, rope_parameters=LONG,
    )),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(
        **{**SHAPE, **GEMMA}, attn_logit_softcapping=1.5, final_logit_softcapping=4.0,
    )),
    "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(
        **{**SHAPE, **GEMMA}, _sliding_window_pattern=2,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", rope_theta=1000.0, factor=4.0),
            sliding_attention=dict(rope_type="default", rope_theta=100.0),
        ),
    )),
    "gpt-neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(
        **{key: SHAPE[key] for key in SHAPE if key != "num_key_value_heads"},
        rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5),
    )),
    "gpt-neox-serial": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(
        **{**{key: SHAPE[key] for key in SHAPE if key != "num_key_value_heads"}, "num_hidden_layers": 1},
        use_parallel_residual=False, attention_bias=False,
        rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=1.0),
    )),
    "opt": lambda: hf.OPTForCausalLM(hf.OPTConfig(**OPT)),
    "opt-post-norm": lambda: hf.OPTForCausalLM(hf.OPTConfig(
        **{**OPT, "num_hidden_layers": 1}, do_layer_norm_before=False, word_embed_proj_dim=8,
    )),
}
OPT = dict(
    **TOKENS, hidden_size=16, ffn_dim=20, num_hidden_layers=2, num_attention_heads=4, init_std=0.25,
    max_position_embeddings=POSITIONS, dropout=0.0,
)


def run_greedy(model):
    prompt = torch.tensor([PROMPT])
    output = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=NEW_TOKENS,
        eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
    )
    return {
        "prompt": PROMPT,
        "tokens": output.sequences[0, len(PROMPT):].tolist(),
        "first": output.logits[0][0].tolist(),
        "last": output.logits[-1][0].tolist(),
    }


def rotary_cases():
    """Frequencies and factor of a head of 16 numbers, for texts of some lengths."""
    kinds = [
        dict(rope_type="linear", factor=4.0),
        dict(rope_type="dynamic", factor=4.0),
        dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=256),
        dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=64, beta_fast=16.0, beta_slow=2.0,
             truncate=False),
        dict(rope_type="yarn", factor=40.0, original_max_position_embeddings=64, mscale=0.7, mscale_all_dim=1.0),
        dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=256, attention_factor=1.25),
        dict(rope_type="longrope", short_factor=[1 + 0.1 * i for i in range(8)], long_factor=[2 + i for i in range(8)],
             original_max_position_embeddings=128),
        dict(rope_type="longrope", short_factor=[1.0] * 8, long_factor=[2.0] * 8, attention_factor=1.5, factor=3.0,
             original_max_position_embeddings=128),
        dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=64),
    ]
    cases = []
    for kind in kinds:
        for length in (100, 1000):
            config = hf.LlamaConfig(
                hidden_size=64, num_attention_heads=4, max_position_embeddings=512,
                rope_parameters={**kind, "rope_theta": 500.0},
            )
            frequencies, factor = ROPE_INIT_FUNCTIONS[kind["rope_type"]](config, "cpu", seq_len=length)
            cases.append({
                "scaling": kind, "length": length, "frequencies": frequencies.tolist(), "factor": float(factor),
            })
    return {"theta": 500.0, "dim": 16, "maxPositions": 512, "cases": cases}


def generate(folder, minilm, names=tuple(CASES)):
    with open(os.path.join(folder, "rotary.json"), "w", encoding="utf-8") as file:
        json.dump(rotary_cases(), file)
        file.write("\n")
    for name in names:
        torch.manual_seed(zlib.crc32(name.encode()))
        path = os.path.join(folder, f"tiny-{name}")
        model = CASES[name]()
        save_random(model, path)
        os.remove(os.path.join(path, "generation_config.json"))

        def load():
            return load_eager(type(model), path)

        def change(tensors):
            if name.startswith("gpt-neox"):  # the head's name in files
                tensors["grad.embed_out.weight"] = tensors.pop("grad.lm_head.weight")

        batch = causal_inputs(22, (3, VOCABULARY), LENGTHS, HOLE, POSITIONS)
        causal_case(folder, name, load, batch, change, {"generated": run_greedy(load().eval())})
