"""sentencepiece.json and sentencepiece-*.model: tokenizers of SentencePiece, as Transformers' converters read them.

Tiny vocabularies are trained on SENTENCES, with a small table of normalisation. `gguf`: per architecture the ids that
Transformers' reading of a GGUF file's tokenizer of the kind "llama" gives. `models`: per family the ids and the decoded
text of its converter (convert_slow_tokenizer.py), with special tokens, for the .model file that it names. COUNT=... in
the environment makes more texts, to compare more than the file holds.
"""

import importlib
import json
import os
import random
import shutil
import tempfile
from types import SimpleNamespace

import sentencepiece as spm
from tokenizers import AddedToken
from transformers import GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer

slow = importlib.import_module("transformers.convert_slow_tokenizer")

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.", "A man is eating food, and nobody minds it at all!",
    "Le renard brun saute par-dessus le chien paresseux à l'été.", "Wer rastet, der rostet; übung macht den Meister.",
    "In 2024, 12,345 people lived there: 3.5% more than in 1999.", "she sells sea shells by the sea shore",
    "def f(x):\n\treturn x ** 2", "Le cœur a ses raisons que la raison ne connaît point.", "漢字 と かな", "ﬁne ﬂow № ½",
]
# Ligatures, full-width letters, a no-break space, a character that goes away, an accent that is composed.
RULES = [
    ("ﬁ", "fi"), ("ﬂ", "fl"), ("Ａ", "A"), ("\u00a0", " "), ("\u200b", ""), ("e\u0301", "é"), ("½", "1/2"),
    ("\t", " "), ("\n", " "),
]
NASTY = [
    "", " ", "   ", "\n", "\t\t", "a", " a", "a ", "  two  spaces  ", "▁", "▁▁a", "a▁b", "<s>", "</s> a", "<unk>",
    "a<mask>b",
    "<0x0A>", "ﬁne ﬂow", "Ａ\u00a0b\u200bc", "e\u0301t\u0301", "½½", "漢字漢字", "🙂🙂", "\U0001f468\u200d\U0001f469",
    "\x00\x01",
    "\ufffd",
    "``quoted''", "1,234,567,", "ÀÉÎ", "don't stop", "line\r\nline", "a\u2028b", "[CLS] x [SEP]", "<extra_id_0> y",
    "en_XX",
    "x" * 70, "the the the", "İstanbul ß ẞ", "e\u0301" * 8,
]


def texts(count):
    chooser = random.Random(7)
    alphabet = "aeiou thrsn dlm,.!?'-0123▁éàüœ漢字🙂\n\t\u00a0ﬁA½\u0301"
    words = [word for sentence in SENTENCES for word in sentence.split(" ")]
    made = list(NASTY)
    while len(made) < count:
        if chooser.random() < 0.5:
            made.append("".join(chooser.choice(alphabet) for _ in range(chooser.randint(1, 24))))
        else:
            gap = chooser.choice([" ", "  ", "", "\n"])
            made.append(gap.join(chooser.choice(words) for _ in range(chooser.randint(1, 6))))
    return made


def train(path, kind, size, **more):
    """The file says where it was made, so that is a folder without a name: the one it is trained in."""
    path, home = os.path.abspath(path), os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with open("rules.tsv", "w", encoding="utf-8") as file:
                for source, target in RULES:
                    codes = [" ".join(f"{ord(c):X}" for c in side) for side in (source, target)]
                    file.write("\t".join(codes) + "\n")
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(SENTENCES * 4), model_prefix="m", model_type=kind,
                vocab_size=size, character_coverage=1.0, normalization_rule_tsv="rules.tsv", minloglevel=2,
                num_threads=1, hard_vocab_limit=False, **more,
            )
            shutil.move("m.model", path)
        finally:
            os.chdir(home)


T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
FAIRSEQ = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
BERT = {
    "pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3,
    "unk_piece": "<unk>", "pad_piece": "<pad>", "bos_piece": "[CLS]", "eos_piece": "[SEP]",
}
MODELS = {
    "t5": ("unigram", 150, T5),
    "fairseq": ("unigram", 150, FAIRSEQ),
    "albert": ("unigram", 150, {**BERT, "user_defined_symbols": "[MASK],(,)"}),
    "deberta": ("unigram", 150, {**BERT, "unk_piece": "[UNK]", "pad_piece": "[PAD]"}),
    "gemma": ("bpe", 420, {
        **T5, "unk_id": 3, "bos_id": 2, "byte_fallback": True,
        "unk_piece": "<unk>", "bos_piece": "<bos>", "eos_piece": "<eos>",
        "user_defined_symbols": "<mask>",
    }),
    "llama": ("bpe", 420, {**FAIRSEQ, "byte_fallback": True, "user_defined_symbols": "<tool>"}),
}
# Family, its .model, and what its converter asks the tokenizer for.
FAMILIES = {
    "T5Tokenizer": (slow.T5Converter, "t5", {"_extra_ids": 100}),
    "XLMRobertaTokenizer": (slow.XLMRobertaConverter, "fairseq", {}),
    "MBartTokenizer": (slow.MBartConverter, "fairseq", {}),
    "PegasusTokenizer": (slow.PegasusConverter, "t5", {
        "pad_token": "<pad>", "eos_token": "</s>", "mask_token": "<mask_2>", "mask_token_sent": "<mask_1>",
        "mask_token_id": 3, "eos_token_id": 1, "offset": 103,
    }),
    "AlbertTokenizer": (slow.AlbertConverter, "albert", {"keep_accents": False, "do_lower_case": True}),
    "DebertaV2Tokenizer": (slow.DebertaV2Converter, "deberta", {"do_lower_case": False, "split_by_punct": False}),
    "LlamaTokenizer": (None, "llama", {}),
    "GemmaTokenizer": (None, "gemma", {}),
}
# Special tokens that the classes add.
MASK = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
PLAIN = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
FAIRSEQ_ROLES = {**PLAIN, "bos_token": "<s>", "sep_token": "</s>", "cls_token": "<s>", "mask_token": MASK}
CLS = {"cls_token": "[CLS]", "sep_token": "[SEP]"}
ROLES = {
    "T5Tokenizer": {**PLAIN, "additional_special_tokens": [f"<extra_id_{i}>" for i in range(100)]},
    "XLMRobertaTokenizer": FAIRSEQ_ROLES,
    "MBartTokenizer": {**FAIRSEQ_ROLES, "additional_special_tokens": slow.MBART_LANGUAGES},
    "PegasusTokenizer": {
        **PLAIN, "mask_token": "<mask_2>",
        "additional_special_tokens": ["<mask_1>", *(f"<unk_{i}>" for i in range(2, 103))],
    },
    "AlbertTokenizer": {
        **CLS, "unk_token": "<unk>", "pad_token": "<pad>",
        "mask_token": AddedToken("[MASK]", lstrip=True, normalized=False, special=True),
    },
    "DebertaV2Tokenizer": {**CLS, "unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]"},
}


def gguf_ids(path, architecture, samples):
    model = spm.SentencePieceProcessor(model_file=path)
    ids = range(model.vocab_size())
    kind = lambda i: 2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1
    tokens = [model.id_to_piece(i) for i in ids]
    types = [4 if tokens[i] in ("<tool>", "<mask>") else kind(i) for i in ids]
    settings = {
        "tokenizer_type": "llama", "tokens": tokens, "scores": [model.get_score(i) for i in ids], "token_type": types,
    }
    backend, _ = convert_gguf_tokenizer(architecture, settings)
    rows = [backend.encode(text, add_special_tokens=False).ids for text in samples]
    return settings, rows, [backend.decode(row, skip_special_tokens=False) for row in rows]


def of_class(name, path):
    """By the class itself: its converter reads no BPE any more."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, os.path.join(folder, "tokenizer.model"))
        with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
            json.dump({"tokenizer_class": name, "add_bos_token": True}, file)
        kind = GemmaTokenizer if name == "GemmaTokenizer" else LlamaTokenizer
        return kind.from_pretrained(folder).backend_tokenizer


def converted(converter, path, settings, roles):
    pieces = spm.SentencePieceProcessor(model_file=path)
    own = SimpleNamespace(vocab_file=path, add_prefix_space=True, **settings)
    own.convert_ids_to_tokens = pieces.id_to_piece
    holder = {}
    own.convert_tokens_to_ids = lambda token: holder["vocab"].index(token)
    made = converter(own)
    holder["vocab"] = [token for token, _ in made.vocab(made.proto)]
    return PreTrainedTokenizerFast(tokenizer_object=made.converted(), **roles).backend_tokenizer


def family(name, folder, samples):
    converter, model, settings = FAMILIES[name]
    path = os.path.join(folder, f"sentencepiece-{model}.model")
    backend = converted(converter, path, settings, ROLES[name]) if converter else of_class(name, path)
    rows = [backend.encode(text).ids for text in samples]
    pair = backend.encode(samples[5], samples[10]).ids
    return {"model": model, "ids": rows, "pair": pair, "decoded": [backend.decode(row) for row in rows]}


def generate(folder, _):
    samples = texts(int(os.environ.get("COUNT", "60")))
    for name, (kind, size, more) in MODELS.items():
        path = os.path.join(folder, f"sentencepiece-{name}.model")
        if not os.path.exists(path):
            train(path, kind, size, **more)
    golden = {"texts": samples, "gguf": {}, "settings": {}, "models": {}}
    for name in FAMILIES:
        golden["models"][name] = family(name, folder, samples)
    for architecture in ("llama", "gemma2", "phi3"):
        model = "gemma" if architecture == "gemma2" else "llama"
        settings, rows, decoded = gguf_ids(os.path.join(folder, f"sentencepiece-{model}.model"), architecture, samples)
        golden["settings"][model] = settings
        golden["gguf"][architecture] = {"ids": rows, "decoded": decoded}
    with open(os.environ.get("OUT", os.path.join(folder, "sentencepiece.json")), "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")
