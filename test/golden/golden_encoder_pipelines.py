"""tiny-NAME-tasks/: for each family of encoders a small random model with all its heads, and the tokenizer that
the family has, saved by Transformers. NAME-pipelines.json: what Transformers makes of odd texts with them: rows of
tokens (pairs, truncation, windows), and the results of its pipelines; losses of a few steps of AdamW.

The trainer of Unigram breaks ties at random: the vocabularies of ALBERT and DeBERTa differ from run to run.

Places in texts count UTF-16 units, as JavaScript strings do; Transformers counts code points.

Answers to questions are made by themselves, with Transformers 4, which still has that pipeline (PYTHONPATH as in
golden_question_answering.py):

    VENV/bin/python test/golden/golden_encoder_pipelines.py answers
"""

import json
import os
import random
import sys
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, logging, pipeline

from golden_pipelines import in_units, rounded
from golden_tokenizer import utf16_positions
from random_model import save_random

logging.set_verbosity_error()
warnings.filterwarnings("ignore")

LABELS = ["O", "B-FOX", "I-FOX", "B-HILL", "I-HILL", "entailment"]
SIZES = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)
SHARED = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.3)
FAMILIES = {
    "distilbert": dict(
        prefix="DistilBert",
        config=dict(dim=8, n_layers=1, n_heads=2, hidden_dim=12, dropout=0.0, attention_dropout=0.0, qa_dropout=0.0)
        | dict(seq_classif_dropout=0.0, initializer_range=0.3, max_position_embeddings=64),
    ),
    "electra": dict(prefix="Electra", config=dict(**SIZES, **SHARED, embedding_size=6, max_position_embeddings=64)),
    "mpnet": dict(prefix="MPNet", config=dict(**SIZES, **SHARED, max_position_embeddings=66)),
    "roberta": dict(prefix="Roberta", config=dict(**SIZES, **SHARED, type_vocab_size=1, max_position_embeddings=66)),
    "albert": dict(
        prefix="Albert",
        config=dict(**SIZES, **SHARED, embedding_size=6, max_position_embeddings=64, classifier_dropout_prob=0.0),
    ),
    "deberta-v2": dict(
        prefix="DebertaV2",
        config=dict(**SIZES, **SHARED, max_position_embeddings=64, relative_attention=True, position_buckets=4)
        | dict(norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p", position_biased_input=False)
        | dict(type_vocab_size=0, pooler_dropout=0.0),
    ),
}
HEADS = {
    "": "Model",
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "fill-mask": "ForMaskedLM",
}

# fmt: off
TEXTS = [
    "The red fox ran over the hill.",
    "ok",
    "🙂🙂 The 🔥 fox 👨‍👩‍👧‍👦 ran. 🇩🇪 It ran on.",
    "Un cafe\u0301 noir, naïve.\u0301 \ufb01ne rereading; the reader's\u00a0re-read.",
    "   the fox\t is in ``the'' house \n  ",
]
# fmt: on
LONG = " ".join(TEXTS[:4] * 2)
MIDDLE = " ".join([TEXTS[0], TEXTS[3][:20]])
PAIRS = [{"text": "The fox ran.", "text_pair": " the dog read a book"}, {"text": "who?", "text_pair": "the man 🔥"}]
CORPUS = [*TEXTS, "the dog and the man read a book in the house on the hill by the river fire over again where who"] * 3
QUESTIONS = [
    ["Where did the fox run?", "The red fox ran over the hill."],
    ["who?", " ok "],
    ["What is on fire?", "🙂🙂 The 🔥 fox 👨‍👩‍👧‍👦 ran. 🇩🇪 It ran on."],
    ["what did the dog do?", " ".join([TEXTS[0], TEXTS[3], "A dog saw the fox, and the dog ran too.", TEXTS[2]])],
]
ANSWERS = [{}, {"top_k": 3, "max_seq_len": 40, "doc_stride": 8}, {"handle_impossible_answer": True, "top_k": 2},
           {"align_to_words": False, "max_answer_len": 3, "top_k": 2}]  # fmt: skip
ROWS = [
    {},
    {"padding": True, "truncation": True, "max_length": 12},
    {"padding": True, "truncation": True, "max_length": 9, "stride": 3, "return_overflowing_tokens": True},
    {"padding": True, "add_special_tokens": False},
]
PAIR_ROWS = [
    {"padding": True},
    {"padding": True, "truncation": "longest_first", "max_length": 11},
    {"padding": True, "truncation": "only_first", "max_length": 30, "stride": 2, "return_overflowing_tokens": True},
    {"padding": True, "truncation": "only_second", "max_length": 20, "stride": 1, "return_overflowing_tokens": True},
    {"padding": True, "add_special_tokens": False},
]


def word_pieces(special):
    words = "the a fox dog man hill house river fire book read ##read ##er ##ing un re over ran red".split()
    letters = sorted({char for char in "abcdefghijklmnopqrstuvwxyz🔥"})
    tokens = [*special, *words, *letters, *(f"##{c}" for c in letters), *".,;:!?'-"]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def unigram(special, unk, normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token=unk, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return [(token, score) for token, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def make_tokenizer(name):
    if name == "roberta":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        model = json.loads(tokenizer.to_str())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        return transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges, model_max_length=64)
    if name == "albert":
        special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
        normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
        vocabulary = unigram(special, "<unk>", normalizer, pre_tokenizers.Metaspace())
        return transformers.AlbertTokenizer(vocab=vocabulary, model_max_length=64)
    if name == "deberta-v2":
        special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
        vocabulary = unigram(special, "[UNK]", normalizers.NFC(), pre_tokenizers.Metaspace())
        vocabulary = [(token, 0.0 if token in special else score) for token, score in vocabulary]
        return transformers.DebertaV2Tokenizer(vocab=vocabulary, unk_id=3, model_max_length=64)
    if name == "mpnet":
        vocabulary = word_pieces(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])
        return transformers.MPNetTokenizer(vocab=vocabulary, model_max_length=64)
    vocabulary = word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    made = transformers.DistilBertTokenizer if name == "distilbert" else transformers.ElectraTokenizer
    return made(vocab=vocabulary, model_max_length=64)


def class_of(prefix, head):
    return getattr(transformers, prefix + HEADS[head])


def make_model(folder, name):
    family = FAMILIES[name]
    path = os.path.join(folder, f"tiny-{name}-tasks")
    tokenizer = make_tokenizer(name)
    torch.manual_seed(61)
    config = getattr(transformers, f"{family['prefix']}Config")(
        **family["config"],
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    save_random(class_of(family["prefix"], "fill-mask")(config), path)
    file = os.path.join(path, "model.safetensors")
    weights = load_file(file)
    for head in ("text-classification", "token-classification", "question-answering"):
        settings = {"num_labels": 2} if head == "question-answering" else {}
        model = class_of(family["prefix"], head).from_pretrained(path, **settings)
        for key, value in model.state_dict().items():
            if key not in weights and not key.endswith("position_ids"):
                # Wide logits, so that scores lie apart.
                weights[key] = torch.randn_like(value) * (2 if value.ndim > 1 else 1)
    save_file({key: value.contiguous() for key, value in weights.items()}, file, {"format": "pt"})
    tokenizer.save_pretrained(path)
    for left in ("special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"):
        if os.path.exists(os.path.join(path, left)):
            os.remove(os.path.join(path, left))
    return path, family["prefix"]


def rows_of(tokenizer, texts, pairs, options):
    """What the tokenizer makes of a batch, by our names."""
    sides = [texts, pairs] if pairs else [texts]
    rows = []
    batches = [sides] if options else [[[text]] for text in texts]
    for batch in batches:
        encoded = tokenizer(*batch, return_offsets_mapping=True, return_special_tokens_mask=True, **options)
        for row in range(len(encoded["input_ids"])):
            sample = encoded["overflow_to_sample_mapping"][row] if "overflow_to_sample_mapping" in encoded else row
            sequences = [-1 if text is None else text for text in encoded.sequence_ids(row)]
            positions = [utf16_positions(side[sample]) for side in batch]
            offsets = encoded["offset_mapping"][row]
            rows.append({
                "ids": encoded["input_ids"][row],
                "mask": encoded["attention_mask"][row],
                "special": encoded["special_tokens_mask"][row],
                "words": [-1 if word is None else word for word in encoded.word_ids(row)],
                "sequences": sequences,
                "types": encoded["token_type_ids"][row] if "token_type_ids" in encoded else None,
                "offsets": [
                    [0, 0] if text < 0 else [positions[text][start], positions[text][end]]
                    for text, (start, end) in zip(sequences, offsets)
                ],
            })
    return rows


def load_tokenizer(path):
    """Transformers 5 gives ALBERT no types of tokens, which ALBERT was trained with, and Transformers 4 gave."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    if "albert" in path:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def losses_of(path, prefix):
    """Losses of four steps of AdamW on the texts, as single labels."""
    tokenizer = load_tokenizer(path)
    model = class_of(prefix, "text-classification").from_pretrained(path).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    losses = []
    for _ in range(4):
        loss = model(**batch, labels=torch.arange(len(TEXTS)) % len(LABELS)).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def run_pipelines(path, prefix):
    tokenizer = load_tokenizer(path)
    common = {"tokenizer": tokenizer, "device": "cpu"}
    made = {
        head: class_of(prefix, head).from_pretrained(path) for head in HEADS if head != "question-answering"
    }
    classify = pipeline("text-classification", model=made["text-classification"], **common)
    label = pipeline("token-classification", model=made["token-classification"], **common)
    fill = pipeline("fill-mask", model=made["fill-mask"], **common)
    features = pipeline("feature-extraction", model=made[""], **common)
    zero_shot = pipeline("zero-shot-classification", model=made["text-classification"], **common)
    mask = tokenizer.mask_token
    masked = [f"The {mask} fox ran over the hill.", f"🔥 {mask}", f"the{mask} read {mask} book"]
    first, second = [pair["text"] for pair in PAIRS], [pair["text_pair"] for pair in PAIRS]
    return {
        "masked": masked,
        "rows": [{"options": options, "rows": rows_of(tokenizer, TEXTS, None, options)} for options in ROWS],
        "pairRows": [
            {"options": options, "rows": rows_of(tokenizer, first + [MIDDLE], second + ["ok"], options)}
            if options.get("truncation") != "only_second"
            else {"options": options, "rows": rows_of(tokenizer, first + ["ok"], second + [MIDDLE], options)}
            for options in PAIR_ROWS
        ],
        "classified": [classify(TEXTS, top_k=2), classify(PAIRS, top_k=None)],
        "labelled": {
            strategy: [in_units(text, label(text, aggregation_strategy=strategy)) for text in TEXTS]
            for strategy in ("none", "simple", "first", "average", "max")
        },
        "longLabelled": in_units(LONG, label(LONG, aggregation_strategy="simple", stride=8)),
        "filled": [fill(text, top_k=2) for text in masked],
        "targets": fill(masked[0], targets=["fox", "dog"]),
        "features": rounded(features(TEXTS[1])),
        "zeroShot": zero_shot(TEXTS[0], candidate_labels=["fox", "a house"]),
        "losses": losses_of(path, prefix),
    }


def generate(folder, _=None):
    random.seed(61)
    for name in FAMILIES:
        path, prefix = make_model(folder, name)
        golden = run_pipelines(path, prefix)
        inputs = {"texts": TEXTS, "long": LONG, "middle": MIDDLE, "pairs": PAIRS}
        write(folder, f"{name}-pipelines.json", {**inputs, **rounded(golden)})


def generate_answers(folder):
    golden = {"questions": QUESTIONS, "options": ANSWERS, "answers": {}}
    for name, family in FAMILIES.items():
        path = os.path.join(folder, f"tiny-{name}-tasks")
        from transformers import PreTrainedTokenizerFast

        with open(os.path.join(path, "tokenizer_config.json"), encoding="utf-8") as file:
            settings = json.load(file)
        tokens = {key: value for key, value in settings.items() if key.endswith("_token") and value}
        # The classes of Transformers 4 do not read these files; the tokenizer itself is the same.
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=os.path.join(path, "tokenizer.json"), model_max_length=64, **tokens
        )
        takes_types = name in ("electra", "albert")
        tokenizer.model_input_names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_types else [])]
        model = class_of(family["prefix"], "question-answering").from_pretrained(path, num_labels=2)
        answer = pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
        found = []
        for options in ANSWERS:
            results = []
            for question, context in QUESTIONS:
                given = {"max_seq_len": 64, "doc_stride": 32, **options}
                result = answer(question=question, context=context, **given)
                results.append(in_units(context, result if isinstance(result, list) else [result]))
            found.append(results)
        golden["answers"][name] = found
    write(folder, "encoder-answers.json", rounded(golden))


def write(folder, name, golden):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    generate_answers(here) if sys.argv[1:] == ["answers"] else generate(here)
