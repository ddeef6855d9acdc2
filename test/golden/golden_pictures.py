"""pictures/: small PNG and JPEG files of all kinds; pictures.safetensors: what Pillow reads in them (rgb.FILE, and
rgba.FILE where there is transparency), what its resize makes of one in all filters (FILTER.WIDTHxHEIGHT), and the pixel
values of Transformers' image processors (PROCESSOR.FILE), by their Pillow backend; pictures.json: the settings of the
processors.

Made with Pillow 12: 13 resizes some pictures down first, then across. Pillow clips greys of 16 bits at 255, so
grey16.png is compared with the high bytes instead.
"""

import json
import os
import shutil
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

WIDTH, HEIGHT = 23, 17


def picture(channels, high=256):
    """Slopes, edges and some noise."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.RandomState(61).randint(0, high // 8, (HEIGHT, WIDTH, channels))
    waves = [np.sin(x / 3 + c) * np.cos(y / (2 + c)) + ((x + c * y) % 9 > 4) for c in range(channels)]
    values = (np.stack(waves, -1) + 1) / 3 * (high * 7 // 8 - 1)
    return np.clip(values + noise, 0, high - 1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, rows, width, height, depth, colour, interlaced=False, more=b""):
    """Writes rows of bytes, each with its filter before it, as a PNG."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + parts)


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def interlaced(values):
    rows = []
    for x, y, across, down in ADAM7:
        part = values[y::down, x::across]
        if part.shape[1]:
            rows += [b"\0" + row.tobytes() for row in part]
    return rows


def packed(values, depth):
    """Rows of grey samples of less than a byte."""
    per_byte = 8 // depth
    rows = []
    for row in values:
        padded = np.concatenate([row, np.zeros(-len(row) % per_byte, dtype=np.uint8)]).reshape(-1, per_byte)
        shifts = np.arange(8 - depth, -1, -depth)
        rows.append(b"\0" + (padded << shifts).sum(-1).astype(np.uint8).tobytes())
    return rows


def write_files(folder):
    def path(name):
        return os.path.join(folder, name)

    rgb = picture(3).astype(np.uint8)
    image = Image.fromarray(rgb)
    alpha = picture(4).astype(np.uint8)
    image.save(path("rgb.png"))
    image.rotate(90, expand=True).save(path("tall.png"))
    Image.fromarray(rgb[..., 0]).save(path("grey.png"))
    Image.fromarray(alpha).save(path("rgba.png"))
    Image.fromarray(alpha).convert("LA").save(path("grey-alpha.png"))
    image.quantize(20).save(path("palette.png"))
    image.quantize(3).save(path("palette2.png"), bits=2)
    image.quantize(20).save(path("palette-alpha.png"), transparency=bytes(range(0, 200, 10)))
    image.save(path("colour-key.png"), transparency=tuple(int(v) for v in rgb[3, 4]))
    Image.fromarray(rgb[..., 1] > 100).save(path("bits1.png"))
    png(path("bits4.png"), packed(rgb[..., 1] >> 4, 4), WIDTH, HEIGHT, 4, 0)
    png(path("interlaced.png"), interlaced(rgb), WIDTH, HEIGHT, 8, 2, True)
    wide = picture(3, 65536).astype(">u2")
    png(path("rgb16.png"), [b"\0" + row.tobytes() for row in wide], WIDTH, HEIGHT, 16, 2)
    png(path("grey16.png"), [b"\0" + row.tobytes() for row in wide[..., 0]], WIDTH, HEIGHT, 16, 0)
    smooth = Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH].sum(0)[..., None] * [6, 3, 4] + 10).astype(np.uint8))
    smooth.save(path("full.jpg"), quality=95, subsampling=0)
    smooth.save(path("half.jpg"), quality=95, subsampling=2)
    smooth.save(path("progressive.jpg"), quality=95, subsampling=0, progressive=True)
    smooth.convert("L").save(path("grey.jpg"), quality=95)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[274] = orientation
        smooth.save(path(f"turned{orientation}.jpg"), quality=95, subsampling=0, exif=exif)


PROCESSORS = {
    "vit": ViTImageProcessorPil(size={"height": 12, "width": 12}),
    "clip": CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}),
    "cropped": CLIPImageProcessorPil(size={"shortest_edge": 9}, crop_size={"height": 14, "width": 10}, resample=1),
    "plain": ViTImageProcessorPil(do_resize=False, do_normalize=False, do_rescale=False),
}


def generate(folder, minilm):
    place = os.path.join(folder, "pictures")
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    write_files(place)
    tensors = {}
    for name in sorted(os.listdir(place)):
        image = ImageOps.exif_transpose(Image.open(os.path.join(place, name)))
        tensors[f"rgb.{name}"] = torch.from_numpy(np.array(image.convert("RGB")))
        if image.mode.endswith("A") or "transparency" in image.info:
            tensors[f"rgba.{name}"] = torch.from_numpy(np.array(image.convert("RGBA")))
    wide = (picture(3, 65536).astype(np.uint16)[..., :1] >> 8).astype(np.uint8)
    tensors["rgb.grey16.png"] = torch.from_numpy(np.repeat(wide, 3, -1))
    image = Image.open(os.path.join(place, "rgb.png"))
    for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"):
        for size in ((9, 7), (40, 31), (23, 5), (60, 17), (1, 1)):
            made = image.resize(size, getattr(Image.Resampling, name.upper()))
            tensors[f"{name}.{size[0]}x{size[1]}"] = torch.from_numpy(np.array(made))
    for name, processor in PROCESSORS.items():
        for file in ("rgb.png", "tall.png"):
            pixels = processor(Image.open(os.path.join(place, file)), return_tensors="pt").pixel_values[0]
            tensors[f"{name}.{file}"] = pixels.float()
    contiguous = {key: value.contiguous() for key, value in tensors.items()}
    save_file(contiguous, os.path.join(folder, "pictures.safetensors"), metadata={"format": "pt"})
    configs = {name: json.loads(processor.to_json_string()) for name, processor in PROCESSORS.items()}
    with open(os.path.join(folder, "pictures.json"), "w", encoding="utf-8") as file:
        json.dump(configs, file, indent=1)
        file.write("\n")
