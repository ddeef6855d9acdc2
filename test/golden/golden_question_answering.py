"""tiny-bert-qa/: a small random BertForQuestionAnswering with its tokenizer, saved by Transformers.
question-answering.json: what Transformers makes of hard contexts with it: features as run_qa cuts them, answers of
QuestionAnsweringPipeline, predictions of run_qa's postprocess_qa_predictions.

Needs what Transformers 5 no longer has: Transformers 4 (`pip install --target FOLDER "transformers<5"`, then
PYTHONPATH=FOLDER) and examples/pytorch/question-answering/utils_qa.py of its repository (--utils-qa FILE).

Places in texts count UTF-16 units, as JavaScript strings do; Transformers counts code points.
"""

import importlib.util
import json
import os
import tempfile

import torch
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizerFast, pipeline

from golden_tokenizer import utf16_positions
from random_model import save_random

LONG = (
    "The red fox ran over the hill. A dog saw the fox, and the dog ran too. On the hill there was a house; in the "
    "house an old man sat by the fire 🔥 and read a book. The fox went to the river. The man saw the dog at the "
    "river, and the fox was gone. At night it was cold, and the man gave the dog a bone and a bed by the fire. The end."
)
# fmt: off
CASES = [
    # question, context, answers as text, or (text, how many times it stands before)
    ["Where did the fox run?", "The red fox ran over the hill.", ["over the hill", "red", "The", "."]],
    ["who?", "ok", ["ok"]],
    ["What is on fire?", "🙂🙂 The 🔥 fox 👨‍👩‍👧‍👦 ran. 🇩🇪 It ran on.", ["fox", "🙂🙂", "🔥", "It ran"]],
    ["Où est le café?", "Le cafe\u0301 noir est là, naïve.\u0301 Un café rouge.", ["cafe\u0301", "noir", "café"]],
    ["which line?", "the first\r\nthe\tsecond \u200bline\r\n\r\n\u00a0the third\u0007 \ufeffline",
     ["the first", "second", "third"]],
    ["北京在哪里?", "北京是中国的首都。The 𠀀 city 東京 is in 日本。", ["北京", "中国", "𠀀", "東京"]],
    ["what did the dog do?", LONG, ["The red fox", "dog saw", "end", "🔥", ("fox", 2), LONG[:200]]],
    ["Fox or FOX?", "Fox fox FOX, the fox; a Fox: fox!", ["Fox", "FOX", "fox!"]],
    ["what of [SEP]?", "the [SEP] and the [CLS] ran, [MASK] too [UNK].", ["[SEP]", "the [CLS]"]],
    ["   what is there?  ", "   the fox   is in the house   ", ["the fox", "house"]],
    ["how long?", "a " + "x" * 120 + " fox ran, " + "aé" * 40 + " שלום العربية ok.", ["x" * 120, "fox"]],
    ["read?", "unreadable rereading readers read; the reader's re-read.", ["unreadable", ("read", 3), "re-read"]],
]
# fmt: on
FEATURES = [(128, 32), (40, 8), (24, 4)]
PIPELINES = [
    {},
    {"top_k": 4},
    {"top_k": 3, "max_seq_len": 32, "doc_stride": 8},
    {"top_k": 3, "handle_impossible_answer": True, "max_seq_len": 40, "doc_stride": 6},
    {"handle_impossible_answer": True},
    {"top_k": 5, "align_to_words": False, "max_answer_len": 4},
    {"top_k": 2, "max_answer_len": 1, "max_seq_len": 24, "doc_stride": 4},
]
PREDICTIONS = [
    {},
    {"version_2_with_negative": True},
    {"version_2_with_negative": True, "null_score_diff_threshold": -1.5, "n_best_size": 5},
    {"n_best_size": 3, "max_answer_length": 2},
]


def answers_of(case):
    """(place in code points, text) of each answer."""
    _, context, answers = case
    places = []
    for answer in answers:
        text, before = answer if isinstance(answer, tuple) else (answer, 0)
        start = -1
        for _ in range(before + 1):
            start = context.index(text, start + 1)
        places.append((start, text))
    return places


def make_model(path):
    words = "the a an fox dog man hill house river fire book read ##read ##er ##ing un re end what where who".split()
    words += "ran red saw".split()
    letters = sorted({char for char in "abcdefghijklmnopqrstuvwxyz0123456789北京中国東都日שלום🔥"})
    marks = list(".,;:!?'-[]。")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, *(f"##{c}" for c in letters), *marks]
    vocabulary = list(dict.fromkeys(vocabulary))
    os.makedirs(path, exist_ok=True)
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,
    )
    model = BertForQuestionAnswering(config)
    with torch.no_grad():
        # Wide logits, so that scores lie apart.
        model.qa_outputs.weight *= 3
    save_random(model, path)
    vocab_file = os.path.join(path, "vocab.txt")
    with open(vocab_file, "w", encoding="utf-8") as file:
        file.write("\n".join(vocabulary) + "\n")
    BertTokenizerFast(vocab_file, do_lower_case=True, model_max_length=128).save_pretrained(path)
    os.remove(vocab_file)  # tokenizer.json has it
    os.remove(os.path.join(path, "special_tokens_map.json"))


def features_of(tokenizer, question, context, max_length, stride):
    """Rows as run_qa's prepare_validation_features makes them."""
    encoded = tokenizer(
        question.lstrip(),
        context,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    rows = []
    for i, ids in enumerate(encoded["input_ids"]):
        sequences = encoded.sequence_ids(i)
        inside = [place for place, sequence in enumerate(sequences) if sequence == 1]
        rows.append(
            {
                "ids": ids,
                "types": encoded["token_type_ids"][i],
                "first": inside[0],
                "stop": inside[-1] + 1,
                "offsets": encoded["offset_mapping"][i],
                "words": encoded.word_ids(i),
            }
        )
    return rows


def positions_of(row, start, text):
    """run_qa's labels; its own first loop runs on into the [SEP] behind an answer in the row's last token."""
    end = start + len(text)
    first, last = row["first"], row["stop"] - 1
    offsets = row["offsets"]
    if not (offsets[first][0] <= start and offsets[last][1] >= end):
        return [0, 0]
    while first < row["stop"] and offsets[first][0] <= start:
        first += 1
    while offsets[last][1] >= end:
        last -= 1
    return [first - 1, last + 1]


def feature_golden(tokenizer, case, max_length, stride):
    question, context, _ = case
    at = utf16_positions(context)
    rows = features_of(tokenizer, question, context, max_length, stride)
    return [
        {
            "ids": row["ids"],
            "types": row["types"],
            "context": [row["first"], row["stop"]],
            "offsets": [at[place] for pair in row["offsets"][row["first"] : row["stop"]] for place in pair],
            "words": row["words"][row["first"] : row["stop"]],
            "positions": [positions_of(row, start, text) for start, text in answers_of(case)],
        }
        for row in rows
    ]


def pipeline_golden(answerer, case, options):
    question, context, _ = case
    at = utf16_positions(context)
    found = answerer(question=question, context=context, **options)
    # Spans that begin at [CLS] are among its results where the context has too few others, with a score of 0.
    return [
        [round(item["score"], 7), at[item["start"]], at[item["end"]], item["answer"]]
        for item in (found if isinstance(found, list) else [found])
        if item["score"] > 0
    ]


class Examples(list):
    def __getitem__(self, key):
        return [item[key] for item in self] if isinstance(key, str) else super().__getitem__(key)


def prediction_golden(utils, model, tokenizer, options, max_length, stride):
    """Predictions of all cases at once; nbest, its first six, as [text, probability, start logit,
    end logit]."""
    examples = Examples({"id": str(i), "context": context} for i, (_, context, _) in enumerate(CASES))
    features, starts, ends = [], [], []
    for i, (question, context, _) in enumerate(CASES):
        for row in features_of(tokenizer, question, context, max_length, stride):
            inside = range(row["first"], row["stop"])
            offsets = [pair if place in inside else None for place, pair in enumerate(row["offsets"])]
            features.append({"example_id": str(i), "offset_mapping": offsets})
            with torch.no_grad():
                output = model(
                    input_ids=torch.tensor([row["ids"]]),
                    token_type_ids=torch.tensor([row["types"]]),
                )
            starts.append(output.start_logits[0].numpy())
            ends.append(output.end_logits[0].numpy())
    with tempfile.TemporaryDirectory() as folder:
        texts = utils.postprocess_qa_predictions(examples, features, (starts, ends), output_dir=folder, **options)
        read = lambda name: json.load(open(os.path.join(folder, name), encoding="utf-8"))
        nbest = read("nbest_predictions.json")
        odds = read("null_odds.json") if options.get("version_2_with_negative") else {}
    return [
        {
            "text": texts[key],
            "nBest": [
                [item["text"], *(round(item[name], 6) for name in ("probability", "start_logit", "end_logit"))]
                for item in nbest[key][:6]
            ],
            **({"nullScoreDiff": round(odds[key], 5)} if odds else {}),
        }
        for key in examples["id"]
    ]


def generate(folder, utils_qa):
    spec = importlib.util.spec_from_file_location("utils_qa", utils_qa)
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    path = os.path.join(folder, "tiny-bert-qa")
    make_model(path)
    tokenizer = BertTokenizerFast.from_pretrained(path)
    model = BertForQuestionAnswering.from_pretrained(path, attn_implementation="eager").eval()
    answerer = pipeline("question-answering", model=model, tokenizer=tokenizer, framework="pt", device="cpu")
    golden = {
        "cases": [
            {
                "question": case[0],
                "context": case[1],
                "answers": [[utf16_positions(case[1])[at], text] for at, text in answers_of(case)],
            }
            for case in CASES
        ],
        "features": [
            {"options": [length, stride], "rows": [feature_golden(tokenizer, case, length, stride) for case in CASES]}
            for length, stride in FEATURES
        ],
        "pipelines": [
            {"options": options, "answers": [pipeline_golden(answerer, case, options) for case in CASES]}
            for options in PIPELINES
        ],
        "predictions": [
            {
                "options": options,
                "lengths": [length, stride],
                "answers": prediction_golden(utils, model, tokenizer, options, length, stride),
            }
            for options in PREDICTIONS
            for length, stride in ((128, 32), (40, 8))
        ],
    }
    with open(os.path.join(folder, "question-answering.json"), "w", encoding="utf-8") as file:
        sections = []
        for key, rows in golden.items():
            lines = ",\n".join(f" {json.dumps(row, ensure_ascii=True, separators=(',', ':'))}" for row in rows)
            sections.append(f"{json.dumps(key)}: [\n{lines}\n]")
        file.write("{\n" + ",\n".join(sections) + "\n}\n")
