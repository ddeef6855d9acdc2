"""evaluation/: tasks, their data, and what lm-evaluation-harness makes of them with the small GPT that comes with the
project: expected.json holds the prompts, the answers and the scores of every row, and the figures.

The tasks are written as JSON, which is YAML too: lm-eval reads the same files, under another name. Needs `pip install
lm-eval==0.4.13`; nothing is downloaded.
"""

import json
import os
import random
import shutil
import tempfile

BOOTSTRAPS = 3000
SHORT = 6

PEOPLE = ["president", "captain", "farmer", "senator", "whale", "sailor", "judge", "people", "harpooneer", "nation"]
VERBS = ["saw", "addressed", "followed", "praised", "feared", "carried"]
THINGS = ["the Union", "the sea", "a treaty", "the ship", "the law", "peace", "war", "the Congress", "gold", "a boat"]


def sentence(draw):
    return f"The {draw.choice(PEOPLE)} {draw.choice(VERBS)} {draw.choice(THINGS)}"


def question(draw, count):
    choices = draw.sample(THINGS, count)
    answer = draw.randrange(count)
    text = f"What has the {draw.choice(PEOPLE)} {draw.choice(VERBS)} in the year {draw.randrange(1790, 1900)}?"
    return {"question": text, "choices": choices, "answer": answer}


def make_data():
    draw = random.Random(3)
    questions = [question(draw, 3) for _ in range(14)]
    questions[4] = dict(questions[1])  # a row that is there twice
    questions[5]["choices"] = ["café ☕ and bread", "x", "the Union and the sea and all that is therein"]
    questions[6]["question"] = "Who?  "
    letters = [{**question(draw, 3), "letter": draw.choice("ABC")} for _ in range(12)]
    letters[3] = dict(letters[0])
    lines = [{"line": sentence(draw), "label": draw.choice(["yes", "no"]), "number": i} for i in range(9)]
    # A choice that fits into the gap of a sentence.
    gaps = [
        {"first": f"The {a} and the {b} met, and the {a}", "second": f"The {a} and the {b} met, and the {b}",
         "end": f"{draw.choice(VERBS)} {draw.choice(THINGS)}.", "right": str(draw.randrange(2))}
        for a, b in (draw.sample(PEOPLE, 2) for _ in range(7))
    ]
    several = [{**question(draw, 4), "answers": draw.sample(range(4), 2)} for _ in range(6)]
    sentences = [sentence(draw).split() for _ in range(15)]
    endings = [{"context": " ".join(words[:-1]), "word": words[-1]} for words in sentences]
    endings[2]["context"] += " "
    endings[3] = {"context": "The people of the United", "word": "States"}  # which is what the model writes
    texts = [" ".join(sentence(draw) + "." for _ in range(count)) for count in (1, 40, 15, 3)]
    texts.append("Ünïcode\u00a0spaces\tand\n\nlines 🔥")
    copies = [{"text": sentence(draw), "wanted": draw.choice(["The", "the nation", "Union"])} for _ in range(5)]
    copies[0]["wanted"] = " The mutter, of the"  # but for a letter and a comma what the model writes
    # What the model writes is an answer of one letter, of another form, or none.
    asked = [
        {"text": text, "choices": draw.sample(THINGS, 3), "wanted": wanted}
        for text, wanted in [
            ("(A) the sea (B) the ship. Answer: (", "(A)"), ("The people of the United", "(B)"),
            ("Answer: A or", "(A)"),
            ("the captain of the", "whale"), ("It is not", "the"), ("What is", "a"), ("Mr.", "Speaker"),
        ]
    ]
    asked[1]["choices"] = ["State", "States", "Union"]
    pairs = [{"text": sentence(draw), "is_peace": draw.randrange(2)} for _ in range(16)]
    return {
        "questions.jsonl": questions,
        "letters.jsonl": letters,
        "lines.csv": lines,
        "gaps.jsonl": gaps,
        "several.parquet": several,
        "endings.jsonl": endings,
        "texts.jsonl": [{"text": text} for text in texts],
        "copies.jsonl": copies,
        "asked.jsonl": asked,
        "pairs.jsonl": pairs,
    }


ALL = ["acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "brier_score"]


def metrics(names, **more):
    average = {
        "perplexity": "perplexity", "word_perplexity": "weighted_perplexity", "byte_perplexity": "weighted_perplexity",
        "brier_score": "brier_score", "bits_per_byte": "bits_per_byte",
        "f1": "f1", "mcc": "matthews_corrcoef", "bleu": "bleu", "chrf": "chrf", "chrf++": "chrf++", "ter": "ter",
    }
    lower = ["perplexity", "word_perplexity", "byte_perplexity", "brier_score", "bits_per_byte", "ter"]
    return [
        {"metric": name, "aggregation": average.get(name, "mean"), "higher_is_better": name not in lower, **more}
        for name in names
    ]


def data(path, kind="json", **more):
    files = {"test": path, **more}
    return {"dataset_path": kind, "dataset_kwargs": {"data_files": files}, "test_split": "test"}


TASKS = [
    {
        "task": "questions", **data("questions.jsonl"), "output_type": "multiple_choice",
        "description": "Answer the questions.\n\n", "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices", "doc_to_target": "answer", "metric_list": metrics(ALL),
        "metadata": {"version": 2.5},
    },
    {
        "task": "drawn", **data("letters.jsonl"), "fewshot_split": "test", "num_fewshot": 2,
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}\n{% for choice in choices %}{{'ABC'[loop.index0]}}. {{choice}}\n{% endfor %}"
        "Answer:",
        "doc_to_choice": ["A", "B", "C"], "doc_to_target": "letter",
        "metric_list": metrics(["acc", "acc_norm", "acc_mutual_info"]),
    },
    {
        "task": "first", **data("lines.csv", "csv", train="lines.csv"), "fewshot_split": "train", "num_fewshot": 2,
        "fewshot_config": {"sampler": "first_n", "doc_to_text": "{{number}}: {{line}} ="},
        "output_type": "multiple_choice", "doc_to_text": "{{line}} =", "doc_to_choice": {"a": "yes", "b": "no"},
        "doc_to_target": "{{label}}", "fewshot_delimiter": "\n",
        "metric_list": metrics(["acc"]),
    },
    {
        "task": "gaps", **data("gaps.jsonl"), "output_type": "multiple_choice", "doc_to_text": "{{right}}",
        "doc_to_choice": "{{[first, second]}}", "doc_to_target": "end", "metric_list": metrics(["acc", "acc_norm"]),
    },
    {
        "task": "several", **data("several.parquet", "parquet"), "output_type": "multiple_choice",
        "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}", "doc_to_target": "answers",
        "metric_list": metrics(["acc", "acc_norm", "exact_match"]),
    },
    {
        "task": "endings", **data("endings.jsonl"), "output_type": "loglikelihood", "doc_to_text": "context",
        "doc_to_target": "{{' ' + word}}", "metric_list": metrics(["perplexity", "acc"]),
    },
    {
        "task": "texts", **data("texts.jsonl"), "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_target": "{{text}}", "metric_list": metrics(["word_perplexity", "byte_perplexity", "bits_per_byte"]),
    },
    {
        "task": "copies", **data("copies.jsonl"), "fewshot_split": "test", "num_fewshot": 1,
        "output_type": "generate_until", "doc_to_text": "{{text}} and", "doc_to_target": "{{wanted}}",
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 6, "do_sample": False, "temperature": 0.0},
        "metric_list": metrics(["exact_match"], ignore_case=True, ignore_punctuation=True),
    },
    {
        "task": "filtered", **data("asked.jsonl"), "output_type": "generate_until", "doc_to_text": "{{text}}",
        "doc_to_target": "{{wanted}}", "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 8},
        "metric_list": metrics(["exact_match"], regexes_to_ignore=["(?s)\\A\\s+", "\\.$"]),
        "filter_list": [
            {"name": "word", "filter": [
                {"function": "regex", "regex_pattern": "(?i)\\b(whale|the|states?)\\b", "fallback": "nothing"},
                {"function": "lowercase"},
                {"function": "take_first"},
            ]},
            {"name": "last", "filter": [
                {"function": "regex", "regex_pattern": "([A-Z])|(\\w+)", "group_select": -1},
                {"function": "uppercase"},
                {"function": "remove_whitespace"},
                {"function": "map", "mapping_dict": {"A": "(A)", "THE": "the"}, "default_value": "other"},
                {"function": "take_first"},
            ]},
            {"name": "letter", "filter": [
                {"function": "multi_choice_regex", "regex_pattern": "(\\([A-Z]\\))", "ignore_case": True,
                 "ignore_punctuation": True, "regexes_to_ignore": ["[-\\s]+$"]},
                {"function": "take_first"},
            ]},
        ],
    },
    {
        "task": "translated", **data("endings.jsonl"), "output_type": "generate_until", "doc_to_text": "{{context}}",
        "doc_to_target": "{{word}} of the people and the", "target_delimiter": " => ", "gen_prefix": "So",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "metric_list": metrics(["bleu", "chrf", "chrf++", "ter"]),
    },
    {
        "task": "pairs", **data("pairs.jsonl"), "output_type": "multiple_choice", "fewshot_split": "test",
        "doc_to_text": "{{text}}.", "doc_to_choice": ["war", "peace"], "doc_to_target": "is_peace",
        "gen_prefix": "It was about", "metric_list": metrics(["acc", "f1", "mcc"]),
    },
]

# A chat template, and one that has no place for the system's turn.
TEMPLATES = {
    "plain": "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "strict": "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}",
}
CHATS = [
    {"template": "plain", "fewshot_as_multiturn": True, "system_instruction": "Be brief."},
    {"template": "plain", "fewshot_as_multiturn": False},
    {"template": "strict", "fewshot_as_multiturn": True, "system_instruction": "Be brief."},
]
CHAT_TASKS = ["questions", "first", "gaps", "pairs", "translated", "endings"]

GROUPS = [
    {
        "group": "texts-of-both", "task": ["filtered", "copies"],
        "aggregate_metric_list": [{"metric": "exact_match", "filter_list": ["word", "letter"]}],
    },
    {"group": "all-questions", "task": ["questions", "drawn"], "aggregate_metric_list": [{"metric": "acc"}]},
    {
        "group": "evenly", "task": ["several", "gaps"],
        "aggregate_metric_list": [{"metric": "acc_norm", "weight_by_size": False}],
    },
]


def write_data(folder):
    for name, rows in make_data().items():
        path = os.path.join(folder, name)
        if name.endswith(".parquet"):
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            continue
        with open(path, "w") as file:
            if name.endswith(".csv"):
                file.write(",".join(rows[0]) + "\n")
                file.writelines(",".join(str(value) for value in row.values()) + "\n" for row in rows)
            else:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def plain(value):
    """As JSON has it; Python's numbers of NumPy as theirs."""
    return float(value) if hasattr(value, "dtype") else value


def samples_of(found):
    return {
        name: [
            {
                "doc_id": row["doc_id"],
                "filter": row["filter"],
                "arguments": row["arguments"],
                "filtered_resps": row["filtered_resps"],
                **{metric: plain(row[metric]) for metric in row["metrics"] if metric != "brier_score"},
            }
            for row in rows
        ]
        for name, rows in found["samples"].items()
    }


def generate(folder, _=None):
    place = os.path.join(folder, "evaluation")
    model = os.path.abspath(os.path.join(folder, "..", "..", "models", "pretrained", "gpt-small"))
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    write_data(place)
    for task in TASKS + GROUPS:
        with open(os.path.join(place, f"{task['group' if 'group' in task else 'task']}.json"), "w") as file:
            json.dump(task, file, indent=1, ensure_ascii=False)
            file.write("\n")
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HF_DATASETS_CACHE"] = os.path.join(temporary, "cache")
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        tasks = os.path.join(temporary, "tasks")
        os.makedirs(tasks)
        for name in os.listdir(place):
            if name.endswith(".json"):
                shutil.copy(os.path.join(place, name), os.path.join(tasks, name.replace(".json", ".yaml")))
        before = os.getcwd()
        os.chdir(place)
        try:
            run = lambda names, pretrained=model, **more: simple_evaluate(
                model="hf",
                model_args={"pretrained": pretrained, "dtype": "float32", "device": "cpu"},
                tasks=names,
                batch_size=4,
                bootstrap_iters=more.pop("bootstrap_iters", BOOTSTRAPS),
                task_manager=TaskManager(include_path=tasks, include_defaults=False),
                **more,
            )
            groups = [group["group"] for group in GROUPS]
            grouped = [name for group in GROUPS for name in group["task"]]
            whole = run(groups + [task["task"] for task in TASKS if task["task"] not in grouped])
            part = run(["questions", "drawn"], limit=SHORT, num_fewshot=1)
            chats = []
            for chat in CHATS:
                own = os.path.join(temporary, chat["template"])
                shutil.copytree(model, own, dirs_exist_ok=True)
                with open(os.path.join(own, "tokenizer_config.json")) as file:
                    config = json.load(file)
                with open(os.path.join(own, "tokenizer_config.json"), "w") as file:
                    json.dump({**config, "chat_template": TEMPLATES[chat["template"]]}, file)
                settings = {key: value for key, value in chat.items() if key != "template"}
                found = run(
                    CHAT_TASKS, pretrained=own, limit=3, num_fewshot=1, apply_chat_template=True, bootstrap_iters=0,
                    **settings,
                )
                chats.append({**chat, "limit": 3, "numFewshot": 1, "results": found["results"],
                              "samples": samples_of(found)})
        finally:
            os.chdir(before)
    golden = {
        "bootstraps": BOOTSTRAPS,
        "results": whole["results"],
        "groups": whole["groups"],
        "n-shot": whole["n-shot"],
        "n-samples": whole["n-samples"],
        "versions": whole["versions"],
        "higher_is_better": whole["higher_is_better"],
        "samples": samples_of(whole),
        "templates": TEMPLATES,
        "chats": chats,
        "part": {"limit": SHORT, "numFewshot": 1, "results": part["results"]},
    }
    with open(os.path.join(place, "expected.json"), "w") as file:
        json.dump(golden, file, separators=(",", ":"), ensure_ascii=False, default=plain)
        file.write("\n")
