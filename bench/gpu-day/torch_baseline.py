"""Measures the same work as kernels.ts and models.ts, in PyTorch on the same card. One JSON line a measurement,
written at once to $OUT/results.jsonl.

python3 torch_baseline.py kernels|models|export FOLDER|compile|steps FOLDER [--warm] [--device cpu] [--tiny]

kernels   copy, matrix products, attention, norms, softmax, GELU, losses, AdamW
models    GPT-2 124M training (eager), MiniLM forward, BERT fine-tuning, decoding
export    GPT-2 124M without dropout: weights, loss and gradients in float64, for gradients.ts
compile   the GPT-2 step by torch.compile; --warm only compiles
steps     fine-tuning steps of the BERT saved in FOLDER, as many as each line of the input says, for bench/pytorch.ts
"""
import argparse
import json
import math
import os
import statistics
import sys
import time
import traceback

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["kernels", "models", "export", "compile", "steps"])
parser.add_argument("folder", nargs="?", default="")
parser.add_argument("--warm", action="store_true")
parser.add_argument("--device", default="cuda")
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--size", default="16x128", help="batch and length of steps")
options = parser.parse_args()

import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

DEVICE, TINY = options.device, options.tiny
CUDA = DEVICE == "cuda"
OUT = os.environ.get("OUT", "runs/gpu-day")
os.makedirs(OUT, exist_ok=True)
UNTIL = float(os.environ.get("GPU_DAY_UNTIL", "inf"))
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def emit(**result):
    for name, value in result.items():
        if isinstance(value, float):
            result[name] = float(f"{value:.6g}") if math.isfinite(value) else str(value)
    line = json.dumps({"who": "torch", "stage": os.environ.get("GPU_DAY_STAGE", ""), **result})
    with open(f"{OUT}/results.jsonl", "a") as file:
        file.write(line + "\n")
    print(line[:600], flush=True)


def attempt(name, run):
    """Runs a case; a failure is a result. An error of the device makes all later cases fail too, each with one line."""
    if time.time() > UNTIL - 2:
        print(f"no time left for {name}", flush=True)
        return
    try:
        run()
    except Exception as error:  # noqa: BLE001
        emit(key=name, error=" ".join(f"{type(error).__name__}: {error}".split())[:400])
        traceback.print_exc(limit=3)
    finally:
        if CUDA:
            try:
                torch.cuda.empty_cache()
            except Exception:  # noqa: BLE001
                pass


def precise(kind):
    """tf32 only where it is asked for."""
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    torch.backends.cudnn.allow_tf32 = kind == "tf32"


def synchronize():
    if CUDA:
        torch.cuda.synchronize()


def timed(fn, seconds=0.02 if TINY else 0.1):
    """Median milliseconds of fn by the device's own events, warm."""
    for _ in range(2):
        fn()
    synchronize()
    begun = time.perf_counter()
    fn()
    synchronize()
    once = max(time.perf_counter() - begun, 1e-6)
    runs = max(3 if TINY else 5, min(200, math.ceil(seconds / once)))
    if CUDA:
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
        for start, end in events:
            start.record()
            fn()
            end.record()
        synchronize()
        times = [start.elapsed_time(end) for start, end in events]
    else:
        times = []
        for _ in range(runs):
            begun = time.perf_counter()
            fn()
            times.append(1000 * (time.perf_counter() - begun))
    return {"ms": statistics.median(times), "min": min(times), "runs": runs, "by": "events" if CUDA else "clock"}


def rates(ms, flops=None, nbytes=None):
    result = {}
    if flops:
        result["tflops"] = flops / ms / 1e9
    if nbytes:
        result["gbs"] = nbytes / ms / 1e6
    return result


def measure(key, kind, fn, flops=None, nbytes=None):
    with torch.no_grad():
        result = timed(fn)
    emit(key=key, type=kind, **result, **rates(result["ms"], flops, nbytes))


def randn(*shape, kind="f32", grad=False):
    return torch.randn(*shape, device=DEVICE, dtype=DTYPES[kind]).requires_grad_(grad)


def size_of(kind):
    return 2 if kind in ("f16", "bf16") else 4


def sized(real, small):
    return small if TINY else real


# Kernels


def kernels():
    if CUDA:
        x = randn(4096, 4096, kind="f16")
        end = time.time() + 1
        while time.time() < end:
            for _ in range(20):
                x @ x
            synchronize()

    def copy():
        nbytes = sized(2**30, 2**22)
        text = sized("1 GiB", "4 MiB")
        x = torch.randn(nbytes // 4, device=DEVICE)
        y = torch.empty_like(x)
        measure(f"copy {text}", "f32", lambda: y.copy_(x), nbytes=2 * nbytes)
        half = torch.empty(nbytes // 4, device=DEVICE, dtype=torch.float16)
        measure(f"cast {text} to half", "f32", lambda: half.copy_(x), nbytes=1.5 * nbytes)

    attempt("copy", copy)

    def product(label, kind, m, n, k, layout):
        def run():
            precise(kind)
            a = randn(k, m, kind=kind).t() if layout == "tn" else randn(m, k, kind=kind)
            b = randn(n, k, kind=kind).t() if layout == "nt" else randn(k, n, kind=kind)
            y = torch.empty(m, n, device=DEVICE, dtype=DTYPES[kind])
            nbytes = size_of(kind) * (m * k + k * n + m * n)
            measure(f"{label} {m}x{n}x{k}", kind, lambda: torch.matmul(a, b, out=y), flops=2 * m * n * k, nbytes=nbytes)
            precise("f32")

        attempt(f"{label} {m}x{n}x{k} {kind}", run)

    for kind in ("f16", "bf16", "f32", "tf32"):
        for n in sized([4096, 8192], [256]):
            product("matmul", kind, n, n, n, "nn")
    m = sized(16384, 128)
    d, v, rows = sized((768, 50257, 4096), (64, 1001, 64))
    for kind in ("f16", "bf16", "f32", "tf32"):
        for name, n, k in (("qkv", 3 * d, d), ("proj", d, d), ("fc", 4 * d, d), ("out", d, 4 * d)):
            product(f"gpt2 {name} y", kind, m, n, k, "nn")
            product(f"gpt2 {name} dx", kind, m, k, n, "nt")
            product(f"gpt2 {name} dw", kind, k, n, m, "tn")
        product("gpt2 head y", kind, rows, v, d, "nt")
        product("gpt2 head dx", kind, rows, d, v, "nn")
        product("gpt2 head dw", kind, v, d, rows, "tn")

    def attention(kind, shape, dropout):
        batch, heads, tokens, width = shape
        label = "x".join(map(str, shape)) + " causal" + (f" dropout {dropout}" if dropout else "")
        flops = 4 * batch * heads * tokens * tokens * width / 2

        def run():
            precise(kind)
            q, k, v, g = (randn(*shape, kind=kind, grad=i < 3) for i in range(4))

            def forward():
                return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)

            nbytes = 4 * size_of(kind) * batch * heads * tokens * width
            measure(f"attention forward {label}", kind, forward, flops=flops, nbytes=nbytes)
            y = forward()
            result = timed(lambda: torch.autograd.grad(y, (q, k, v), g, retain_graph=True))
            emit(key=f"attention backward {label}", type=kind, **result, **rates(result["ms"], 2.5 * flops, 2 * nbytes))

        attempt(f"attention {label} {kind}", run)

    for kind in ("f16", "bf16", "f32"):
        shape = sized((16, 12, 1024, 64), (1, 2, 128, 64))
        attention(kind, shape, 0)
        attention(kind, shape, 0.1)
        attention(kind, sized((4, 12, 4096, 64), (1, 2, 256, 64)), 0)

    rows = sized(16384, 256)
    for kind in ("f16", "bf16", "f32"):

        def norm():
            x, w = randn(rows, d, kind=kind, grad=True), randn(d, kind=kind, grad=True)
            b, g = randn(d, kind=kind, grad=True), randn(rows, d, kind=kind)
            nbytes = size_of(kind) * rows * d
            measure(f"layer norm forward {rows}x{d}", kind, lambda: F.layer_norm(x, (d,), w, b), nbytes=2 * nbytes)
            y = F.layer_norm(x, (d,), w, b)
            result = timed(lambda: torch.autograd.grad(y, (x, w, b), g, retain_graph=True))
            emit(key=f"layer norm backward {rows}x{d}", type=kind, **result, **rates(result["ms"], None, 3 * nbytes))

        attempt(f"layer norm {kind}", norm)

        def softmax():
            width = sized(1024, 128)
            x = randn(rows, width, kind=kind)
            measure(f"softmax {rows}x{width}", kind, lambda: F.softmax(x, -1), nbytes=2 * size_of(kind) * rows * width)

        attempt(f"softmax {kind}", softmax)

        def gelu():
            x, g = randn(rows, 4 * d, kind=kind, grad=True), randn(rows, 4 * d, kind=kind)
            nbytes = size_of(kind) * rows * 4 * d
            measure(f"gelu forward {rows}x{4 * d}", kind, lambda: F.gelu(x, approximate="tanh"), nbytes=2 * nbytes)
            y = F.gelu(x, approximate="tanh")
            result = timed(lambda: torch.autograd.grad(y, (x,), g, retain_graph=True))
            emit(key=f"gelu backward {rows}x{4 * d}", type=kind, **result, **rates(result["ms"], None, 3 * nbytes))

        attempt(f"gelu {kind}", gelu)

        def cross_entropy():
            few = sized(4096, 64)
            logits = randn(few, v, kind=kind, grad=True)
            labels = torch.arange(few, device=DEVICE) * 7919 % v
            result = timed(lambda: torch.autograd.grad(F.cross_entropy(logits, labels), (logits,)))
            emit(
                key=f"cross-entropy forward and backward {few}x{v}", type=kind, **result,
                **rates(result["ms"], None, 3 * size_of(kind) * few * v),
            )

        attempt(f"cross-entropy {kind}", cross_entropy)

        def linear_cross_entropy():
            h, w = randn(rows, d, kind=kind, grad=True), randn(v, d, kind=kind, grad=True)
            labels = torch.arange(rows, device=DEVICE) * 7919 % v
            result = timed(lambda: torch.autograd.grad(F.cross_entropy(F.linear(h, w), labels), (h, w)))
            emit(
                key=f"linear cross-entropy forward and backward {rows}x{d}x{v}", type=kind, **result,
                **rates(result["ms"], 6 * rows * d * v),
            )

        attempt(f"linear cross-entropy {kind}", linear_cross_entropy)

    def embedding():
        table, g = randn(v, d, grad=True), randn(rows, d)
        ids = torch.arange(rows, device=DEVICE) * 7919 % v
        measure(f"embedding forward {rows} of {v}x{d}", "f32", lambda: F.embedding(ids, table), nbytes=8 * rows * d)
        y = F.embedding(ids, table)
        result = timed(lambda: torch.autograd.grad(y, (table,), g, retain_graph=True))
        emit(
            key=f"embedding backward {rows} of {v}x{d}", type="f32", **result,
            **rates(result["ms"], None, 4 * rows * d + 4 * v * d),
        )

    attempt("embedding", embedding)

    def adamw():
        model = Gpt(*gpt_sizes()).to(DEVICE)
        parameters = list(model.parameters())
        count = sum(p.numel() for p in parameters)
        for p in parameters:
            p.grad = torch.randn_like(p) * 1e-3
        label = f"{count / 1e6:.0f}M"
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), fused=CUDA)
        result = timed(optimizer.step)
        emit(key=f"AdamW {label}", type="f32", **result, **rates(result["ms"], None, 28 * count))

        def clipped():
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

        result = timed(clipped)
        emit(key=f"AdamW {label} with clipping", type="f32", **result, **rates(result["ms"], None, 32 * count))

    attempt("AdamW", adamw)

    def overhead():
        calls = sized(1000, 100)
        x, one = randn(4, 4), randn(4, 4)

        def chain():
            y = x
            for _ in range(calls):
                y = y @ one
            return y

        with torch.no_grad():
            times = []
            for _ in range(9):
                begun = time.perf_counter()
                chain()
                host = time.perf_counter() - begun
                synchronize()
                times.append((1000 * (time.perf_counter() - begun), 1e6 * host / calls))
            emit(
                key=f"{calls} small products, immediate", type="f32", ms=statistics.median(t for t, _ in times),
                hostUs=statistics.median(h for _, h in times), by="clock",
            )
            if not CUDA:
                return
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                chain()
            result = timed(graph.replay)
            emit(key=f"{calls} small products, compiled", type="f32", **result, note="a CUDA graph")

    attempt("overhead", overhead)


# Models


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
        x = x + F.dropout(self.proj(y.transpose(1, 2).reshape(batch, tokens, width)), p)
        return x + F.dropout(self.out(F.gelu(self.fc(self.norm2(x)), approximate="tanh")), p)


class Gpt(nn.Module):
    """GPT-2's arithmetic (Radford et al. 2019) as one would write it for PyTorch: packed projections, SDPA, fused
    GELU, tied head."""

    def __init__(self, layers, width, heads, vocabulary, positions, dropout=0.1):
        super().__init__()
        self.dropout = dropout
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        self.head.weight = self.token.weight

    def forward(self, ids):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))
        x = F.dropout(x, self.dropout if self.training else 0.0)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def gpt_sizes():
    return sized((12, 768, 12, 50257, 1024), (2, 64, 4, 1001, 64))


def training(kind, compiled):
    """A step of what models.ts trains: dropout, clipping, AdamW, f32 weights."""
    torch.manual_seed(1)
    precise(kind)
    batch, length = sized((16, 1024), (2, 64))
    layers, width, _, vocabulary, positions = gpt_sizes()
    model = Gpt(*gpt_sizes()).to(DEVICE).train()
    count = sum(p.numel() for p in model.parameters())
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=CUDA)
    scaler = torch.amp.GradScaler(DEVICE, enabled=kind == "f16" and CUDA)
    ids = torch.randint(0, vocabulary, (batch, length), device=DEVICE)
    forward = torch.compile(model) if compiled else model
    half = kind in ("f16", "bf16")

    def step():
        with torch.autocast(DEVICE, dtype=DTYPES[kind] if half else torch.bfloat16, enabled=half):
            loss = forward(ids)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss

    tokens = batch * length
    flops = 3 * tokens * (2 * (count - positions * width) + 4 * layers * length * width)
    return step, tokens, flops


def study(key, kind, step, tokens, flops=None, seconds=1.0, note=None):
    begun = time.perf_counter()
    step()
    synchronize()
    first = time.perf_counter() - begun
    for _ in range(2):
        step()
    synchronize()
    begun = time.perf_counter()
    step()
    synchronize()
    runs = max(3, min(50, round((0.3 if TINY else seconds) / (time.perf_counter() - begun))))
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    rounds = []
    for _ in range(3):
        begun = time.perf_counter()
        for _ in range(runs):
            step()
        synchronize()
        rounds.append(1000 * (time.perf_counter() - begun) / runs)
    ms = statistics.median(rounds)
    more = {"peakMiB": torch.cuda.max_memory_allocated() / 2**20} if CUDA else {}
    if note:
        more["note"] = note
    emit(
        key=key, type=kind, ms=ms, rounds=[float(f"{r:.6g}") for r in rounds],
        tokensPerSecond=1000 * tokens / ms, secondsToFirst=first, by="clock", **rates(ms, flops), **more,
    )


def gpt2(kind):
    batch, length = sized((16, 1024), (2, 64))
    step, tokens, flops = training(kind, False)
    study(f"gpt2 training {batch}x{length}", kind, step, tokens, flops, note="eager, SDPA, fused AdamW")
    precise("f32")


def fine_tuning(model, ids, labels, kind):
    """A step of a classifier: clipping, fused AdamW, f32 weights."""
    precise(kind)
    model.to(DEVICE).train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-5, fused=True)
    half = kind in ("f16", "bf16")
    scaler = torch.amp.GradScaler(DEVICE, enabled=kind == "f16" and CUDA)

    def step():
        with torch.autocast(DEVICE, dtype=DTYPES[kind] if half else torch.bfloat16, enabled=half):
            loss = model(input_ids=ids, labels=labels).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def steps(folder):
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder)
    batch, length = map(int, options.size.split("x"))
    ids = (torch.arange(batch * length, device=DEVICE) * 7919 % model.config.vocab_size).view(batch, length)
    step = fine_tuning(model, ids, torch.arange(batch, device=DEVICE) % 2, "f32")
    for line in sys.stdin:
        begun, cpu = time.perf_counter(), time.process_time()
        losses = [step().detach() for _ in range(int(line))]
        losses = [loss.item() for loss in losses]
        each = 1000 / len(losses)
        ms, processor = (time.perf_counter() - begun) * each, (time.process_time() - cpu) * each
        print(json.dumps({"ms": ms, "processor": processor, "losses": losses}), flush=True)


def models():
    for kind in ("bf16", "f16", "f32"):
        attempt(f"gpt2 {kind}", lambda: gpt2(kind))
    try:
        from transformers import BertConfig, BertForSequenceClassification, BertModel, GPT2Config, GPT2LMHeadModel
    except Exception as error:  # noqa: BLE001
        emit(key="transformers", error=str(error)[:300])
        return

    tiny = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=1001)
    length = sized(128, 32)

    def minilm(kind, batch):
        torch.manual_seed(1)
        precise(kind)
        full = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        config = BertConfig(**(tiny if TINY else full))
        model = BertModel(config).to(DEVICE, DTYPES[kind]).eval()
        ids = torch.randint(0, config.vocab_size, (batch, length), device=DEVICE)

        def forward():
            with torch.no_grad():
                return model(input_ids=ids).last_hidden_state

        study(f"MiniLM forward {batch}x{length}", kind, forward, batch * length, seconds=0.3)

    def bert(kind):
        torch.manual_seed(1)
        batch = sized(32, 2)
        model = BertForSequenceClassification(BertConfig(num_labels=2, **(tiny if TINY else {})))
        ids = torch.randint(0, model.config.vocab_size, (batch, length), device=DEVICE)
        labels = torch.randint(0, 2, (batch,), device=DEVICE)
        step = fine_tuning(model, ids, labels, kind)
        study(f"BERT-base fine-tuning {batch}x{length}", kind, step, batch * length, seconds=0.5)

    for kind in ("f16", "bf16", "f32"):
        attempt(f"bert {kind}", lambda: bert(kind))

    for kind in ("f16", "bf16", "f32"):
        for batch in sized([8, 64], [2]):
            attempt(f"minilm {batch} {kind}", lambda: minilm(kind, batch))

    def decode(kind, batch, prefix):
        torch.manual_seed(1)
        precise(kind)
        layers, width, heads, vocabulary, positions = gpt_sizes()
        config = GPT2Config(
            n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocabulary, n_positions=positions,
            bos_token_id=0, eos_token_id=0,
        )
        model = GPT2LMHeadModel(config).to(DEVICE, DTYPES[kind]).eval()
        prompt = torch.randint(0, vocabulary, (batch, prefix), device=DEVICE)
        with torch.no_grad():
            output = model(input_ids=prompt, use_cache=True)
            cache, token = output.past_key_values, output.logits[:, -1:].argmax(-1)
            times = []
            for i in range(sized(32, 8)):
                begun = time.perf_counter()
                output = model(input_ids=token, past_key_values=cache, use_cache=True)
                cache, token = output.past_key_values, output.logits[:, -1:].argmax(-1)
                token.tolist()
                times.append(1000 * (time.perf_counter() - begun))
        ms = statistics.median(times[sized(8, 2):])
        emit(
            key=f"gpt2 decode {batch} after {prefix}", type=kind, ms=ms, tokensPerSecond=1000 * batch / ms,
            by="clock", note="transformers, eager",
        )

    for kind in ("f16", "f32"):
        for batch in sized([1, 8], [1]):
            for prefix in sized([64, 512], [16]):
                attempt(f"decode {batch}x{prefix} {kind}", lambda: decode(kind, batch, prefix))


def export(folder):
    """Loss and gradients in float64 of a model without dropout, for gradients.ts; and how near PyTorch's own
    types come."""
    from safetensors.torch import save_file
    from transformers import GPT2Config, GPT2LMHeadModel

    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(1)
    precise("f32")
    layers, width, heads, vocabulary, positions = gpt_sizes()
    config = GPT2Config(
        n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocabulary, n_positions=positions,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).to(DEVICE).train()
    model.save_pretrained(folder)
    shape = sized((2, 1024), (2, 64))
    ids = torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(1))
    on_device = ids.to(DEVICE)

    def loss_of(one):
        logits = one(input_ids=on_device).logits
        kept = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(kept[:, :-1].flatten(0, 1), on_device[:, 1:].flatten())

    def gradients(one, scale=1.0):
        one.zero_grad(set_to_none=True)
        loss = loss_of(one)
        (loss * scale).backward()
        return loss.item(), {name: p.grad.double() / scale for name, p in one.named_parameters()}

    single = {}
    for kind in ("f32", "f16", "bf16"):
        half = kind != "f32"
        if half and not CUDA:
            continue
        with torch.autocast(DEVICE, dtype=DTYPES[kind] if half else torch.bfloat16, enabled=half):
            single[kind] = gradients(model, 1024.0 if kind == "f16" else 1.0)
    want, reference = gradients(model.double())
    save_file({name: g.float().contiguous().cpu() for name, g in reference.items()}, f"{folder}/gradients.safetensors")
    with open(f"{folder}/reference.json", "w") as file:
        json.dump({"loss": want, "ids": ids.flatten().tolist(), "shape": list(shape)}, file)
    norm = math.sqrt(sum(float((g * g).sum()) for g in reference.values()))
    for kind, (loss, got) in single.items():
        error = math.sqrt(sum(float(((got[name] - reference[name]) ** 2).sum()) for name in reference))
        emit(
            key="shared weights, compiled", type=kind, loss=loss, want=want, lossError=abs(loss - want) / want,
            gradientError=error / norm,
        )


def compiled():
    batch, length = sized((16, 1024), (2, 64))
    for kind in ("bf16",) if options.warm else ("bf16", "f16", "f32"):

        def run():
            step, tokens, flops = training(kind, True)
            if options.warm:
                step()
                synchronize()
                return
            study(f"gpt2 training {batch}x{length}", f"{kind} compiled", step, tokens, flops, note="torch.compile")
            precise("f32")

        attempt(f"gpt2 compiled {kind}", run)


if CUDA and not torch.cuda.is_available():
    emit(key="torch", error="PyTorch sees no CUDA device")
    sys.exit(1)
if not options.warm:
    name = torch.cuda.get_device_name() if CUDA else "cpu"
    emit(key="torch", version=torch.__version__, device=name, cuda=str(torch.version.cuda))
if options.what == "kernels":
    kernels()
elif options.what == "models":
    models()
elif options.what == "export":
    attempt("export", lambda: export(options.folder))
elif options.what == "steps":
    steps(options.folder)
else:
    compiled()
