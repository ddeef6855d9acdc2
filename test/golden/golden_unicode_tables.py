"""models/tokenizer/unicode-tables.ts: classes of characters that Rust `tokenizers` knows by tables of its own, which
are older than those of any JavaScript engine.
"""

import os

from tokenizers import normalizers, pre_tokenizers

BERT = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
accents = normalizers.BertNormalizer(**{**BERT, "strip_accents": True})
control = normalizers.BertNormalizer(**{**BERT, "clean_text": True})
strip_accents = normalizers.StripAccents()
punctuation = pre_tokenizers.Punctuation("isolated")

TABLES = {
    "PUNCTUATION": (
        "Punctuation of BERT's pre-tokenizer and of Punctuation, ASCII symbols included.",
        lambda char: len(punctuation.pre_tokenize_str(f"a{char}a")) == 3,
    ),
    "ACCENTS": (
        "Marks that BERT's normalizer takes for accents.",
        lambda char: accents.normalize_str("a" + char) == "a",
    ),
    "MARKS": ("Marks that StripAccents removes.", lambda char: strip_accents.normalize_str("a" + char) == "a"),
    "CONTROL": (
        "Characters that BERT's normalizer removes as no text.",
        lambda char: control.normalize_str("a" + char) == "a",
    ),
}

HEAD = """// Classes of characters that Rust `tokenizers` knows by tables of its own (Unicode 8 for BERT's), which are
// older than those of any JavaScript engine. Made by test/golden/golden_unicode_tables.py.

/** Ranges as the inside of a JavaScript class (flag u). `table`: the gap before each, and its length. */
function classOf(table: string): string {
  let next = 0;
  return table.replace(/\\S+\\s*/g, (range) => {
    const [gap, length = '0'] = range.trim().split(':');
    const first = next + parseInt(gap!, 36);
    const last = first + parseInt(length, 36);
    next = last + 1;
    return `\\\\u{${first.toString(16)}}-\\\\u{${last.toString(16)}}`;
  });
}
"""


def base36(number):
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number or not text:
        text = digits[number % 36] + text
        number //= 36
    return text


def ranges_of(holds):
    ranges = []
    for code in range(1, 0x110000):
        if 0xD800 <= code < 0xE000 or not holds(chr(code)):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    after = 0
    for first, last in ranges:
        yield base36(first - after) + (f":{base36(last - first)}" if last > first else "")
        after = last + 1


def generate(folder, _):
    text = HEAD
    for name, (comment, holds) in TABLES.items():
        lines = [""]
        for entry in ranges_of(holds):
            if len(lines[-1]) + len(entry) > 100:
                lines.append("")
            lines[-1] += entry + " "
        body = "".join(f"    '{line}' +\n" for line in lines).removesuffix(" +\n")
        text += f"\n/** {comment} */\nexport const {name} = classOf(\n{body},\n);\n"
    path = os.path.join(folder, "..", "..", "models", "tokenizer", "unicode-tables.ts")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
