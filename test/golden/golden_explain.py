"""explain.json and tiny-explain/: attributions of a tiny BERT, by captum, shap, lime and networkx in float64.

tiny-explain/ is the model, with a vocab.txt: random weights, larger than usual so that tokens matter. Each text has
its scores by every method, for the label 2 and the baseline [PAD]; special tokens keep their ids and have none.
`trees` are shap's hierarchies of tokens, `lime` and `flows` inputs and results of one step each.
"""

import json
import os

import captum.attr
import networkx
import numpy as np
import shap
import torch
from lime.lime_base import LimeBase
from shap.maskers._text import partition_tree
from transformers import BertConfig, BertForSequenceClassification

WORDS = (
    "the a film book song was is not very wonderful terrible good bad but and or , . ! ' s t ( ) it we saw "
    "##s ##ly ##ing play walk"
).split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
TEXTS = ["the film was not very good", "terrible", "we saw a wonderful play , but it was bad !"]
LABEL = 2
LABELS = ["bad", "mixed", "good"]
TREES = [
    ["we", "saw", "it"],
    ["it", "'", "s", "good", ",", "not", "bad", "."],
    ["a", "play", "##s", "##ly", "(", "good", ")", "!", "the", "film"],
    ["good", "(", "bad", "and", "good", ",", "very", "##ing", ")", "it", "'", "t", "?", "walk", "##ing", "."],
    ["(", "a", ")", "(", "b"],
]


def tiny_model(folder):
    config = BertConfig(
        vocab_size=len(VOCAB), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
    )
    torch.manual_seed(3)
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name:
                parameter.copy_(0.35 * torch.randn_like(parameter))
    path = os.path.join(folder, "tiny-explain")
    model.save_pretrained(path)
    with open(os.path.join(path, "vocab.txt"), "w") as file:
        file.write("".join(f"{token}\n" for token in VOCAB))
    return BertForSequenceClassification.from_pretrained(path, attn_implementation="eager").double().eval()


class Masks:
    """A masker of shap for functions of masks."""

    fixed_background = False

    def __init__(self, count, tree):
        self.shape = (1, count)
        self.clustering = tree

    def __call__(self, mask, x):
        return [np.asarray(mask, dtype=float)[None]]


def of_text(model, text):
    words = [VOCAB.index(word) for word in text.split()]
    ids = torch.tensor([[2, *words, 3]])
    pads = torch.tensor([[2, *[0] * len(words), 3]])
    count = len(words)

    def logit(input_ids):
        return model(input_ids=input_ids).logits[:, LABEL]

    def of_masks(masks):
        masks = torch.tensor(np.asarray(masks).reshape(-1, count), dtype=torch.bool)
        rows = torch.where(torch.nn.functional.pad(masks, (1, 1), value=True), ids, pads)
        with torch.no_grad():
            return logit(rows).numpy()

    def of_words(rows):
        edge = torch.ones(len(rows), 1, dtype=torch.long)
        return logit(torch.cat([2 * edge, rows, 3 * edge], 1))

    layer = model.bert.embeddings.word_embeddings
    integrated = captum.attr.LayerIntegratedGradients(logit, layer)
    scores = {}
    for name, steps, method in [
        ("integrated-gradients 50 gauss-legendre", 50, "gausslegendre"),
        ("integrated-gradients 7 gauss-legendre", 7, "gausslegendre"),
        ("integrated-gradients 20 riemann-middle", 20, "riemann_middle"),
        ("integrated-gradients 20 riemann-trapezoid", 20, "riemann_trapezoid"),
    ]:
        found = integrated.attribute(ids, baselines=pads, n_steps=steps, method=method)
        scores[name] = found.sum(-1)[0, 1:-1].tolist()
    activation = captum.attr.LayerGradientXActivation(logit, layer)
    scores["gradient-x-input"] = activation.attribute(ids).sum(-1)[0, 1:-1].tolist()
    for window in [1, 2] if count > 1 else [1]:
        found = captum.attr.Occlusion(of_words).attribute(ids[:, 1:-1], (window,), baselines=pads[:, 1:-1])
        scores[f"occlusion {window}"] = found[0].tolist()
    if count > 1:
        tree = partition_tree(text.split(), [])
        ones = np.ones((1, count))
        scores["exact-shap"] = shap.explainers.Exact(of_masks, Masks(count, None))(ones).values[0].tolist()
        kernel = shap.KernelExplainer(of_masks, np.zeros((1, count)))
        scores["kernel-shap"] = kernel.shap_values(ones[0], nsamples=2**count, l1_reg=False, silent=True).tolist()
        for name, context in [("both", None), ("none", 0), ("all", 1)]:
            partition = shap.explainers.Partition(of_masks, Masks(count, tree))
            found = partition(ones, fixed_context=context, max_evals=100_000, silent=True)
            scores[f"partition-shap {name}"] = found.values[0].tolist()
    with torch.no_grad():
        attentions = [layer[0].numpy() for layer in model(input_ids=ids, output_attentions=True).attentions]
    mixed = [0.5 * layer.mean(0) + 0.5 * np.eye(count + 2) for layer in attentions]
    rollout = np.linalg.multi_dot([*mixed[::-1], np.eye(count + 2)])
    scores["attention-rollout"] = rollout[0, 1:-1].tolist()
    graph = networkx.DiGraph()
    for level, layer in enumerate(mixed):
        for start in range(count + 2):
            for end in range(count + 2):
                graph.add_edge((level + 1, start), (level, end), capacity=float(layer[start, end]))
    scores["attention-flow"] = [
        networkx.maximum_flow_value(graph, (len(mixed), 0), (0, token)) for token in range(1, count + 1)
    ]
    return {
        "text": text,
        "output": float(of_masks(np.ones((1, count)))[0]),
        "baseline": float(of_masks(np.zeros((1, count)))[0]),
        "scores": scores,
    }


def lime_step():
    generator = np.random.RandomState(0)
    masks = (generator.rand(40, 6) < 0.6).astype(float)
    masks[0] = 1
    outputs = masks @ generator.randn(6) + 0.3 * generator.randn(40)
    ones = masks.sum(1)
    distances = 100 * (1 - np.sqrt(ones / 6))
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 25**2)), random_state=0)
    _, found, _, _ = base.explain_instance_with_data(
        masks, np.stack([outputs, -outputs], 1), distances, 0, 6, feature_selection="none"
    )
    scores = [dict(found)[i] for i in range(6)]
    return {"masks": masks.astype(int).tolist(), "outputs": outputs.tolist(), "scores": scores}


def flow_step():
    generator = np.random.RandomState(1)
    edges = [(a, b, float(generator.rand())) for a in range(9) for b in range(9) if a != b and generator.rand() < 0.4]
    graph = networkx.DiGraph()
    for a, b, capacity in edges:
        graph.add_edge(a, b, capacity=capacity)
    return {"edges": edges, "flows": [networkx.maximum_flow_value(graph, 0, sink) for sink in range(1, 9)]}


def generate(folder, _):
    model = tiny_model(folder)
    golden = {
        "label": LABELS[LABEL],
        "texts": [of_text(model, text) for text in TEXTS],
        # [left, right] of each join, in their order; numbers from the number of tokens on are joins.
        "trees": [
            {"tokens": tokens, "joins": partition_tree(tokens, [])[:, :3].tolist()} for tokens in TREES
        ],
        "lime": lime_step(),
        "flow": flow_step(),
    }
    with open(os.path.join(folder, "explain.json"), "w") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")
