"""What the original CLIPScore and PAC-S scripts compute, written down from their description, step by step.

One image and one text at a time, the whole context, torchvision's transforms, numpy's arithmetic: slow and plain.
"""

from __future__ import annotations

import numpy as np
import torch


def transform(size, mean, std):
    """The scripts' image steps, in their order."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    return Compose(
        [
            Resize(size, interpolation=InterpolationMode.BICUBIC),
            CenterCrop(size),
            lambda image: image.convert("RGB"),
            ToTensor(),
            Normalize(mean, std),
        ]
    )


def image_features(model, images, steps):
    """[M, D] float32, not normalised."""
    with torch.no_grad():
        return np.concatenate([model.encode_image(steps(image)[None]).float().numpy() for image in images])


def text_features(model, tokenizer, texts, prompt="A photo depicts "):
    """[N, D] float32, not normalised."""
    with torch.no_grad():
        return np.concatenate([model.encode_text(tokenizer([prompt + text])).float().numpy() for text in texts])


def normalised(x):
    return x / np.sqrt(np.sum(x**2, axis=1, keepdims=True))


def clip_score(image, text, w):
    """[N]; row i of the images belongs to text i."""
    return w * np.clip(np.sum(normalised(image) * normalised(text), axis=1), 0, None)


def reference_cosine(text, references):
    """[N]; ``references`` holds one [R_i, D] per text."""
    return np.array(
        [np.max(normalised(t[None]) @ normalised(r).T) for t, r in zip(text, references, strict=True)], dtype=text.dtype
    )


def reference_score(score, cosine):
    return 2 * score * cosine / (score + cosine)
