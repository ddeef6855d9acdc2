"""token-labels.json: words of nasty sentences as the tokenizer of tiny-bert-qa/ and run_ner of Transformers' examples
align them: ids, the word of each token (-1 for special ones) and labels, the number of the word's tag on its first
piece and -100 elsewhere.
"""

import json
import os

from transformers import BertTokenizerFast

# fmt: off
SENTENCES = [
    ["The", "fox", "ran", "over", "the", "hill", "."],
    ["unreadable", "rereading", "readers", "ok"],
    ["🙂", "fox🔥", "👨‍👩‍👧‍👦", "🇩🇪", "🔥🔥"],
    ["北京", "是中国", "𠀀", "東京", "。"],
    ["Un", "cafe\u0301", "n\u0301", "\u0301", "naïve", "e\u0301\u0327"],
    ["\u200b", "fox", "\ufeff", "dog\u200bhouse", "\u00ad", "end"],
    ["the", "fox's", "re-read", "A1:B2", "...", "[MASK]", "x[SEP]y"],
    ["\u0007", "\u00a0", "man\u00a0dog", "ﬁre", "x" * 101, "שלום"],
    ["\u200b"],
    ["a"] * 30 + ["unreadable"] * 6,
]
# fmt: on
LENGTHS = [128, 24]


def align(tokenizer, words, max_length):
    """As tokenize_and_align_labels of run_ner, without --label_all_tokens; the tag of word i is i."""
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
    word_ids = encoded.word_ids()
    labels, previous = [], None
    for word in word_ids:
        labels.append(-100 if word is None or word == previous else word)
        previous = word
    return {
        "ids": encoded["input_ids"],
        "words": [-1 if word is None else word for word in word_ids],
        "labels": labels,
    }


def generate(folder, _):
    tokenizer = BertTokenizerFast.from_pretrained(os.path.join(folder, "tiny-bert-qa"))
    cases = [
        {"sentence": words, "maxLength": length, **align(tokenizer, words, length)}
        for length in LENGTHS
        for words in SENTENCES
        if length == LENGTHS[0] or len(words) > 12
    ]
    with open(os.path.join(folder, "token-labels.json"), "w", encoding="utf-8") as file:
        json.dump(cases, file, ensure_ascii=True)
        file.write("\n")
