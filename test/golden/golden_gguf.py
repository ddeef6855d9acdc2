"""gguf.json and tiny-*.gguf: what gguf-py makes of quantised weights, and tiny models of this folder as GGUF files.

gguf.json: per type, `data` is random blocks and `values` what they stand for (f32), both base64; per type that is
written, `from` is f32 and `data` the blocks. The files hold float16, in the order of convert_hf_to_gguf.py, and a
byte-level tokenizer whose `texts` have the `ids` that the `tokenizers` package gives.
"""

import base64
import json
import os

import gguf
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

Q = gguf.GGMLQuantizationType
READ = (
    Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K,
)
# Where a block of each type has its float16 numbers: random bits there might be no number.
HALVES = {
    Q.Q4_0: (0,), Q.Q4_1: (0, 2), Q.Q5_0: (0,), Q.Q5_1: (0, 2), Q.Q8_0: (0,), Q.Q2_K: (80, 82), Q.Q3_K: (108,),
    Q.Q4_K: (0, 2), Q.Q5_K: (0, 2), Q.Q6_K: (208,),
}
WRITTEN = (Q.F16, Q.Q8_0, Q.Q4_0, Q.Q4_1)
TEXTS = ["hello world", "He said: it's 1234 o'clock!", "  two  spaces\n\n and\ttabs ", "naïve café 漢字 🙂", "a<|end|>b"]


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def blocks(random):
    read = {}
    for kind in READ:
        size, bytes_ = gguf.GGML_QUANT_SIZES[kind]
        count = 64 if size == 1 else 4
        data = random.integers(0, 256, (count, bytes_), dtype=np.uint8)
        if size == 1:
            data = random.standard_normal(count).astype(np.float16).view(np.uint8)
            data = data.reshape(count, 2)
        for at in HALVES.get(kind, ()):
            halves = random.standard_normal(count).astype(np.float16)
            data[:, at:at + 2] = halves.view(np.uint8).reshape(count, 2)
        values = gguf.dequantize(data.reshape(1, -1), kind).astype(np.float32)
        read[kind.name] = {"id": int(kind), "data": text(data), "values": text(values)}
    written = {}
    values = np.concatenate([
        random.standard_normal(256), np.zeros(32), np.arange(-16, 16) / 2, random.standard_normal(32) * 1e-3,
    ]).astype(np.float32)
    for kind in WRITTEN:
        written[kind.name] = {"id": int(kind), "data": text(gguf.quantize(values.reshape(1, -1), kind))}
    return {"read": read, "from": text(values), "written": written}


LLAMA = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
GPT2 = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}


def permute(weights, heads):
    """As convert_hf_to_gguf.py, LlamaModel.permute."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(
        weights.shape
    )


def write_model(folder, name, architecture, tokens, merges, pre):
    with open(os.path.join(folder, f"tiny-{name}", "config.json")) as file:
        config = json.load(file)
    writer = gguf.GGUFWriter(os.path.join(folder, f"tiny-{name}.gguf"), architecture)
    if architecture == "gpt2":
        heads = (config["n_head"], config["n_head"])
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    else:
        heads = (config["num_attention_heads"], config["num_key_value_heads"])
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_embedding_length(config["hidden_size"])
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count(heads[0])
        writer.add_head_count_kv(heads[1])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    write_tokens(writer, tokens, merges, pre)
    writer.add_add_bos_token(architecture == "llama")
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for key, values in load_file(os.path.join(folder, f"tiny-{name}", "model.safetensors")).items():
        stem, end = key.rsplit(".", 1)
        parts = stem.split(".")
        layer = next((part for part in parts if part.isdigit()), None)
        inner = stem if layer is None else stem.split(f".{layer}.")[1]
        renamed = (GPT2 if architecture == "gpt2" else LLAMA)[inner]
        if architecture == "llama" and renamed in ("attn_q", "attn_k"):
            values = permute(values, heads[0] if renamed == "attn_q" else heads[1])
        if architecture == "gpt2" and values.ndim == 2 and layer is not None:
            values = values.T
        name = f"{'' if layer is None else f'blk.{layer}.'}{renamed}.{end}"
        writer.add_tensor(name, np.ascontiguousarray(values.astype(np.float16)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# Architectures by the names of their folders.
NEWER_MODELS = {
    "olmo2": "olmo2", "smollm3": "smollm3", "gemma2": "gemma2", "gemma3": "gemma3", "phi3": "phi3",
    "gpt-neox": "gptneox",
}


def write_newer(folder, name, architecture, tokens, merges):
    """The names are gguf-py's; the order of rows, and norms that count from 1, those of convert_hf_to_gguf.py."""
    with open(os.path.join(folder, f"tiny-{name}", "config.json")) as file:
        config = json.load(file)
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    size = config.get("head_dim", config["hidden_size"] // heads)
    part = config["rope_parameters"].get("partial_rotary_factor", 1)
    writer = gguf.GGUFWriter(os.path.join(folder, f"tiny-{name}.gguf"), architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_rope_dimension_count(int(size * part))
    if architecture == "gptneox":
        writer.add_layer_norm_eps(config["layer_norm_eps"])
        writer.add_parallel_residual(config["use_parallel_residual"])
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_key_length(size)
        writer.add_value_length(size)
    if config.get("sliding_window") and architecture not in ("smollm3", "olmo2"):
        writer.add_sliding_window(config["sliding_window"])
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    write_tokens(writer, tokens, merges, "qwen2")
    number = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = gguf.get_tensor_name_map(number, layers)
    for key, values in load_file(os.path.join(folder, f"tiny-{name}", "model.safetensors")).items():
        if architecture == "smollm3" and ("q_proj" in key or "k_proj" in key):
            values = permute(values, heads if "q_proj" in key else config["num_key_value_heads"])
        if architecture.startswith("gemma") and key.endswith("norm.weight"):
            values = values + 1
        if "query_key_value" in key:
            values = values.reshape(heads, 3, size, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)
        kind = np.float32 if values.ndim == 1 else np.float16
        renamed = names.get_name(key, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(renamed, np.ascontiguousarray(values.astype(kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tokens(writer, tokens, merges, pre):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def byte_tokens():
    """The byte-level alphabet in the order of its code points, two control tokens before it, and some merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "Ġ s", "1 2", "3 4", "12 34", "Ġ Ġ"]
    return ["<|begin|>", "<|end|>", *alphabet, *(merge.replace(" ", "") for merge in merges)], merges


NEWER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)


def split(digits):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(NEWER % digits), "isolated"), byte_level(False)
    ])


PRE = {
    "gpt-2": byte_level(True),
    "llama-bpe": split("{1,3}"),
    "qwen2": split(""),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)]),
}


def ids_of(tokens, merges, pre):
    vocab = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab, pairs, ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = PRE[pre]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    return [tokenizer.encode(each, add_special_tokens=False).ids for each in TEXTS]


def generate(folder, _):
    random = np.random.default_rng(0)
    tokens, merges = byte_tokens()
    golden = {
        **blocks(random),
        "tokens": tokens, "merges": merges, "texts": TEXTS,
        "ids": {pre: ids_of(tokens, merges, pre) for pre in PRE},
    }
    with open(os.path.join(folder, "gguf.json"), "w") as file:
        json.dump(golden, file, ensure_ascii=True)
        file.write("\n")
    for name, pre in (("llama", "llama-bpe"), ("qwen3", "qwen2"), ("gpt2", "gpt-2")):
        write_model(folder, name, name, tokens, merges, pre)
    for name, architecture in NEWER_MODELS.items():
        write_newer(folder, name, architecture, tokens, merges)
