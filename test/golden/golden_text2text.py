"""tiny-text2text/NAME/: a small random encoder-decoder of each family with a tokenizer, saved by Transformers; its
Unigram or BPE is trained on TEXTS. text2text.json: for each family the ids of TEXTS with the tokens around them, as
sources and as targets, and what `generate` writes with the settings that Transformers 4's pipelines take from
config.json (`task_specific_params`, `prefix`) and from the languages given.
"""

import json
import os
import shutil

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel, Metaspace
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PegasusTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
    pipeline,
)

from model_case import run_training
from random_model import save_random

TEXTS = [
    "The red fox ran over the hill, and the dog slept.",
    "Choose the command in the menu, then press the key!",
    "It rains; the river is high, the house is dry.",
    "a",
]
SHAPE = dict(
    max_position_embeddings=64,
    d_model=8,
    encoder_layers=1,
    encoder_attention_heads=2,
    encoder_ffn_dim=8,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=8,
    dropout=0.0,
    init_std=1.0,
)
TASKS = {
    "bart": {"summarization": {"num_beams": 2, "min_length": 4, "max_length": 9, "no_repeat_ngram_size": 2}},
    "t5": {
        "summarization": {"num_beams": 2, "max_length": 9, "no_repeat_ngram_size": 2, "prefix": "summarize: "},
        "translation_en_to_de": {"max_length": 8, "no_repeat_ngram_size": 1, "prefix": "translate English to German: "},
    },
}
OPTIONS = [
    {"max_new_tokens": 8, "repetition_penalty": 3.0},
    {"max_new_tokens": 6, "num_beams": 3, "no_repeat_ngram_size": 2},
]
LANGUAGES = {"src_lang": "fr_XX", "tgt_lang": "de_DE"}


def unigram(first):
    """Pieces of TEXTS with scores, behind the special ones."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"][1:]
    rounded = sorted((-round(score, 4), token) for token, score in pieces)  # the trainer's order varies
    return [(token, 0.0) for token in first] + [(token, -score) for score, token in rounded]


def make_tokenizer(name):
    if name == "bart":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        letters = sorted({letter for text in TEXTS for letter in text.replace(" ", "Ġ")})
        trainer = trainers.BpeTrainer(
            vocab_size=70, special_tokens=special, initial_alphabet=letters, show_progress=False
        )
        tokenizer.train_from_iterator(TEXTS, trainer)
        tokenizer.decoder = ByteLevel()
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
            cls_token="<s>", sep_token="</s>", mask_token="<mask>",
        )
    if name == "t5":
        extra = [(f"<extra_id_{i}>", 0.0) for i in (1, 0)]
        return T5Tokenizer(vocab=unigram(["<pad>", "</s>", "<unk>"]) + extra, extra_ids=2)
    if name == "pegasus":
        first = ["<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk>"]
        return PegasusTokenizer(vocab=unigram(first), offset=3)
    if name == "mbart":
        codes = ["de_DE", "en_XX", "fr_XX"]
        vocab = unigram(["<s>", "<pad>", "</s>", "<unk>"]) + [(token, 0.0) for token in [*codes, "<mask>"]]
        return MBartTokenizer(vocab=vocab)
    tokenizer = Tokenizer(models.Unigram(unigram(["</s>", "<unk>"]) + [("<pad>", 0.0)], unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def make_model(name, size, tokenizer):
    ids = dict(vocab_size=size, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
    if name == "bart":
        return BartForConditionalGeneration(BartConfig(**SHAPE, **ids, bos_token_id=0, decoder_start_token_id=2))
    if name == "t5":
        sizes = dict(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, dropout_rate=0.0)
        return T5ForConditionalGeneration(T5Config(**sizes, **ids, decoder_start_token_id=0))
    if name == "pegasus":
        return PegasusForConditionalGeneration(PegasusConfig(**SHAPE, **ids, decoder_start_token_id=0))
    if name == "mbart":
        # Its texts begin with the end of texts, then the code of the language, as those of mBART-50.
        return MBartForConditionalGeneration(MBartConfig(**SHAPE, **ids, bos_token_id=0, decoder_start_token_id=2))
    pad = tokenizer.pad_token_id
    return MarianMTModel(MarianConfig(**SHAPE, **ids, decoder_start_token_id=pad, bad_words_ids=[[pad]]))


def save(name, path):
    tokenizer = make_tokenizer(name)
    model = make_model(name, len(tokenizer), tokenizer)
    for key, weight in model.named_parameters():
        if "encoder_attn" in key or "EncDec" in key:  # so that texts differ by their sources
            weight.data *= 4
    if hasattr(model, "final_logits_bias"):  # few special tokens, and an end that comes late
        model.final_logits_bias[:, tokenizer.all_special_ids] = -30
        model.final_logits_bias[:, tokenizer.eos_token_id] = -4
    save_random(model, path)
    tokenizer.save_pretrained(path)
    file = os.path.join(path, "config.json")
    with open(file, encoding="utf-8") as config:
        settings = json.load(config)
    settings["task_specific_params"] = TASKS.get(name)
    with open(file, "w", encoding="utf-8") as config:
        config.write(json.dumps(settings, indent=2) + "\n")


def run(name, path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSeq2SeqLM.from_pretrained(path).eval()

    def write(text, languages=None, prefix="", **options):
        made = (
            tokenizer._build_translation_inputs(prefix + text, return_tensors="pt", **languages)
            if languages
            else tokenizer(prefix + text, return_tensors="pt")
        )
        made.pop("token_type_ids", None)
        ids = model.generate(**made, **{"do_sample": False, **options})[0]
        return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def case(task, **options):
        texts = [write(text, **options) for text in TEXTS]
        assert len(set(texts)) > 1, (name, texts)
        return {"task": task, "texts": texts}

    languages = LANGUAGES if name == "mbart" else None
    golden = {"sources": tokenizer(TEXTS)["input_ids"], "runs": []}
    if languages:
        tokenizer.src_lang, tokenizer.tgt_lang = LANGUAGES["src_lang"], LANGUAGES["tgt_lang"]
        golden["languages"] = LANGUAGES
        golden["translated"] = tokenizer(TEXTS)["input_ids"]
    golden["targets"] = tokenizer(text_target=TEXTS)["input_ids"]
    tasks = TASKS.get(name, {})
    for task, options in tasks.items():
        golden["runs"].append(case(task, **options))
    plain = {"languages": languages} if languages else {}
    for options in OPTIONS:
        golden["runs"].append({**case("text2text-generation", **plain, **options), "options": options})
    golden["losses"] = train(model, tokenizer)
    return golden


def train(model, tokenizer):
    """The losses of five AdamW steps on pairs of TEXTS with TEXTS in the other order."""
    made = tokenizer(TEXTS, text_target=TEXTS[::-1], padding=True, return_tensors="pt")
    labels = made["labels"].masked_fill(made["labels"] == tokenizer.pad_token_id, -100)
    if model.config.model_type in ("marian", "pegasus"):  # sines; loading forgets that they are not learned
        for side in (model.model.encoder, model.model.decoder):
            side.embed_positions.weight.requires_grad_(False)
    inputs = {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"]}
    return run_training(model.train(), inputs, labels)["losses"][:5]


def classify(path):
    """What the pipelines for labels of texts make of a BART for them."""
    tokenizer = make_tokenizer("bart")
    names = dict(enumerate(["contradiction", "neutral", "entailment"]))
    sizes = dict(vocab_size=len(tokenizer), pad_token_id=1, eos_token_id=2, bos_token_id=0, decoder_start_token_id=2)
    config = BartConfig(**SHAPE, **sizes, id2label=names, label2id={name: i for i, name in names.items()})
    save_random(BartForSequenceClassification(config), path)
    tokenizer.save_pretrained(path)
    zero = pipeline("zero-shot-classification", path)(TEXTS[:2], candidate_labels=["the fox", "the dog", "a"])
    return {"zeroShot": zero, "texts": pipeline("text-classification", path)(TEXTS, top_k=None)}


def generate(folder, minilm):
    torch.manual_seed(61)
    shutil.rmtree(os.path.join(folder, "tiny-text2text"), ignore_errors=True)
    golden = {}
    for name in ("bart", "t5", "pegasus", "mbart", "marian"):
        path = os.path.join(folder, "tiny-text2text", name)
        save(name, path)
        golden[name] = run(name, path)
    golden["labels"] = classify(os.path.join(folder, "tiny-text2text", "bart-labels"))
    with open(os.path.join(folder, "text2text.json"), "w", encoding="utf-8") as file:
        rows = [f"{json.dumps(name)}: {json.dumps(case, ensure_ascii=False)}" for name, case in golden.items()]
        file.write("{\n" + ",\n".join([f'"text": {json.dumps(TEXTS)}', *rows]) + "\n}\n")
