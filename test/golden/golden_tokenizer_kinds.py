"""tokenizer-kinds.json: what Rust `tokenizers` gives for small tokenizer.json files of kinds and options that are
easily got wrong: ids, ids with special tokens, and the texts that the ids decode to, with special tokens and without.
"""

import base64
import json
import os
import struct

from tokenizers import Tokenizer

LETTERS = list("abcdefghijklmnopqrstuvwxyz")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def numbered(tokens):
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def word_level(*words):
    return {"type": "WordLevel", "vocab": numbered(["[UNK]", *words]), "unk_token": "[UNK]"}


def bpe(tokens, merges=(), **options):
    return {"type": "BPE", "vocab": numbered(tokens), "merges": [list(pair) for pair in merges], **options}


def unigram(pieces, unk_id=0, **options):
    return {"type": "Unigram", "unk_id": unk_id, "vocab": [["<unk>", 0.0], *map(list, pieces)], **options}


def added(content, token_id, **options):
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content, **token, **options}


def charsmap(entries):
    """The double array of darts-clone: a node's children lie at its base, exclusive or with their byte."""
    trie = {}
    texts = b""
    for source, target in entries:
        node = trie
        for byte in source.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += target.encode() + b"\0"
    units = {0: 0}

    def place(index, label, node):
        base = next(
            base for base in range(1, 1 << 20) if index ^ base and all(base ^ byte not in units for byte in node)
        )
        units.update({base ^ byte: 0 for byte in node})
        units[index] = (index ^ base) << 10 | label | (1 << 8 if 0 in node else 0)
        for byte, child in node.items():
            if byte == 0:
                units[base] = child | 1 << 31
            else:
                place(base ^ byte, byte, child)

    place(0, 0, trie)
    size = (max(units) | 255) + 1
    array = [units.get(i, 0) for i in range(size)]
    return base64.b64encode(struct.pack(f"<I{size}I", 4 * size, *array) + texts).decode()


CHARSMAP = charsmap(
    [
        *[("ﬁ", "fi"), ("é", "e"), ("\u200d", " "), ("\u200b", ""), ("\ufeff", ""), ("①", "1")],
        *[("\r\n", " "), ("\t", " ")],
    ]
)
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
CONTINUED = bpe(
    ["[UNK]", *LETTERS, *["##" + letter for letter in LETTERS], "th", "the", "##ck", "##ick"],
    [("t", "##h"), ("th", "##e"), ("##c", "##k"), ("##i", "##ck")],
    unk_token="[UNK]",
    continuing_subword_prefix="##",
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Two pairs that join to the same token: an entry of the queue may be overtaken by another pair.
SAME_RESULT = bpe(
    ["a", "b", "ab", "aba", "ba", "abab"],
    [("ab", "a"), ("a", "b"), ("b", "a"), ("a", "ba"), ("ab", "ab")],
)

# [name, what stands in the file, texts]
CASES = [
    [
        "continuing_subword_prefix",
        {"model": CONTINUED, "pre_tokenizer": {"type": "WhitespaceSplit"}},
        ["the quick", "x"],
    ],
    [
        "end_of_word_suffix",
        {
            "model": bpe(
                ["a", "b", "a</w>", "b</w>", "ab", "ab</w>"], [("a", "b"), ("a", "b</w>")], end_of_word_suffix="</w>"
            ),
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
        },
        ["ab aab", "a", "abab b"],
    ],
    ["merges that give the same token", {"model": SAME_RESULT}, ["abab", "aba", "abaab", "babab"]],
    [
        "fuse_unk",
        {"model": bpe(["<unk>", "a", "b"], unk_token="<unk>", fuse_unk=True), "decoder": {"type": "Fuse"}},
        ["aßßb", "漢字", "a漢b字", ""],
    ],
    ["unknown ones not fused", {"model": bpe(["<unk>", "a", "b"], unk_token="<unk>")}, ["aßßb", "漢字"]],
    [
        "byte_fallback beside unknown ones",
        {
            "model": bpe(["<unk>", "a", *BYTES[:200]], unk_token="<unk>", byte_fallback=True),
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        },
        ["aéa", "日é", "é日a", "\n"],
    ],
    [
        "Whitespace",
        {
            "model": word_level("Größe", ",", "नमस्ते", "a_b", "e\u0301", "x"),
            "pre_tokenizer": {"type": "Whitespace"},
        },
        ["Größe, x", "नमस्ते x", "a_b", "e\u0301 x", "a\u200db", "x\ufeffx"],
    ],
    [
        "WhitespaceSplit",
        {"model": word_level("a", "b", "a\ufeffb", "\ufeff"), "pre_tokenizer": {"type": "WhitespaceSplit"}},
        ["a\ufeffb", "a\u0085b", "\ufeff a", "a\u180eb", "a\u3000b"],
    ],
    [
        "Digits",
        {
            "model": word_level("a", "١", "12", "½"),
            "pre_tokenizer": {"type": "Digits", "individual_digits": False},
        },
        ["a12", "١a", "a½"],
    ],
    [
        "Punctuation",
        {
            "model": word_level("a", ".", "..", "$", "。"),
            "pre_tokenizer": {"type": "Punctuation", "behavior": "Isolated"},
        },
        ["a..", "a$a", "a。"],
    ],
    [
        "Split, merged with what is before",
        {
            "model": word_level("a-", "b", "-", "a"),
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"String": "-"},
                "behavior": "MergedWithPrevious",
                "invert": False,
            },
        },
        ["a-b", "a--b", "-a", "b"],
    ],
    [
        "Precompiled",
        {
            "normalizer": {"type": "Precompiled", "precompiled_charsmap": CHARSMAP},
            "pre_tokenizer": METASPACE,
            "decoder": METASPACE,
            "model": unigram([("▁", -2), *((letter, -3 - i / 8) for i, letter in enumerate(LETTERS)), ("1", -3)]),
        },
        [
            *["ﬁn", "ﬁ\u0301n", "a\u200db", "a\u200bb", "\ufeffab", "é", "e\u0301", "é\u0301x", "①"],
            *["a\r\nb", "a\tb", "👩\u200d👧"],
        ],
    ],
    [
        "Unigram with ties",
        {"model": unigram([("a", -1), ("b", -1), ("ab", -2), ("ba", -2), ("aba", -3), ("<unk>x", -9)])},
        ["ab", "abab", "bab", "ababa", "aßb", "ßß", "a<unk>b", "<unk>x"],
    ],
    [
        "Unigram with bytes",
        {
            "model": unigram([("a", -1), *((token, -5) for token in BYTES)], byte_fallback=True),
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        },
        ["aéa", "日本", "a"],
    ],
    [
        "Metaspace, first only",
        {
            "model": word_level("▁a", "a", "▁b", "<s>"),
            "pre_tokenizer": {**METASPACE, "prepend_scheme": "first"},
            "decoder": {**METASPACE, "prepend_scheme": "first"},
            "added_tokens": [added("<s>", 4)],
        },
        ["a", "a<s>a", "<s>a b", " a"],
    ],
    [
        "a byte order mark before Metaspace",
        {
            "model": word_level("▁\ufeffa", "▁\ufeff", "\ufeff▁a"),
            "pre_tokenizer": METASPACE,
            "decoder": METASPACE,
        },
        ["\ufeffa", "\ufeff a", "\ufeff"],
    ],
    [
        "Lowercase and sigma",
        {"model": word_level("οδοσ", "οδος", "i\u0307"), "normalizer": {"type": "Lowercase"},
         "pre_tokenizer": {"type": "WhitespaceSplit"}},
        ["ΟΔΟΣ", "ΟΔΟς", "İ"],
    ],
    [
        "normalised added tokens",
        {
            "model": word_level("new", "york", "é"),
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "added_tokens": [
                added("New York", 4, normalized=True, special=False),
                added("<S>", 5, normalized=True),
                added("É", 6, single_word=True),
            ],
        },
        ["in new york", "NEW YORK", "<s> new", "É Éa É", "  É  "],
    ],
    [
        "added tokens that strip",
        {
            "model": word_level("a", " ", "  "),
            "added_tokens": [
                added("<l>", 4, lstrip=True),
                added("<r>", 5, rstrip=True),
                added("<b>", 6, lstrip=True, rstrip=True),
            ],
        },
        ["a  <l>a", "a<r> \u0085a", "a <r> <b> <l> a", "<b>\ufeffa"],
    ],
    [
        "BertNormalizer outside of BERT",
        {
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 5, "vocab": numbered([*SPECIAL, "a", "##b", "字", "abcde", "σ"])},
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "Whitespace"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        },
        ["Áb a字a", "abcde abcdeb", "Σ", ""],
    ],
    [
        "punctuation by the tables of Unicode 8",
        {
            "model": word_level("a", "\u2e52", "\u166d", "\u061d"),
            "pre_tokenizer": {"type": "Punctuation", "behavior": "Removed"},
        },
        ["a\u2e52", "a\u166d", "\u061da"],
    ],
    [
        "accents and controls by the tables of Unicode 8",
        {
            "model": word_level("a", "a\u0898", "a\u1dfb", "a\u0890"),
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": True, "lowercase": False},
        },
        ["a\u0898", "a\u1dfb", "a\u0301", "a\u0890", "a\u200e"],
    ],
    [
        "StripAccents by older tables",
        {"model": word_level("a", "a\u0898", "a\u1dfa"), "normalizer": {"type": "StripAccents"}},
        ["a\u0898", "a\u1dfa", "a\u0301", "a\u0903"],
    ],
    [
        "CTC",
        {"model": bpe(["<pad>", "|", *LETTERS]),
         "decoder": {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}},
        ["aab|cc", "a|b"],
    ],
]


def decode(tokenizer, ids):
    return [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True)]


def generate(folder, _):
    empty = dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder"))
    golden = []
    for name, parts, texts in CASES:
        content = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], **empty, **parts}
        tokenizer = Tokenizer.from_str(json.dumps(content))
        rows = []
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            rows.append([text, ids, tokenizer.encode(text).ids, *decode(tokenizer, ids)])
        golden.append({"name": name, "json": content, "texts": rows})
    with open(os.path.join(folder, "tokenizer-kinds.json"), "w", encoding="utf-8") as file:
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in golden)
        file.write(f"[\n{rows}\n]\n")
