"""sequence-labels.json: entities of tagged tokens as seqeval finds and scores them, in cases as label-metrics.json has.

The tags are drawn at random, so most sequences are broken: an I after an O, an E without a begin, types that change
within an entity, types that only one side has, rows that are empty.
"""

import numpy as np
from golden_label_metrics import case, options, pick, quietly, write_cases
from seqeval import scheme as schemes
from seqeval.metrics import accuracy_score, sequence_labeling, v1

MARKS = {"IOB1": "IOB", "IOB2": "IOB", "IOE1": "IOE", "IOE2": "IOE", "IOBES": "IOBES", "BILOU": "BILOU"}
TYPES = ["PER", "LOC", "X-Y", "größe", "\U0001f600", "\uff21", ""]


def draw_rows(random, marks, types, suffix, lengths):
    def tag():
        mark = marks[int(random.integers(len(marks)))]
        kind = types[int(random.integers(len(types)))]
        if mark == "O":
            return "O"
        if kind == "":
            return mark
        return f"{kind}-{mark}" if suffix else f"{mark}-{kind}"

    return [[tag() for _ in range(n)] for n in lengths]


def noisy(random, rows, others):
    share = random.random()
    return [[y if random.random() < share else x for x, y in zip(a, b)] for a, b in zip(rows, others)]


def cases(random, rounds):
    return quietly(random, rounds, round_of)


def round_of(random):
    suffix = pick(random, None, True)
    name = pick(random, None, *MARKS)
    marks = MARKS[name] if name else "IOBES"
    types = list(random.permutation(TYPES)[: int(random.integers(1, 4))])
    lengths = random.integers(0, 7, int(random.integers(1, 4)))
    true = draw_rows(random, marks, types, suffix, lengths)
    pred = noisy(random, true, draw_rows(random, marks, types, suffix, lengths))
    given = options(scheme=name, suffix=suffix)
    scheme = getattr(schemes, name) if name else None
    zero = pick(random, None, 0, 1)
    rules = {"zero_division": 0 if zero is None else zero, "suffix": bool(suffix)}
    rest = options(zeroDivision=zero, **given)
    if name:
        score = lambda **extra: v1.precision_recall_fscore_support(true, pred, scheme=scheme, **rules, **extra)
        names = v1.unique_labels(true, pred, scheme, bool(suffix))
    else:
        score = lambda **extra: sequence_labeling.precision_recall_fscore_support(true, pred, **rules, **extra)
        found = sequence_labeling.get_entities(true, suffix) + sequence_labeling.get_entities(pred, suffix)
        names = sorted({kind for kind, _, _ in found})
    for average in ("micro", "macro", "weighted"):
        beta = pick(random, None, 0.5, 2.0)
        p, r, f, s = score(average=average, beta=1 if beta is None else beta)
        want = {"precision": p, "recall": r, "f1": f, "support": int(s)}
        yield case("entityScores", [true, pred, options(average=average, beta=beta, **rest)], want)
    keys = ("precision", "recall", "f1", "support")
    each = zip(names, zip(*score(average=None)))
    yield case("perTypeScores", [true, pred, rest], [{"type": kind, **dict(zip(keys, x))} for kind, x in each])
    if names:  # seqeval fails without any
        digits = int(pick(random, 2, 4))
        more = {"mode": "strict", "scheme": scheme} if name else {}
        report = sequence_labeling.classification_report(true, pred, digits=digits, **rules, **more)
        yield case("entityReport", [true, pred, options(digits=digits, **rest)], report)
    if sum(lengths) > 0:
        yield case("tokenAccuracy", [true, pred], accuracy_score(true, pred))
    if name:
        entities = schemes.Tokens(pred[0], scheme, bool(suffix)).entities
        want = [{"type": x.tag, "start": x.start, "end": x.end} for x in entities]
    else:
        found = sequence_labeling.get_entities(pred[0], bool(suffix))
        want = [{"type": kind, "start": start, "end": end + 1} for kind, start, end in found]
    yield case("entitiesOf", [pred[0], given], want)
    if name and name[-1] != "1":
        try:
            detected = schemes.auto_detect(true, bool(suffix))
            p, r, f, s = v1.precision_recall_fscore_support(true, pred, average="micro", scheme=detected, **rules)
        except ValueError:
            return
        want = {"precision": p, "recall": r, "f1": f, "support": int(s)}
        yield case("entityScores", [true, pred, {**rest, "scheme": "auto"}], want)


REFUSED = [
    case("entityScores", [[["O"]], [["O", "O"]]], None),
    case("entityScores", [[["O"], ["O"]], [["O"]]], None),
    case("entityScores", [[], []], None),
    case("entityScores", [[["O"]], [["E-PER"]], {"scheme": "IOB2"}], None),
    case("entityScores", [[["O"]], [["U-PER"]]], None),
    case("entityScores", [[["O"]], [["PER"]]], None),
    case("entityScores", [[["O"]], [[""]]], None),
    case("entityScores", [[["O", "O"]], [["O", "O"]], {"scheme": "auto"}], None),
]


def generate(folder, _minilm):
    random = np.random.default_rng(12)
    chosen, counts = [], {}
    for found in cases(random, 60):
        size = len(str(found))
        if size < (1100 if found["op"] == "entityReport" else 520) and counts.get(found["op"], 0) < 40:
            counts[found["op"]] = counts.get(found["op"], 0) + 1
            chosen.append(found)
    write_cases(folder, "sequence-labels.json", chosen, REFUSED)
