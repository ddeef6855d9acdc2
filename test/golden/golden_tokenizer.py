"""tokenizer.json: what Transformers' BertTokenizer gives for hard texts, to hold ours against token for token.

Offsets count UTF-16 units, as JavaScript strings do. Characters newer than Unicode 8 are left out: the reference's
tables do not know them, and a JavaScript engine's do.
"""

import json
import os
import random
import tempfile

from tokenizers import AddedToken
from transformers import BertTokenizer

# fmt: off
HAND_MADE = [
    "", " ", "\t\n\r", "a", "Hello, world!", "hello", "HELLO", "unaffable", "embeddings", "don't stop",
    "it's o'clock", "e-mail: a_b@c.d", "C++ & C#; $5.00 + 10% = <x> ^ `y` | ~z", "[CLS] [SEP] [MASK] [UNK] [PAD]",
    "[mask]", "a[MASK]b", "[MASK][MASK]", "[ MASK ]", "[CLS", "x[SEP]", "[unused0] [unused99]", "##s ##ing a##b",
    "naïve café résumé", "nai\u0308ve cafe\u0301", "\u0301", "\u0301\u0302a", "a\u0301\u0327b", "a\u0327\u0301b",
    "Ångström", "\u212bngstrom", "İstanbul", "ıspanak", "ΟΔΟΣ ΣΊΣΥΦΟΣ", "ὈΔΥΣΣΕΎΣ", "Straße STRASSE", "ﬁne ﬂow",
    "ǅ ǆ Ǆ", "Đà Nẵng", "Ελληνικά", "привет МИР Ёж", "שָׁלוֹם", "السَّلَامُ عَلَيْكُم", "नमस्ते दुनिया",
    "สวัสดีชาวโลก", "안녕하세요 세계", "\u1112\u1161\u11ab글", "한\u302e글", "\u302f\u302ea", "こんにちは世界", "コンピュータ", "ｶﾞｷﾞ", "がぎ",
    "你好，世界！", "a你b好c", "中文English混合", "\u3400\u4dbf\u9fff\uf900", "\U00020000\U00020001x",
    "\U0002a6d6\U0002b740\U0002b820\U0002b920\U0002f800", "🙂", "a🙂b", "👨‍👩‍👧‍👦 family", "👍🏽 ok", "🇩🇪🇫🇷", "e🙂\u0301",
    "\ufe0f", "☃️ snow", "\u0000a\u0000b", "a\u0007b", "\u200bzero\u200bwidth", "a\u200db", "\ufeffbom",
    "soft\u00adhyphen", "\ue000private", "\ufffdreplaced", "no\u00a0break", "em\u2003space", "line\u2028para\u2029",
    "\u0085next", "\u3000wide", "\u180e", "\u2060joiner", "a\u034fb", "tab\tnew\nline\r\nreturn",
    "  lead and trail  ", "many     spaces", "…—–‘’“”«»", "¿Qué? ¡Sí!", "100€ £5 ¥7 ₹9", "x²+y³=z⁴", "½ ¾ ⅓",
    "１２３ ＡＢＣ", "№ ℡ ™ ℃", "٣٤٥ ४५६", "1,234.56", "3.14159e-10", "0xDEADBEEF", "https://example.com/a?b=c&d=%20#e",
    "user@example.co.uk", "C:\\Windows\\x", "/usr/bin/env", "foo_bar-baz.qux", "CamelCaseWord", "ALLCAPS",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a" * 100, "a" * 101, "é" * 100, "e\u0301" * 101, "ab" * 50 + " tail", "🙂" * 101,
    "1" * 150, "." * 20, "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
    "antidisestablishmentarianism", "the quick brown fox", "qzxjkv", "xyzzy plugh",
    '<html><body class="a">&nbsp;</body></html>', '{"key": [1, 2.5, null]}', "SELECT * FROM t WHERE a='b';",
    "\\n \\t \\u0000", "def f(x):\n    return x**2", "i̇", "𝐁𝐨𝐥𝐝 𝒮cript", "ℌ𝔢𝔩𝔩𝔬", "\U0001d15f\U0001d165",
    "\u0f71\u0f72", "ο\u0345Α\u0345", "Ǻ ǻ Ḁ ḁ", "ộ Ộ", "\u1e9b\u0323", "क्षत्रिय", "ক্ষ", "ස්‍ර", "தமிழ்", "తెలుగు",
    "ಕನ್ನಡ", "മലയാളം", "မြန်မာ", "ភាសាខ្មែរ", "ལྷ་ས", "ᠮᠣᠩᠭᠣᠯ", "አማርኛ", "ქართული ᲥᲐ", "Հայերեն",
]
# fmt: on

# Stretches of characters for random texts; all were assigned by Unicode 8. Spacing marks that NFD moves (musical stems,
# Hangul tone marks) are left out: the reference gives them the place of the mark they changed places with.
# fmt: off
RANGES = [
    (0x20, 0x7E), (0x61, 0x7A), (0x61, 0x7A), (0x41, 0x5A), (0x00, 0x20), (0x7F, 0xA0), (0xA1, 0x24F), (0x250, 0x2FF),
    (0x300, 0x36F), (0x391, 0x3A1), (0x3A3, 0x3C9), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x655), (0x904, 0x939),
    (0xE01, 0xE3A), (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0xAC00, 0xD7A3), (0x1E00, 0x1EFF),
    (0x1F00, 0x1F15), (0x2000, 0x2064), (0x20A0, 0x20BE), (0x2100, 0x218A), (0x2190, 0x23FA), (0x2500, 0x27BF),
    (0x3000, 0x3030), (0x3041, 0x3096), (0x30A0, 0x30FF), (0x3400, 0x4DB5), (0x4E00, 0x9FD5), (0xE000, 0xE010),
    (0xF900, 0xFA6D), (0xFB00, 0xFB06), (0xFE00, 0xFE0F), (0xFF01, 0xFF60), (0xFFFC, 0xFFFD), (0x1D400, 0x1D454),
    (0x1F300, 0x1F579), (0x1F600, 0x1F64F), (0x20000, 0x2A6D6), (0x2B820, 0x2B830), (0xE0020, 0xE007F),
]
# fmt: on


def random_text(rng, words):
    """Characters of a few ranges mixed with pieces of real words."""
    ranges = rng.sample(RANGES, rng.randint(1, 5))
    parts = []
    for _ in range(rng.randint(1, 14)):
        roll = rng.random()
        if roll < 0.25:
            parts.append(rng.choice(words))
        elif roll < 0.35:
            parts.append(" ")
        else:
            parts.append(chr(rng.randint(*rng.choice(ranges))))
    return "".join(parts)


def utf16_positions(text):
    """positions[i]: the UTF-16 unit at which code point i starts; one more for the end."""
    positions = [0]
    for char in text:
        positions.append(positions[-1] + (2 if ord(char) > 0xFFFF else 1))
    return positions


def encode_text(tokenizer, text):
    """[text, ids, offsets (flat), words] without special tokens."""
    backend = tokenizer.backend_tokenizer
    # MiniLM's tokenizer.json comes with truncation and padding to 128 switched on.
    backend.no_truncation()
    backend.no_padding()
    encoding = backend.encode(text, add_special_tokens=False)
    at = utf16_positions(text)
    offsets = [at[position] for pair in encoding.offsets for position in pair]
    return [text, encoding.ids, offsets, encoding.word_ids]


BATCH_TEXTS = [
    "short",
    "",
    "a somewhat longer sentence, with punctuation and unaffable words.",
    "日本語 and 🙂 emoji",
    "naïve café",
]
BATCH_PAIRS = [
    ["who wrote it?", "it was written by an unaffable novelist from the north."],
    ["a very long first text that goes on and on and on for quite a while", "short"],
    ["equal lengths here now", "equal lengths here too"],
    ["", "only the second"],
    ["🙂 first", "第二 second"],
]
WORDS = [["New", "York-based", "", "unaffable", "U.S."], ["don't"], ["日本", "ok"]]


def batch_cases():
    """[inputs, options]: options by their names in our API; the reference's names are their snake_case."""
    for texts in (BATCH_TEXTS, BATCH_PAIRS):
        yield texts, {"padding": True}
        yield texts, {"padding": "longest", "padToMultipleOf": 8}
        yield texts, {"padding": "max_length", "maxLength": 40}
        for length in (5, 6, 7, 10, 11, 16):
            yield texts, {"padding": True, "truncation": True, "maxLength": length}
        yield (
            texts,
            {"padding": "max_length", "truncation": "longest_first", "maxLength": 12, "addSpecialTokens": False},
        )
        yield texts, {"padding": True, "truncation": True, "maxLength": 16, "padToMultipleOf": 8}
    yield BATCH_TEXTS, {"padding": True, "truncation": "only_first", "maxLength": 6}
    yield BATCH_TEXTS, {"padding": True, "truncation": True, "maxLength": 2}
    yield BATCH_PAIRS[:1], {"padding": True, "truncation": "only_second", "maxLength": 12}
    yield BATCH_PAIRS[1:2], {"padding": True, "truncation": "only_first", "maxLength": 12}
    for stride in (0, 2):
        yield (
            BATCH_TEXTS,
            {"padding": True, "truncation": True, "maxLength": 8, "stride": stride, "returnOverflowingTokens": True},
        )
    qa = {"padding": True, "truncation": "only_second", "maxLength": 14, "stride": 3, "returnOverflowingTokens": True}
    yield BATCH_PAIRS[:1], qa
    first = {"padding": "max_length", "truncation": "only_first", "maxLength": 10}
    yield BATCH_PAIRS[1:2], {**first, "stride": 1, "returnOverflowingTokens": True}
    yield WORDS, {"padding": True, "isSplitIntoWords": True}
    yield WORDS, {"padding": True, "truncation": True, "maxLength": 6, "isSplitIntoWords": True}


def snake(name):
    return "".join("_" + char.lower() if char.isupper() else char for char in name)


def encode_batch(tokenizer, inputs, options):
    arguments = {snake(name): value for name, value in options.items()}
    paired = isinstance(inputs[0], list) and not options.get("isSplitIntoWords")
    texts = [[pair[0] for pair in inputs], [pair[1] for pair in inputs]] if paired else [inputs]
    out = tokenizer(*texts, return_offsets_mapping=True, return_special_tokens_mask=True, **arguments)
    samples = out.get("overflow_to_sample_mapping", list(range(len(inputs))))
    offsets = []
    for row, sample in enumerate(samples):
        flat = []
        for (start, end), sequence, word in zip(out["offset_mapping"][row], out.sequence_ids(row), out.word_ids(row)):
            if sequence is None:
                flat += [0, 0]
                continue
            text = inputs[sample]
            text = text[word] if options.get("isSplitIntoWords") else text[sequence] if paired else text
            at = utf16_positions(text)
            flat += [at[start], at[end]]
        offsets.append(flat)
    result = {
        "inputIds": out["input_ids"],
        "attentionMask": out["attention_mask"],
        "tokenTypeIds": out["token_type_ids"],
        "specialTokensMask": out["special_tokens_mask"],
        "offsets": offsets,
        "wordIds": [[-1 if word is None else word for word in out.word_ids(row)] for row in range(len(samples))],
    }
    if options.get("returnOverflowingTokens"):
        result["overflowToSample"] = samples
    return {"inputs": inputs, "options": options, "output": result}


ADDED_TOKENS = [
    AddedToken("<user>", special=True),
    AddedToken("<left>", lstrip=True, special=True),
    AddedToken("<right>", rstrip=True, special=True),
    AddedToken("Wörd", single_word=True),
    AddedToken("[E1]", special=True, single_word=True),
    AddedToken("[E1]x", special=True),
]
ADDED_TEXTS = [
    "hi <user>!",
    "<user><user>",
    "a  <left>  b",
    "a  <right>  b",
    "  <left><right>  ",
    "wörd word WÖRD wo\u0308rd wörds aWörd",
    "[E1] a[E1] [E1]b [E1]x _[E1]",
    "a <right>  <left> b",
    "\t<left>\n",
    "x<user>y",
    "<USER>",
    "Wörd.",
    "é[E1]é",
    "<left",
    "(wörd)",
    "[E1][E1]",
]


def generate(folder, minilm):
    rng = random.Random(20240607)
    tokenizer = BertTokenizer.from_pretrained(minilm)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = [token.removeprefix("##") for token, _ in vocabulary if not token.startswith("[")]
    texts = HAND_MADE + [random_text(rng, words) for _ in range(600)]

    golden = {"texts": [encode_text(tokenizer, text) for text in texts], "variants": []}
    for settings in (
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ):
        variant = BertTokenizer.from_pretrained(minilm, **settings)
        sample = rng.sample(texts, 40) + ["Hello Café ΟΔΟΣ", "中文 ok", "\u302f\u302ea", "İx"]
        golden["variants"].append({"config": settings, "texts": [encode_text(variant, text) for text in sample]})
    golden["batches"] = [encode_batch(tokenizer, inputs, options) for inputs, options in batch_cases()]
    for side in ("truncation_side", "padding_side"):
        sided = BertTokenizer.from_pretrained(minilm, **{side: "left"})
        for options in (
            {"padding": True, "truncation": True, "maxLength": 8},
            {"padding": True, "truncation": True, "maxLength": 8, "stride": 2, "returnOverflowingTokens": True},
        ):
            golden["batches"].append({"config": {side: "left"}, **encode_batch(sided, BATCH_TEXTS, options)})
    golden["decode"] = []
    for text in rng.sample(texts, 40) + ["don't do that, it 's he 'll we 've n't . ! ? ,", "a ' b"]:
        ids = tokenizer(text)["input_ids"]
        decoded = [
            tokenizer.decode(ids),
            tokenizer.decode(ids, skip_special_tokens=True),
            tokenizer.decode(ids, clean_up_tokenization_spaces=True),
        ]
        golden["decode"].append([ids, *decoded])
    with tempfile.TemporaryDirectory() as scratch:
        added = BertTokenizer.from_pretrained(minilm)
        added.add_tokens(ADDED_TOKENS)
        added.save_pretrained(scratch)
        with open(os.path.join(scratch, "tokenizer.json"), encoding="utf-8") as file:
            tokens = json.load(file)["added_tokens"]
        golden["added"] = {"tokens": tokens, "texts": [encode_text(added, text) for text in ADDED_TEXTS]}

    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
        # One line a case keeps the diff readable; escapes keep control characters visible.
        parts = []
        for key, value in golden.items():
            rows = value if isinstance(value, list) else [value]
            body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            parts.append(f'"{key}": [\n{body}\n]' if isinstance(value, list) else f'"{key}": {body}')
        file.write("{\n" + ",\n".join(parts) + "\n}\n")
