"""tiny-vit/, tiny-vit-wide/, tiny-clip/, tiny-clip-old/: small random models saved by Transformers; NAME.json and
NAME.safetensors: what Transformers computes with them: outputs, loss, the gradient of every parameter, ten AdamW
steps, and the last hidden state of larger pictures (interpolate_pos_encoding).

vit-wide has pictures that are no squares and no biases in its projections of queries, keys and values; clip-old has
eos_token_id 2, as files of before 2023. image-pipelines.json: what pipelines give for files of pictures/.
"""

import json
import os
import re

import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
    pipeline,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from model_case import load_eager, run_forward, run_training, write_case
from random_model import save_random

BOS, EOS = 98, 99
VIT = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=20,
    initializer_range=0.3,
    id2label={0: "cat", 1: "dog", 2: "fish"},
    label2id={"cat": 0, "dog": 1, "fish": 2},
)


def pixels(count, height, width, seed):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def as_saved(name):
    """A parameter of ViT as its files name it, which are those of Transformers 4."""
    for ours, theirs in (
        (r"layers\.(\d+)", r"encoder.layer.\1"),
        (r"attention\.([qkv])_proj", r"attention.attention.\1"),
        (r"attention\.o_proj", "attention.output.dense"),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
        (r"attention\.q\.", "attention.query."),
        (r"attention\.k\.", "attention.key."),
        (r"attention\.v\.", "attention.value."),
    ):
        name = re.sub(ours, theirs, name)
    return name


def vit(folder, name, config, size):
    path = os.path.join(folder, f"tiny-{name}")
    save_random(ViTForImageClassification(config), path)
    inputs = {"pixel_values": pixels(3, *size, 52)}
    labels = torch.tensor([2, 0, 1])

    def load():
        return load_eager(ViTForImageClassification, path)

    loss, tensors = run_forward(load(), inputs, labels, ("hidden_states", "attentions"))
    tensors = {as_saved(key): value for key, value in tensors.items()}
    tensors["input.pixel_values"] = inputs["pixel_values"]
    larger = pixels(2, size[0] + config.patch_size, size[1] * 2, 53)
    tensors["larger.pixel_values"] = larger
    model = ViTModel.from_pretrained(path, attn_implementation="eager", add_pooling_layer=False).eval()
    with torch.no_grad():
        tensors["bare.last_hidden_state"] = model(**inputs).last_hidden_state
        if size[0] == size[1]:
            tensors["larger.last_hidden_state"] = model(larger, interpolate_pos_encoding=True).last_hidden_state
    golden = {
        "inputs": {},
        "labels": labels.tolist(),
        "loss": loss,
        "training": run_training(load(), inputs, labels),
    }
    write_case(folder, name, tensors, golden)


def vit_pooled(folder):
    """tiny-vit-pooled/: the bare model with its pooler."""
    path = os.path.join(folder, "tiny-vit-pooled")
    config = ViTConfig(**VIT, image_size=12, patch_size=4, pooler_output_size=10, pooler_act="tanh")
    save_random(ViTModel(config), path)
    x = pixels(2, 12, 12, 54)
    with torch.no_grad():
        output = ViTModel.from_pretrained(path, attn_implementation="eager").eval()(x)
    tensors = {
        "input.pixel_values": x,
        "output.last_hidden_state": output.last_hidden_state,
        "output.pooled": output.pooler_output,
    }
    write_case(folder, "vit-pooled", tensors, {"inputs": {}})


def clip_config(eos, bos):
    tower = dict(num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu", initializer_factor=2.0)
    text = dict(
        **tower,
        hidden_size=16,
        intermediate_size=20,
        vocab_size=100,
        max_position_embeddings=40,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=1,
        projection_dim=6,
    )
    vision = dict(**tower, hidden_size=12, intermediate_size=18, image_size=12, patch_size=4, projection_dim=6)
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)


def clip_inputs():
    """Four texts with their ends, three of them padded with tokens that are ends too; and four pictures."""
    generator = torch.Generator().manual_seed(55)
    lengths = [9, 4, 7, 6]
    ids = torch.randint(3, 98, (4, 9), generator=generator)
    mask = torch.tensor([[int(column < length) for column in range(9)] for length in lengths])
    ids[:, 0] = BOS
    for row, length in enumerate(lengths):
        ids[row, length - 1 :] = EOS
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels(4, 12, 12, 56)}


def clip(folder, name, config):
    path = os.path.join(folder, f"tiny-{name}")
    save_random(CLIPModel(config), path)
    inputs = clip_inputs()

    def load():
        return load_eager(CLIPModel, path)

    model = load()
    output = model(**inputs, return_loss=True, output_hidden_states=True, output_attentions=True)
    output.loss.backward()
    tensors = {f"input.{key}": value for key, value in inputs.items() if key == "pixel_values"}
    for key in ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
        tensors[f"output.{key}"] = output[key]
    for side in ("text", "vision"):
        part = output[f"{side}_model_output"]
        tensors[f"output.{side}_last_hidden_state"] = part.last_hidden_state
        for kind in ("hidden_states", "attentions"):
            tensors.update({f"output.{side}_{kind}.{i}": x for i, x in enumerate(part[kind])})
    tensors.update({f"grad.{key}": parameter.grad for key, parameter in model.named_parameters()})
    with torch.no_grad():
        tensors["features.text"] = model.get_text_features(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).pooler_output
        larger = pixels(2, 16, 24, 57)
        tensors["larger.pixel_values"] = larger
        tensors["features.larger"] = model.get_image_features(larger, interpolate_pos_encoding=True).pooler_output

    class Paired(torch.nn.Module):
        """As run_training calls models: with labels, which CLIP has not."""

        def __init__(self):
            super().__init__()
            self.model = load()

        def forward(self, labels, **batch):
            output = self.model(**batch, return_loss=True)
            output["logits"] = output.logits_per_image
            return output

    golden = {
        "inputs": {key: value.tolist() for key, value in inputs.items() if key != "pixel_values"},
        "labels": [],
        "loss": output.loss.item(),
        "training": run_training(Paired(), inputs, None),
    }
    write_case(folder, name, tensors, golden)


def clip_tokenizer():
    letters = "abcdefghijklmnopqrstuvwxyz0123456789!"
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("t", "h"), ("o", "f</w>"), ("i", "s</w>")]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocab = {token: i for i, token in enumerate(tokens)}
    vocab.update({"<|startoftext|>": BOS, "<|endoftext|>": EOS})
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=40)


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def pipelines(folder):
    """What pipelines make of two files of pictures/; tiny-vit/ and tiny-clip/ get what they read with."""
    vit_path, clip_path = (os.path.join(folder, f"tiny-{name}") for name in ("vit", "clip"))
    vit_processor = ViTImageProcessorPil(size={"height": 12, "width": 12})
    clip_processor = CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
    tokenizer = clip_tokenizer()
    vit_processor.save_pretrained(vit_path)
    clip_processor.save_pretrained(clip_path)
    tokenizer.save_pretrained(clip_path)
    images = [Image.open(os.path.join(folder, "pictures", name)).convert("RGB") for name in ("rgb.png", "tall.png")]
    eager = dict(attn_implementation="eager")
    vit = ViTForImageClassification.from_pretrained(vit_path, **eager).eval()
    clip = CLIPModel.from_pretrained(clip_path, **eager).eval()
    classify = pipeline("image-classification", model=vit, image_processor=vit_processor)
    zero = pipeline("zero-shot-image-classification", model=clip, image_processor=clip_processor, tokenizer=tokenizer)
    bare = ViTModel.from_pretrained(vit_path, add_pooling_layer=False, **eager).eval()
    extract = pipeline("image-feature-extraction", model=bare, image_processor=vit_processor)
    labels = ["cat", "a big dog", "17 fish!"]
    with torch.no_grad():
        found = {
            "image-classification": classify(images),
            "zero-shot-image-classification": zero(images, candidate_labels=labels),
            "as": zero(images, candidate_labels=labels, hypothesis_template="{} is it"),
            "image-feature-extraction": extract(images),
            "tokens": [tokenizer(label).input_ids for label in labels],
            "embeds": clip.get_image_features(
                clip_processor(images, return_tensors="pt").pixel_values
            ).pooler_output.tolist(),
        }
    with open(os.path.join(folder, "image-pipelines.json"), "w", encoding="utf-8") as file:
        json.dump(rounded(found), file)
        file.write("\n")


def generate(folder, minilm):
    torch.manual_seed(51)
    vit(folder, "vit", ViTConfig(**VIT, image_size=12, patch_size=4), (12, 12))
    wide = dict(image_size=[8, 14], patch_size=4, qkv_bias=False, hidden_act="relu")
    vit(folder, "vit-wide", ViTConfig(**VIT, **wide), (8, 14))
    vit_pooled(folder)
    clip(folder, "clip", clip_config(EOS, BOS))
    clip(folder, "clip-old", clip_config(2, 0))
    pipelines(folder)
