"""generation.json: what Transformers generates with tiny-gpt2/ (golden_gpt2.py), and what its logits processors
make of fixed scores.

`texts`: options under their names in generation_config.json, the new tokens of each text up to and with its
end, and the scores of beam searches. The prompts have several lengths; Transformers pads them on the left.
`sources` and `translations`: the same of tiny-marian/ (golden_marian.py), an encoder-decoder, sources padded
on the right.
`processors`: the tokens before, the scores, and after each processor the scores that it changed, as {place: score};
null stands for minus infinity. `keys`: all settings of GenerationConfig.
"""

import json
import math
import os

import torch
from transformers import GenerationConfig, GPT2LMHeadModel, MarianMTModel
from transformers.generation import logits_process as lp

PROMPTS = [[5, 17, 80], [33], [61, 2, 44, 44, 9, 71, 13, 28, 90], [8, 8, 8, 8, 50]]
PADDING = 96
FEW, MANY = [70], [35, 70, 12, 89]

OPTIONS = [
    {"max_new_tokens": 23},
    {"max_new_tokens": 20, "eos_token_id": FEW},
    {"max_new_tokens": 20, "repetition_penalty": 1.4},
    {"max_new_tokens": 20, "repetition_penalty": 0.8, "eos_token_id": FEW},
    {"max_new_tokens": 20, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 20, "min_new_tokens": 9, "eos_token_id": MANY},
    {"num_beams": 3, "max_new_tokens": 12},
    {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 15, "eos_token_id": FEW},
    {"num_beams": 4, "num_return_sequences": 2, "max_new_tokens": 15, "eos_token_id": MANY, "early_stopping": True},
    {"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 15, "eos_token_id": MANY, "early_stopping": "never"},
    {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 15, "eos_token_id": FEW, "length_penalty": 0.0},
    {"num_beams": 3, "max_new_tokens": 15, "eos_token_id": MANY, "length_penalty": 2.5, "early_stopping": "never"},
    {"num_beams": 3, "max_new_tokens": 15, "eos_token_id": FEW, "length_penalty": -1.0},
    {"num_beams": 5, "max_new_tokens": 15, "eos_token_id": FEW, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 15, "min_new_tokens": 6, "eos_token_id": MANY},
    {"max_new_tokens": 16, "min_length": 11, "eos_token_id": MANY},
    {"max_new_tokens": 12, "suppress_tokens": [12, 35, 70, 89], "begin_suppress_tokens": [8, 44, 61]},
    {"max_new_tokens": 12, "forced_bos_token_id": 7, "begin_suppress_tokens": [50, 91], "forced_eos_token_id": [3, 4]},
    {"max_new_tokens": 12, "sequence_bias": [[[12], -9.0], [[44], 1.5], [[8, 50], 4.0], [[17, 80, 3], 7.5]]},
    {"max_new_tokens": 16, "exponential_decay_length_penalty": (4, 1.4), "eos_token_id": FEW},
    {"max_new_tokens": 16, "encoder_repetition_penalty": 1.5, "encoder_no_repeat_ngram_size": 2},
    {"max_new_tokens": 12, "encoder_no_repeat_ngram_size": 1, "bad_words_ids": [[70], [12]], "eos_token_id": FEW},
    {"max_new_tokens": 12, "guidance_scale": 1.8, "eos_token_id": FEW},
    {"max_new_tokens": 12, "guidance_scale": 0.4, "repetition_penalty": 1.2},
    {"max_new_tokens": 12, "remove_invalid_values": True, "suppress_tokens": [12], "renormalize_logits": True},
    {
        "num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 12, "eos_token_id": MANY, "min_length": 9,
        "suppress_tokens": [12], "sequence_bias": [[[44], 1.5], [[8, 50], 4.0]], "renormalize_logits": True,
    },
    {
        "num_beams": 3, "max_new_tokens": 14, "eos_token_id": FEW, "exponential_decay_length_penalty": (3, 1.3),
        "encoder_repetition_penalty": 0.7, "begin_suppress_tokens": [50, 8],
    },
]

# Without Marian's own settings, which are in its config.
PLAIN = {"forced_eos_token_id": None, "bad_words_ids": None}
SOURCES = [[7, 21, 33, 0], [12, 0], [3, 3, 44, 9, 18, 27, 50, 36, 5, 0]]
TRANSLATION_OPTIONS = [
    {"max_new_tokens": 15, "eos_token_id": None},
    {"max_new_tokens": 9, "eos_token_id": 0, "bad_words_ids": [[40], [22, 22]], "forced_eos_token_id": 0},
    {"max_new_tokens": 15, "eos_token_id": 0, "no_repeat_ngram_size": 1},
    {"num_beams": 4, "num_return_sequences": 2, "max_new_tokens": 12, "eos_token_id": [0, 22]},
    {
        "num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 12, "eos_token_id": [0, 22],
        "no_repeat_ngram_size": 1,
    },
    {"num_beams": 3, "max_length": 10, "eos_token_id": 0, "bad_words_ids": [[40]], "forced_eos_token_id": 0},
    {"max_new_tokens": 9, "eos_token_id": 0, "forced_bos_token_id": 22, "begin_suppress_tokens": [12, 22, 33]},
    {"max_new_tokens": 9, "eos_token_id": 0, "decoder_start_token_id": 7, "encoder_no_repeat_ngram_size": 2},
    {"max_new_tokens": 12, "eos_token_id": 0, "encoder_repetition_penalty": 3.0, "min_length": 6},
    {
        "num_beams": 3, "max_new_tokens": 12, "eos_token_id": 0, "encoder_no_repeat_ngram_size": 1,
        "encoder_repetition_penalty": 0.5, "exponential_decay_length_penalty": (2, 1.5), "forced_bos_token_id": 22,
    },
]
# In Transformers 5.24 the cache of the model without a prompt is lost, which leaves it the last token alone.
WITHOUT_CACHE = {"use_cache": False}


def run(model, prompts, options):
    """New tokens of each text, and scores; a batch padded on the left."""
    width = max(len(ids) for ids in prompts)
    ids = torch.tensor([[PADDING] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    settings = {"eos_token_id": None, **options, **(WITHOUT_CACHE if "guidance_scale" in options else {})}
    output = model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        pad_token_id=PADDING,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    ends = options.get("eos_token_id", [])
    texts = []
    for row in output.sequences[:, width:].tolist():
        end = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
        texts.append(row[:end])
    scores = output.sequences_scores.tolist() if options.get("num_beams", 1) > 1 else None
    return texts, scores


def make_texts(model):
    cases = []
    for options in OPTIONS:
        # Penalties see Transformers' padding, which is not there when a prompt stands alone: one at a time then.
        alone = bool(set(options) - {"max_new_tokens", "min_new_tokens", "eos_token_id"})
        batches = [[prompt] for prompt in PROMPTS] if alone else [PROMPTS]
        results = [run(model, batch, options) for batch in batches]
        case = {"options": options, "texts": [text for texts, _ in results for text in texts]}
        if results[0][1] is not None:
            case["scores"] = [score for _, scores in results for score in scores]
        cases.append(case)
    return cases


def make_translations(model):
    cases = []
    for options in TRANSLATION_OPTIONS:
        case = {"options": options, "texts": []}
        for source in SOURCES:
            output = model.generate(
                torch.tensor([source]),
                do_sample=False,
                pad_token_id=40,
                return_dict_in_generate=True,
                output_scores=True,
                **{**PLAIN, **options},
            )
            ends = options["eos_token_id"]
            ends = ends if isinstance(ends, list) else [ends]
            for row in output.sequences[:, 1:].tolist():
                end = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
                case["texts"].append(row[:end])
            if "num_beams" in options:
                case.setdefault("scores", []).extend(output.sequences_scores.tolist())
        cases.append(case)
    return cases


def make_processors():
    generator = torch.Generator().manual_seed(21)
    scores = 3 * torch.randn(3, 40, generator=generator)
    scores[1, 5:9] = scores[1].max()  # ties at the top
    scores[2, 7] = -math.inf
    tokens = torch.randint(0, 40, (3, 12), generator=generator)
    tokens[:, 8:] = tokens[:, 2:6]  # runs that come again
    source = tokens.roll(3, dims=1)  # what an encoder read
    made = {
        "repetitionPenalty 1.3": lp.RepetitionPenaltyLogitsProcessor(1.3),
        "repetitionPenalty 0.7": lp.RepetitionPenaltyLogitsProcessor(0.7),
        "noRepeatNgram 1": lp.NoRepeatNGramLogitsProcessor(1),
        "noRepeatNgram 2": lp.NoRepeatNGramLogitsProcessor(2),
        "noRepeatNgram 4": lp.NoRepeatNGramLogitsProcessor(4),
        "noRepeatNgram 13": lp.NoRepeatNGramLogitsProcessor(13),
        "badWords 1": lp.NoBadWordsLogitsProcessor(
            [[4], tokens[0, 11:].tolist() + [5], tokens[1, 10:].tolist() + [5], [1, 2]]
        ),
        "forcedEos 13": lp.ForcedEOSTokenLogitsProcessor(13, [3, 11]),
        "forcedEos 14": lp.ForcedEOSTokenLogitsProcessor(14, [3, 11]),
        "minLength 13": lp.MinNewTokensLengthLogitsProcessor(8, 5, [3, 11]),
        "minLength 12": lp.MinNewTokensLengthLogitsProcessor(8, 4, [3, 11]),
        "minLength 14": lp.MinLengthLogitsProcessor(14, [3, 11]),
        "encoderRepetitionPenalty 1.7": lp.EncoderRepetitionPenaltyLogitsProcessor(1.7, source),
        "encoderRepetitionPenalty 0.6": lp.EncoderRepetitionPenaltyLogitsProcessor(0.6, source),
        "encoderNoRepeatNgram 1": lp.EncoderNoRepeatNGramLogitsProcessor(1, source),
        "encoderNoRepeatNgram 3": lp.EncoderNoRepeatNGramLogitsProcessor(3, source),
        "encoderNoRepeatNgram 14": lp.EncoderNoRepeatNGramLogitsProcessor(14, source),
        "sequenceBias 1": lp.SequenceBiasLogitsProcessor(
            [
                [[4], 0.3], [[4], -2.7], [tokens[0, 11:].tolist() + [4], 1.1], [tokens[0, 9:].tolist() + [4], 0.7],
                [tokens[1, 10:].tolist() + [5], 2.5], [[1, 2], 9.0],
            ]
        ),
        "forcedBos 13": lp.ForcedBOSTokenLogitsProcessor(5),
        "removeInvalidValues 1": lp.InfNanRemoveLogitsProcessor(),
        "exponentialDecay 1.3": lp.ExponentialDecayLengthPenalty((1, 1.3), [3, 7], 8),
        "exponentialDecay 0.8": lp.ExponentialDecayLengthPenalty((2, 0.8), [3, 7], 8),
        "suppress 1": lp.SuppressTokensLogitsProcessor([3, 11, 39]),
        "suppressAtBegin 12": lp.SuppressTokensAtBeginLogitsProcessor([3, 11, 39], 12),
        "suppressAtBegin 11": lp.SuppressTokensAtBeginLogitsProcessor([3, 11, 39], 11),
        "topH 0.3": lp.TopHLogitsWarper(0.3),
        "topH 0.8": lp.TopHLogitsWarper(0.8),
        "typicalP 0.2": lp.TypicalLogitsWarper(0.2),
        "typicalP 0.9": lp.TypicalLogitsWarper(0.9),
        "epsilonCutoff 0.01": lp.EpsilonLogitsWarper(0.01),
        "epsilonCutoff 0.6": lp.EpsilonLogitsWarper(0.6),
        "etaCutoff 0.02": lp.EtaLogitsWarper(0.02),
        "etaCutoff 0.7": lp.EtaLogitsWarper(0.7),
        "renormalize 1": lp.LogitNormalization(),
        "temperature 0.7": lp.TemperatureLogitsWarper(0.7),
        "temperature 2.5": lp.TemperatureLogitsWarper(2.5),
        "topK 1": lp.TopKLogitsWarper(1),
        "topK 6": lp.TopKLogitsWarper(6),
        "topK 100": lp.TopKLogitsWarper(100),
        "topP 0.9": lp.TopPLogitsWarper(0.9),
        "topP 0.5": lp.TopPLogitsWarper(0.5),
        "topP 0.01": lp.TopPLogitsWarper(0.01),
        "minP 0.1": lp.MinPLogitsWarper(0.1),
        "minP 0.9": lp.MinPLogitsWarper(0.9),
    }
    plain = lambda value: None if value == -math.inf else value
    rows = lambda x: [[plain(value) for value in row] for row in x.tolist()]
    changes = lambda x: [
        {place: plain(new) for place, (new, old) in enumerate(zip(*pair)) if new != old}
        for pair in zip(x.tolist(), scores.tolist())
    ]
    after = {name: changes(process(tokens, scores.clone())) for name, process in made.items()}
    return {"tokens": tokens.tolist(), "source": source.tolist(), "scores": rows(scores), "after": after}


def generate(folder, minilm):
    path = os.path.join(folder, "tiny-gpt2")
    model = GPT2LMHeadModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()
    path = os.path.join(folder, "tiny-marian")
    marian = MarianMTModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()
    golden = {"prompts": PROMPTS, "texts": make_texts(model), "processors": make_processors()}
    with open(os.path.join(folder, "generation.json"), "w", encoding="utf-8") as file:
        text = ["{", f'"prompts": {json.dumps(golden["prompts"])},', '"texts": [']
        text.append(",\n".join(json.dumps(case) for case in golden["texts"]) + "],")
        text.append(f'"sources": {json.dumps(SOURCES)}, "translations": [')
        text.append(",\n".join(json.dumps(case) for case in make_translations(marian)) + "],")
        processors = golden["processors"]
        keys = [key for key in GenerationConfig().__dict__ if key != "_original_object_hash"]
        text.append(f'"keys": {json.dumps(keys)},')
        tokens, source, scores = (json.dumps(processors[name]) for name in ("tokens", "source", "scores"))
        text.append(f'"processors": {{"tokens": {tokens}, "source": {source}, "scores": {scores},')
        after = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in processors["after"].items())
        text.append(f'"after": {{\n{after}\n}}}}}}')
        file.write("\n".join(text) + "\n")
