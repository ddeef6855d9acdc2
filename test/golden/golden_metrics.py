"""metrics.json: scikit-learn's classification_report.

Each case: `matrix`, how many examples of class i (row) were predicted as class j (column); `digits`; `zeroDivision`
(null: NaN); `labels`, the names; `report`, the text. The first cases are ties: scores such as 1/8, which two digits
cannot hold, and classes that were never predicted, never true, or neither. The rest are drawn with a fixed seed.
"""

import json
import os
import re

import numpy as np
from sklearn.metrics import classification_report

TIES = [
    [[1, 7], [7, 1]],
    [[3, 5], [13, 3]],
    [[5, 11, 0], [3, 29, 0], [0, 0, 7]],
    [[0, 0], [0, 1]],
    [[0, 5], [0, 0]],
    [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
    [[0, 2, 0], [0, 0, 0], [0, 0, 0]],
    [[2, 0, 0], [0, 0, 0], [0, 0, 0]],
    [[31, 1], [1, 15]],
]
NAMES = ["ham", "spam", "größe", "\U0001f600\U0001f600", "a name longer than weighted avg"]


def case(matrix, digits, zero_division):
    size = len(matrix)
    true = [i for i in range(size) for j in range(size) for _ in range(matrix[i][j])]
    predicted = [j for i in range(size) for j in range(size) for _ in range(matrix[i][j])]
    labels = [NAMES[i] if i < len(NAMES) and size < 4 else f"{NAMES[i % 5]} {i}" for i in range(size)]
    value = np.nan if zero_division is None else zero_division
    report = classification_report(
        true, predicted, labels=range(size), target_names=labels, digits=digits, zero_division=value
    )
    # Where nothing was predicted rightly, scikit-learn counts in floats and prints 5.0 for 5.
    report = re.sub(r"( +)(\d+)\.0$", r"\1  \2", report, flags=re.MULTILINE)
    return {"matrix": matrix, "digits": digits, "zeroDivision": zero_division, "labels": labels, "report": report}


def generate(folder, _minilm):
    random = np.random.default_rng(9)
    cases = [case(matrix, digits, zero) for matrix in TIES for digits in (1, 2) for zero in (0.0, None)]
    while len(cases) < 70:
        size = int(random.integers(2, 12))
        matrix = (random.integers(0, 9, (size, size)) * (random.random((size, size)) < random.random())).tolist()
        if sum(map(sum, matrix)) > 0:
            zero = [0.0, 1.0, None][int(random.integers(3))]
            cases.append(case(matrix, int(random.choice([0, 1, 2, 3, 4, 17])), zero))
    with open(os.path.join(folder, "metrics.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
