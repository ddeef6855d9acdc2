"""Loads a folder our code saved with Transformers and compares what both compute.

    python test/golden/check_saved.py FOLDER OUTPUTS.json [--tolerance 1e-4]

OUTPUTS.json, written by our code: {"inputs": {"input_ids": [[...]], ...}, "outputs": {"logits": ...}, "texts": [...]}.
`outputs` has nested lists under the names of Transformers' model output (logits, last_hidden_state, start_logits, ...);
`texts`, where given, are what the inputs were encoded from, padded to the longest. The model class is that of
config.json's `architectures`. Exits with 1 where a key is missing, unexpected or mis-shaped, or a number differs by
more than the tolerance.
"""

import argparse
import json
import sys

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("outputs")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest absolute difference allowed")
    arguments = parser.parse_args()
    with open(arguments.outputs, encoding="utf-8") as file:
        ours = json.load(file)
    failed = False

    architectures = AutoConfig.from_pretrained(arguments.folder).architectures
    if not architectures:
        sys.exit(f"{arguments.folder}/config.json names no architectures")
    cls = getattr(transformers, architectures[0])
    model, report = cls.from_pretrained(arguments.folder, output_loading_info=True, dtype=torch.float32)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        found = sorted(map(str, report[kind]))
        print(f"{kind}: {', '.join(found) or 'none'}")
        failed |= bool(found)

    if "texts" in ours:
        tokenizer = AutoTokenizer.from_pretrained(arguments.folder)
        encoded = tokenizer(ours["texts"], padding=True)
        for name, values in ours["inputs"].items():
            same = encoded[name] == values
            print(f"tokenizer {name}: {'equal' if same else 'DIFFERENT'}")
            failed |= not same

    with torch.no_grad():
        theirs = model.eval()(**{name: torch.tensor(values) for name, values in ours["inputs"].items()})
    for name, values in ours["outputs"].items():
        expected, got = theirs[name], torch.tensor(values, dtype=torch.float32)
        if expected.shape != got.shape:
            print(f"{name}: shape {list(got.shape)}, Transformers has {list(expected.shape)}")
            failed = True
            continue
        difference = (expected - got).abs().max().item()
        # Written so that NaN fails.
        close = difference <= arguments.tolerance
        print(f"{name}: largest difference {difference:.3g} {'<=' if close else 'EXCEEDS'} {arguments.tolerance:g}")
        failed |= not close
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
