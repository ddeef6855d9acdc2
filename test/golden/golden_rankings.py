"""rankings.json: measures of rankings as pytrec_eval (trec_eval) and scikit-learn compute them, in cases as
label-metrics.json has. Relevance is a list of pairs under "map", or of documents under "set".
"""

import numpy as np
import pytrec_eval
from golden_label_metrics import case, draw_scores, draw_weights, options, pick, quietly, write_cases
from sklearn import metrics as sk


def draw_query(random, number):
    """Judged documents and a ranking, which may lack some of them, hold others, or be empty."""
    judged = {f"d{i:02}": int(random.integers(0, 4)) for i in range(int(random.integers(1, 9)))}
    if random.random() < 0.15:
        judged = dict.fromkeys(judged, 0)
    if random.random() < 0.1 and max(list(judged.values())[1:], default=0) > 0:
        judged[next(iter(judged))] = -1  # beside others: trec_eval does not end where it is alone
    known = list(judged) + [f"x{i}" for i in range(int(random.integers(0, 6)))]
    ranking = [str(x) for x in random.permutation(known)[: int(random.integers(1, len(known) + 1))]]
    return ranking, judged


def as_query(ranking, judged, as_set):
    if as_set:
        return {"ranking": ranking, "relevance": {"set": [x for x, grade in judged.items() if grade > 0]}}
    return {"ranking": ranking, "relevance": {"map": [list(pair) for pair in judged.items()]}}


def score(values):
    return {"mean": float(np.mean(values)), "perQuery": list(values)}


def cases(random, rounds):
    return quietly(random, rounds, round_of)


def round_of(random):
    drawn = [draw_query(random, i) for i in range(int(random.integers(1, 4)))]
    as_set = random.random() < 0.3
    if as_set:
        drawn = [(ranking, {x: min(1, grade) for x, grade in judged.items()}) for ranking, judged in drawn]
    queries = [as_query(ranking, judged, as_set) for ranking, judged in drawn]
    k, level = int(pick(random, 1, 2, 3, 5, 10)), int(pick(random, 1, 1, 2))
    judged = {str(i): grades for i, (_, grades) in enumerate(drawn)}
    run = {str(i): {x: float(-at) for at, x in enumerate(found)} for i, (found, _) in enumerate(drawn)}
    names = {"map", f"map_cut.{k}", f"P.{k}", f"recall.{k}", "recip_rank", f"success.{k}", "ndcg", f"ndcg_cut.{k}"}
    found = pytrec_eval.RelevanceEvaluator(judged, names, relevance_level=level).evaluate(run)
    of = lambda name: score([found[str(i)][name] for i in range(len(drawn))])
    given = options(relevanceLevel=None if level == 1 else level)
    yield case("reciprocalRank", [queries, given], of("recip_rank"))
    yield case("rankedAveragePrecision", [queries, given], of("map"))
    yield case("rankedAveragePrecision", [queries, {"k": k, **given}], of(f"map_cut_{k}"))
    yield case("precisionAtK", [queries, {"k": k, **given}], of(f"P_{k}"))
    yield case("recallAtK", [queries, {"k": k, **given}], of(f"recall_{k}"))
    yield case("hitRateAtK", [queries, {"k": k, **given}], of(f"success_{k}"))
    if level == 1:
        yield case("ndcg", [queries, {}], of("ndcg"))
        yield case("ndcg", [queries, {"k": k}], of(f"ndcg_cut_{k}"))
        yield case("ndcg", [queries, {"k": k, "gain": "exponential"}], score(burges(judged, run, k)))
    rows, columns = int(random.integers(1, 5)), int(random.integers(2, 9))
    true = pick(random, random.integers(0, 4, (rows, columns)), np.round(random.random((rows, columns)), 2))
    if random.random() < 0.2:
        true[0] = 0
    scores, weights = draw_scores(random, rows, columns), draw_weights(random, rows)
    k, ignore = pick(random, None, 1, 3, 20), pick(random, None, True)
    if ignore:  # numpy leaves open how it orders equal ones
        scores = random.permutation(rows * columns).reshape(rows, columns) / 4
    given = options(k=k, ignoreTies=ignore, sampleWeight=weights)
    rules = {"k": k, "ignore_ties": bool(ignore), "sample_weight": weights}
    yield case("ndcgScore", [true, scores, given], sk.ndcg_score(true, scores, **rules))
    yield case("dcgScore", [true, scores, given], sk.dcg_score(true, scores, **rules))


def burges(judged, run, k):
    """Gains of 2^grade - 1 are grades of that size."""
    grades = {query: {x: 2 ** max(0, grade) - 1 for x, grade in of.items()} for query, of in judged.items()}
    found = pytrec_eval.RelevanceEvaluator(grades, {f"ndcg_cut.{k}"}).evaluate(run)
    return [found[query][f"ndcg_cut_{k}"] for query in judged]


REFUSED = [
    case("reciprocalRank", [[]], None),
    case("ndcg", [[{"ranking": ["a", "a"], "relevance": {"set": ["a"]}}]], None),
    case("ndcg", [[{"ranking": ["a"], "relevance": {"map": [["a", np.nan]]}}]], None),
    case("precisionAtK", [[{"ranking": ["a"], "relevance": {"set": ["a"]}}], {"k": 0}], None),
    case("ndcgScore", [[[1, -1]], [[1, 2]]], None),
    case("ndcgScore", [[[1]], [[1]]], None),
    case("ndcgScore", [[[1, 0]], [[1, np.nan]]], None),
]


def generate(folder, _minilm):
    random = np.random.default_rng(13)
    chosen, counts = [], {}
    for found in cases(random, 40):
        if len(str(found)) < 420 and counts.get(found["op"], 0) < 16:
            counts[found["op"]] = counts.get(found["op"], 0) + 1
            chosen.append(found)
    write_cases(folder, "rankings.json", chosen, REFUSED)
