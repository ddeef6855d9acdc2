"""text-metrics.json: BLEU, chrF, TER (sacrebleu), ROUGE and stems (rouge-score, NLTK), WER and CER (jiwer), SQuAD
(Transformers 4's squad_metrics and the official script of 1.1), self-BLEU (NLTK).

`rows`: [hypothesis, references]; each metric's `cases` name rows by their numbers, with options as train/metrics has
them and `want`, the results. Rows are drawn with a fixed seed: sentences and what changes them, with the characters
at which Python and JavaScript part (white space, case, code points above the basic plane, lone surrogates).
`long`: texts that both sides draw themselves, by seed, numbers of words and vocabulary. SQuAD's part needs, as
Transformers 5 has it no more,

    pip download --no-deps "transformers<5"   # unzip transformers/data/metrics/squad_metrics.py of it

and `SQUAD_METRICS` in the environment: that file's path.
"""

import importlib.util
import json
import os
import random
import sys
import types

WORDS = (
    "the a an cat sat on mat dog it he was running quickly relational happily over green house houses of and to"
).split()
NASTY = [
    "1,000.5", "3-4", "it's", "cat's", "&quot;hi&quot;", "&amp;lt;", "<skipped>", "end-\nof", "x\n-y", "(hi)", "...",
    "U.S.", "don't", "co-op", "!", "?", ",", ".", "'s", "$5", "100%", "a.b", "5.", ".5", "-", "--", "~", "[x]", "_",
    "the,", "An", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f",
    "\u30ab\u30bf\u30ab\u30ca\u30fb", "\u4e2d\u6587abc", "\uff01\uff0e", "\u2605\u2600", "\u32a0", "\u00a3\u00a3",
    "\u00ab\u00e9t\u00e9\u00bb", "\u0415\u0449\u0451", "\u0661\u066b\u0662", "\U0001f600",
    "\U0001f468\u200d\U0001f469", "a\U0001f600,", "\U00020000\U0001d7d9.", "e\u0301", "\u05e9\u05dc\u05d5\u05dd",
    "\ud800", "x\udc00.", "\u0130", "\u039f\u0394\u039f\u03a3", "\u212a", "\u00df", "\u1680", "\x1c", "\x85",
    "\ufeff", "\u3000", "\u00a0", "\t", "\n", "\r\n", "  ", "a\tb", "\u2028", "\u0e44\u0e17\u0e22", "\u00bd",
    "\u2167", "\u00b2.", "\u2e80", "\u30a2,",
]


class Draw(random.Random):
    def words(self, most):
        return [self.choice(NASTY if self.random() < 0.25 else WORDS) for _ in range(self.randrange(most))]

    def changed(self, words):
        words = list(words)
        for _ in range(self.randrange(1 + max(1, len(words) // 2))):
            at = self.randrange(len(words) + 1)
            kind = self.randrange(5)
            if kind == 0:
                words[at:at] = self.words(3)
            elif kind == 1:
                del words[at : at + self.randrange(1, 4)]
            elif kind == 2 and words:
                words[at % len(words)] = self.choice(WORDS)
            elif words:
                phrase = words[at : at + self.randrange(1, 12)]
                del words[at : at + len(phrase)]
                to = self.randrange(len(words) + 1)
                words[to:to] = phrase
        return words

    def joined(self, words):
        space = lambda: " " if self.random() < 0.9 else self.choice(["", "  ", "\n", "\t", ". ", ".\n"])
        return "".join(word + space() for word in words)

    def row(self, most):
        reference = self.words(most)
        hypothesis = self.changed(reference) if self.random() < 0.85 else self.words(most)
        references = [reference, *(self.changed(reference) for _ in range(self.choice([0, 0, 0, 1, 2])))]
        return [self.joined(hypothesis), [self.joined(words) for words in references]]


def stream(seed, count, vocabulary):
    words, x = [], seed
    for _ in range(count):
        x = x * 48271 % 2147483647
        words.append(f"w{x % vocabulary}")
    return words


def by_reference(rows):
    most = max(len(references) for _, references in rows)
    return [[references[i] if i < len(references) else None for _, references in rows] for i in range(most)]


def score(metric, rows):
    result = metric.corpus_score([hypothesis for hypothesis, _ in rows], by_reference(rows))
    return result, str(metric.get_signature())


def bleu(draw, rows):
    from sacrebleu.metrics import BLEU

    options = {"tokenize": draw.choice(["13a", "intl", "zh", "char", "none"])}
    smoothing = draw.choice(["none", "floor", "add-k", "exp"])
    options["smoothing"] = smoothing
    if draw.random() < 0.3:
        options["smoothingValue"] = draw.choice([0.125, 0.01, 2, 0.5])
    if draw.random() < 0.3:
        options["maxOrder"] = draw.randrange(1, 7)
    options["effectiveOrder"] = draw.random() < 0.5
    options["lowercase"] = draw.random() < 0.5
    names = {"smoothing": "smooth_method", "smoothingValue": "smooth_value", "maxOrder": "max_ngram_order",
             "effectiveOrder": "effective_order"}
    result, signature = score(BLEU(force=True, **{names.get(k, k): v for k, v in options.items()}), rows)
    want = {"score": result.score, "counts": result.counts, "totals": result.totals, "precisions": result.precisions,
            "brevityPenalty": result.bp, "hypothesisLength": result.sys_len, "referenceLength": result.ref_len}
    return options, {**want, "signature": signature}


def chrf(draw, rows):
    from sacrebleu.metrics import CHRF

    options = {name: draw.random() < 0.3 for name in ("lowercase", "whitespace", "epsSmoothing")}
    if draw.random() < 0.6:
        options["wordOrder"] = draw.randrange(3)
    if draw.random() < 0.3:
        options |= {"charOrder": draw.randrange(1, 8), "beta": draw.randrange(4)}
    names = {"epsSmoothing": "eps_smoothing", "wordOrder": "word_order", "charOrder": "char_order"}
    result, signature = score(CHRF(**{names.get(k, k): v for k, v in options.items()}), rows)
    return options, {"score": result.score, "name": result.name, "signature": signature}


def ter(draw, rows):
    from sacrebleu.metrics import TER

    names = {"normalized": "normalized", "noPunct": "no_punct", "asianSupport": "asian_support",
             "caseSensitive": "case_sensitive"}
    options = {name: draw.random() < 0.5 for name in names}
    result, signature = score(TER(**{names[k]: v for k, v in options.items()}), rows)
    return options, {"score": result.score, "edits": result.num_edits, "referenceLength": result.ref_length,
                     "signature": signature}


def rouge(draw, rows):
    from rouge_score.rouge_scorer import RougeScorer

    types_of = [["rouge1", "rouge2", "rougeL", "rougeLsum"], ["rouge3", "rougeLsum"], ["rougeLsum"]]
    options = {"types": draw.choice(types_of), "stem": draw.random() < 0.5}
    scorer = RougeScorer(options["types"], use_stemmer=options["stem"])
    scores = [scorer.score_multi(references, hypothesis) for hypothesis, references in rows]
    mean = lambda kind: [sum(each[kind][i] for each in scores) / len(scores) for i in range(3)]
    return options, {kind: mean(kind) for kind in options["types"]}


def wer(_, rows):
    import jiwer

    hypotheses, references = [row[0] for row in rows], [row[1][0] for row in rows]
    words, characters = jiwer.process_words(references, hypotheses), jiwer.process_characters(references, hypotheses)
    counts = lambda of: [of.hits, of.substitutions, of.deletions, of.insertions]
    return {}, {"wer": words.wer, "mer": words.mer, "wil": words.wil, "words": counts(words), "cer": characters.cer,
                "characters": counts(characters)}


def self_bleu(draw, rows):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    options = {"maxOrder": draw.randrange(1, 6), "epsilon": draw.choice([0.1, 0.1, 0])}
    smoothing = SmoothingFunction(epsilon=0.1)
    method = smoothing.method1 if options["epsilon"] else smoothing.method0
    texts = [text.split() for row in rows for text in (row[0], row[1][0])]
    weights = [1 / options["maxOrder"]] * options["maxOrder"]
    scores = [
        sentence_bleu(texts[:i] + texts[i + 1 :], text, weights, smoothing_function=method) if text else 0
        for i, text in enumerate(texts)
    ]
    return options, sum(scores) / len(scores)


def squad_metrics():
    """Transformers 4's squad_metrics.py, without the rest of that package."""
    for name in ("squad_source", "squad_source.data", "squad_source.data.metrics", "squad_source.models"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    sys.modules["squad_source.models.bert"] = types.SimpleNamespace(BasicTokenizer=None)
    import logging

    sys.modules["squad_source.utils"] = types.SimpleNamespace(
        logging=types.SimpleNamespace(get_logger=logging.getLogger)
    )
    spec = importlib.util.spec_from_file_location("squad_source.data.metrics.squad", os.environ["SQUAD_METRICS"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def squad(draw, rows):
    metrics = squad_metrics()
    predictions = [row[0] if draw.random() < 0.8 else "" for row in rows]
    answers = [row[1] if draw.random() < 0.7 else [] for row in rows]
    probabilities = [round(draw.random(), 1) for _ in rows]
    options = {"noAnswerThreshold": draw.choice([1, 0.5, 0.25, 0])}
    examples = [
        types.SimpleNamespace(qas_id=i, answers=[{"text": text} for text in own]) for i, own in enumerate(answers)
    ]
    with_probabilities = draw.random() < 0.7
    result = metrics.squad_evaluate(
        examples,
        dict(enumerate(predictions)),
        dict(enumerate(probabilities)) if with_probabilities else None,
        options["noAnswerThreshold"],
    )
    if with_probabilities:
        options["noAnswerProbabilities"] = probabilities
    # Without probabilities Transformers sets all to 0, and then finds thresholds among them.
    else:
        result = {name: value for name, value in result.items() if not name.startswith("best")}
    options |= {"noPrediction": [i for i, text in enumerate(predictions) if text == "" and rows[i][0] != ""],
                "noAnswer": [i for i, own in enumerate(answers) if not own]}
    want = dict(result)
    # SQuAD 1.1: its script takes the words' F1 without a case for empty answers.
    f1 = lambda a, b: metrics.compute_f1(a, b) if metrics.get_tokens(a) and metrics.get_tokens(b) else 0
    best = lambda of: 100 * sum(max(of(a, p) for a in row[1]) for p, row in zip(predictions, rows)) / len(rows)
    want["v1"] = [best(metrics.compute_exact), best(f1)]
    return options, want


METRICS = {"bleu": bleu, "chrf": chrf, "ter": ter, "rouge": rouge, "wer": wer, "selfBleu": self_bleu, "squad": squad}


def stems(draw, count):
    from nltk.stem.porter import PorterStemmer

    beginnings = (
        "fl tr y sk d l t rel cond hes operat vietnam hop fall fil siz troubl conflat agre f geo theo archaeo "
        "prob control roll happ enjo spi die n howe proce x yyy by toy syzyg o e 3d w4x bow"
    ).split()
    ends = (
        "ational tional enci anci izer bli alli entli eli ousli ization ation ator alism iveness fulness "
        "ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able "
        "ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize e ll y ies ied eed ed ing ss sses s "
        "ying ies ings ally"
    ).split()
    words = {"skies", "dying", "innings", "succeed", "news", "canning"}
    while len(words) < count:
        words.add(draw.choice(beginnings) + draw.choice(["", "", draw.choice(ends)]) + draw.choice(ends))
    stemmer = PorterStemmer()
    return {word: stemmer.stem(word) for word in sorted(words)}


def build(row_count, case_count, seed):
    draw = Draw(seed)
    rows = [["", [""]], ["the cat", [""]], ["", ["the cat"]], ["the cat sat on the mat", ["the cat sat on the mat"]]]
    rows += [["the cat's of it", ["the cat's\tof it", "&amp;lt; 's"]], ["a.\n-b,c 1.5 -", ["a. -b, c 1.5-\n", "A."]]]
    while len(rows) < row_count:
        rows.append(draw.row(150 if len(rows) % 25 == 0 else 24 if len(rows) % 3 else 8))
    rows = json.loads(json.dumps(rows))  # two halves of a surrogate pair that met are one character
    result = {"rows": rows}
    for name, of in METRICS.items():
        result[name] = []
        for i in range(case_count):
            least = 2 if name == "selfBleu" else 1
            chosen = [draw.randrange(len(rows)) for _ in range(draw.choice([least, least, 2, 5]))]
            if i < len(rows) and least == 1:
                chosen = [i, *chosen[1:]]
            options, want = of(draw, [rows[row] for row in chosen])
            result[name].append({"rows": chosen, "options": options, "want": want})
    result["stems"] = stems(draw, 4 * case_count)
    result["long"] = []
    for seed, counts, vocabulary in ((1, (2300, 2500), 300), (3, (5000, 1100), 20)):
        texts = [" ".join(stream(seed + i, count, vocabulary)) for i, count in enumerate(counts)]
        _, want = wer(draw, [[texts[1], [texts[0]]]])
        result["long"].append({"seed": seed, "counts": counts, "vocabulary": vocabulary, "want": want})
    return result


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


def generate(folder, _minilm):
    if not os.path.isfile(os.environ.get("SQUAD_METRICS", "")):
        sys.exit("part text_metrics needs SQUAD_METRICS, the path of Transformers 4's squad_metrics.py; see its file")
    result = rounded(build(50, 44, 11))
    lines = []
    for name, value in result.items():
        if isinstance(value, list):
            body = "[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in value) + "\n]"
        else:
            body = json.dumps(value, separators=(",", ":"))
        lines.append(f"{json.dumps(name)}: {body}")
    with open(os.path.join(folder, "text-metrics.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
