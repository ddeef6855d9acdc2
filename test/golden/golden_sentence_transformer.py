"""sentence-transformer.json: what sentence-transformers makes of texts with the encoder of tiny-bert-qa/ and several
poolings and modules behind it, with the files that it writes for each; what its losses are, with their gradients.
"""

import json
import os
import tempfile

import torch
from sentence_transformers import SentenceTransformer, losses, models
from torch import nn

TEXTS = ["the fox ran over the hill.", "ok", "a dog in the house " * 20, "who? the MAN."]
PROMPTS = {"query": "the red fox: ", "document": ""}
SMALL_FILES = 4096


def rounded(value, digits=7):
    return [rounded(each, digits) for each in value] if isinstance(value, list) else float(f"{value:.{digits}g}")


def files_of(model):
    """The layout's files by their paths, and the weights of a Dense."""
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.relpath(os.path.join(place, name), folder)
                is_layout = "/" in path or name in (
                    "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
                )
                if is_layout and name.endswith(".json"):
                    with open(os.path.join(folder, path), encoding="utf-8") as file:
                        files[path] = json.load(file)
    files.get("config_sentence_transformers.json", {}).pop("__version__", None)
    weights = {}
    for i, module in enumerate(model):
        if isinstance(module, models.Dense):
            weights[f"{i}_Dense"] = {
                name: {"shape": list(value.shape), "data": rounded(value.flatten().tolist(), 9)}
                for name, value in module.state_dict().items()
            }
    return files, weights


def encode_cases(folder):
    source = os.path.join(folder, "tiny-bert-qa")
    torch.manual_seed(5)
    modes = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    width = models.Transformer(source).get_embedding_dimension()
    dense = models.Dense(width, 6, activation_function=nn.Tanh())
    wide = models.Dense(2 * width, 2 * width, bias=False, activation_function=nn.GELU(), use_residual=True)
    made = [([models.Pooling(width, mode)], {}) for mode in modes]
    made += [
        ([models.Pooling(width, ("mean", "max"))], {"truncate_dim": 9, "normalize_embeddings": True}),
        ([models.Pooling(width, mode, include_prompt=False) for mode in ("mean",)], {"prompt_name": "query"}),
        ([models.Pooling(width, ("cls", "max", "weightedmean", "lasttoken"), include_prompt=False)],
         {"prompt_name": "query"}),
        ([models.Pooling(width, "mean")], {"prompt_name": "query"}),
        ([models.Pooling(width, "mean"), dense, models.Normalize()], {}),
        ([models.Pooling(width, ("cls", "mean")), wide], {}),
    ]
    cases = []
    for modules, options in made:
        transformer = models.Transformer(source)
        model = SentenceTransformer(modules=[transformer, *modules], device="cpu", prompts=PROMPTS)
        model.max_seq_length = 24
        vectors = model.encode(TEXTS, **options)
        files, weights = files_of(model)
        cases.append({"files": files, "weights": weights, "options": options, "vectors": rounded(vectors.tolist())})
    return cases


class Given(nn.Module):
    """Stands for a model: its vectors are the features."""

    def forward(self, features):
        return {"sentence_embedding": features["sentence_embedding"]}

    def get_embedding_dimension(self):
        return None


def loss_cases():
    torch.manual_seed(6)
    given = Given()
    metrics = losses.TripletDistanceMetric
    both = ("query_to_doc", "doc_to_query")
    ranking = losses.MultipleNegativesRankingLoss
    made = [
        ("multipleNegativesRanking", {}, 2, ranking(given)),
        ("multipleNegativesRanking", {}, 4, ranking(given)),
        ("multipleNegativesRanking", {"scale": 5}, 3, ranking(given, scale=5)),
        ("multipleNegativesRanking", {"symmetric": True}, 2,
         ranking(given, directions=both, partition_mode="per_direction")),
        ("multipleNegativesRanking", {"symmetric": True}, 3,
         ranking(given, directions=both, partition_mode="per_direction")),
        ("coSent", {}, 2, losses.CoSENTLoss(given)),
        ("coSent", {"scale": 3}, 2, losses.CoSENTLoss(given, scale=3)),
        ("triplet", {}, 3, losses.TripletLoss(given)),
        ("triplet", {"distance": "cosine", "margin": 0.5}, 3, losses.TripletLoss(given, metrics.COSINE, 0.5)),
        ("triplet", {"distance": "manhattan"}, 3, losses.TripletLoss(given, metrics.MANHATTAN)),
        ("matryoshka", {"loss": "multipleNegativesRanking", "dims": [4, 8, 2], "weights": [1, 0.5, 2]}, 3,
         losses.MatryoshkaLoss(given, ranking(given), [4, 8, 2], [1, 0.5, 2])),
        ("matryoshka", {"loss": "coSent", "dims": [8, 3]}, 2,
         losses.MatryoshkaLoss(given, losses.CoSENTLoss(given), [8, 3])),
    ]
    cases = []
    for name, options, columns, loss in made:
        vectors = [torch.randn(5, 8, requires_grad=True) for _ in range(columns)]
        labels = torch.tensor([0.1, 0.7, 0.7, 0.0, 1.0])
        value = loss([{"sentence_embedding": vector} for vector in vectors], labels)
        value.backward()
        cases.append({
            "name": name,
            "options": options,
            "columns": [rounded(vector.tolist(), 9) for vector in vectors],
            "labels": rounded(labels.tolist()),
            "value": float(value.detach()),
            "gradients": [rounded(vector.grad.tolist(), 9) for vector in vectors],
        })
    return cases


def generate(folder, _=None):
    golden = {"texts": TEXTS, "encode": encode_cases(folder), "losses": loss_cases()}
    with open(os.path.join(folder, "sentence-transformer.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")
