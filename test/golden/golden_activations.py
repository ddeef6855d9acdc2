"""activations.json and activations.safetensors: what goes on inside of the tiny models.

`FAMILY/torch/NAME` is what the module NAME of Transformers' model gives, seen by a forward hook of PyTorch;
`FAMILY/lens/NAME` the activation that TransformerLens calls NAME, without folding and centring of weights; of an
encoder-decoder for the first token of the target, for TransformerLens' decoder sees those to come. Changed runs:
`FAMILY/torch-halved` are the logits where the module in `halved` gives half of what it gave;
`FAMILY/lens-headless` those where the second head's `blocks.0.attn.hook_z` is 0. Of gpt2 see `interventions` too.

Made by itself, for TransformerLens 2 needs much besides: pip install --no-deps transformer_lens==2.16.1 and what its
import asks for.
"""

import os

import torch
import transformers
from transformer_lens import HookedEncoder, HookedEncoderDecoder, HookedTransformer, HookedTransformerConfig, patching
from transformer_lens.pretrained.weight_conversions import (
    convert_bert_weights,
    convert_gpt2_weights,
    convert_llama_weights,
    convert_t5_weights,
)

from model_case import write_case

ROW = [[7, 23, 5, 20, 11]]
CORRUPTED = [[7, 23, 41, 20, 11]]
TARGET = [[0, 9, 21, 14]]


def load(kind, folder, family):
    path = os.path.join(folder, f"tiny-{family}")
    return getattr(transformers, kind).from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()


def main_tensor(output):
    """What a module is known by: itself, or of several things the first."""
    if isinstance(output, torch.Tensor):
        return output
    return output.logits if "logits" in output else output[0]


def torch_activations(model, inputs):
    found = {}
    handles = [
        module.register_forward_hook(lambda _m, _a, output, name=name: found.update({name: main_tensor(output)}))
        for name, module in model.named_modules()
        if name
    ]
    model(**inputs)
    for handle in handles:
        handle.remove()
    return found


def halved(model, inputs, name):
    def hook(_module, _args, output):
        return (0.5 * output[0], *output[1:]) if isinstance(output, tuple) else 0.5 * output

    handle = model.get_submodule(name).register_forward_hook(hook)
    logits = model(**inputs).logits
    handle.remove()
    return logits


def lens(cls, config, state):
    model = cls(HookedTransformerConfig(**config, device="cpu", seed=0), move_to_device=True)
    model.load_state_dict(state(model.cfg), strict=False)
    return model.eval()


def lens_gpt2(model):
    c = model.config
    config = dict(
        n_layers=c.n_layer, d_model=c.n_embd, n_ctx=c.n_positions, d_head=c.n_embd // c.n_head, n_heads=c.n_head,
        d_mlp=c.n_inner, d_vocab=c.vocab_size, act_fn="gelu_new", normalization_type="LN", eps=c.layer_norm_epsilon,
    )
    return lens(HookedTransformer, config, lambda cfg: convert_gpt2_weights(model, cfg))


def lens_llama(model):
    c = model.config
    config = dict(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_ctx=64, d_head=c.head_dim, n_heads=c.num_attention_heads,
        n_key_value_heads=c.num_key_value_heads, d_mlp=c.intermediate_size, d_vocab=c.vocab_size, act_fn="silu",
        normalization_type="RMS", eps=c.rms_norm_eps, positional_embedding_type="rotary", rotary_dim=c.head_dim,
        rotary_adjacent_pairs=False, final_rms=True, gated_mlp=True, original_architecture="LlamaForCausalLM",
    )
    return lens(HookedTransformer, config, lambda cfg: convert_llama_weights(model, cfg))


def lens_bert(model):
    c = model.config
    config = dict(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_ctx=c.max_position_embeddings,
        d_head=c.hidden_size // c.num_attention_heads, n_heads=c.num_attention_heads, d_mlp=c.intermediate_size,
        d_vocab=c.vocab_size, act_fn="gelu", eps=c.layer_norm_eps, attention_dir="bidirectional",
    )
    # It wants the pooler too.
    whole = transformers.BertForPreTraining.from_pretrained(model.name_or_path)
    return lens(HookedEncoder, config, lambda cfg: convert_bert_weights(whole, cfg))


def lens_t5(model):
    c = model.config
    config = dict(
        n_layers=c.num_layers, d_model=c.d_model, n_ctx=64, d_head=c.d_kv, n_heads=c.num_heads, d_mlp=c.d_ff,
        d_vocab=c.vocab_size, act_fn="relu", eps=c.layer_norm_epsilon, attention_dir="bidirectional",
        positional_embedding_type="relative_positional_bias", use_attn_scale=False, tie_word_embeddings=True,
        relative_attention_max_distance=c.relative_attention_max_distance,
        relative_attention_num_buckets=c.relative_attention_num_buckets,
        decoder_start_token_id=c.decoder_start_token_id,
    )
    return lens(HookedEncoderDecoder, config, lambda cfg: convert_t5_weights(model, cfg))


def no_second_head(z, hook):
    z = z.clone()
    z[:, :, 1] = 0
    return z


FAMILIES = {
    # Transformers' class, TransformerLens' model, and the module whose output is halved.
    "gpt2": ("GPT2LMHeadModel", lens_gpt2, "transformer.h.0.mlp"),
    "llama": ("LlamaForCausalLM", lens_llama, "model.layers.1.self_attn"),
    "bert": ("BertForMaskedLM", lens_bert, "bert.encoder.layer.1.attention.self"),
    "albert": ("AlbertForMaskedLM", None, "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn"),
    "bart": ("BartForConditionalGeneration", None, "model.decoder.layers.0.encoder_attn"),
    "t5": ("T5ForConditionalGeneration", lens_t5, "decoder.block.0.layer.1.EncDecAttention"),
}
# Names of TransformerLens that we have too.
OURS = (
    "hook_embed", "hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_cross_attn_out", "hook_resid_mid_cross",
    "hook_mlp_out", "hook_resid_post", "hook_normalized_resid_post", "hook_q", "hook_k", "hook_v", "hook_rot_q",
    "hook_rot_k", "hook_z", "hook_pattern", "hook_pre", "hook_pre_linear", "hook_post",
)


def interventions(model):
    """`patched/NAME` [layers, tokens]: what comes back of a metric where one activation NAME is that of the clean row;
    `ablated` [layers, heads]: what the row's mean log-probability loses without a head. By TransformerLens."""
    clean, corrupted = torch.tensor(ROW), torch.tensor(CORRUPTED)

    def metric(logits):
        return logits[0, -1, 3] - logits[0, -1, 9]

    full, cache = model.run_with_cache(clean)
    less = metric(model(corrupted))
    found = {}
    patches = {
        "hook_resid_pre": patching.get_act_patch_resid_pre,
        "hook_attn_out": patching.get_act_patch_attn_out,
        "hook_mlp_out": patching.get_act_patch_mlp_out,
    }
    for name, patch in patches.items():
        scores = patch(model, corrupted, cache, metric)
        found[f"patched/{name}"] = (scores - less) / (metric(full) - less)

    def log_prob(logits):
        return logits.log_softmax(-1)[0, :-1].gather(1, clean[0, 1:, None]).mean()

    ablated = torch.zeros(model.cfg.n_layers, model.cfg.n_heads)
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):

            def hook(z, hook, head=head):
                z[:, :, head] = 0
                return z

            logits = model.run_with_hooks(clean, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", hook)])
            ablated[layer, head] = log_prob(full) - log_prob(logits)
    return {**found, "ablated": ablated}


@torch.no_grad()
def generate(folder, _):
    tensors = {}
    for family, (kind, to_lens, name) in FAMILIES.items():
        model = load(kind, folder, family)
        inputs = {"input_ids": torch.tensor(ROW)}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = torch.tensor(TARGET)
        for module, x in torch_activations(model, inputs).items():
            tensors[f"{family}/torch/{module}"] = x
        tensors[f"{family}/torch-halved"] = halved(model, inputs, name)
        if to_lens is None:
            continue
        looked_at = to_lens(model)
        block = "decoder" if model.config.is_encoder_decoder else "blocks"
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["decoder_input_ids"][:, :1]
        logits, cache = looked_at.run_with_cache(*inputs.values())
        off = (logits - model(**inputs).logits).abs().max()
        assert off < 1e-4, f"{family}: TransformerLens' logits are off by {off}"
        for hook, x in cache.items():
            # Of the embeddings ours has those of a decoder alone.
            if hook.split(".")[-1] in OURS and (hook.count(".") > 0 or block == "blocks") and hook[:6] != "embed.":
                tensors[f"{family}/lens/{hook}"] = x
        hooks = [(f"{block}.0.attn.hook_z", no_second_head)]
        with looked_at.hooks(fwd_hooks=hooks):
            tensors[f"{family}/lens-headless"] = looked_at(*inputs.values())
        if family == "gpt2":
            tensors.update({f"gpt2/{name}": x for name, x in interventions(looked_at).items()})
    halves = {family: entry[2] for family, entry in FAMILIES.items()}
    golden = {"row": ROW, "corrupted": CORRUPTED, "target": TARGET, "halved": halves}
    write_case(folder, "activations", tensors, golden)
