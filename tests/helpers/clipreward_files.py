"""CLIP-Caption-Reward's checkpoints and its captioner's formulas, for tests (clipreward.md 3 and 6.7)."""

from __future__ import annotations

import argparse
import math
import pickle

import numpy as np
import torch

WIDTH, INNER, LAYERS, HEADS, IMAGE = 32, 48, 2, 8, 20
WORDS = ["a", "dog", "on", "bench", "cat", "the", "UNK"]


def original(seed=0, image=IMAGE):
    """A state dict by the names of clipreward.md 6.7, every tensor random."""
    draw = np.random.default_rng(seed)
    found = {}

    def add(name, *shape, around=0.0, scale=0.3):
        found[name] = torch.tensor(around + scale * draw.standard_normal(shape), dtype=torch.float32)

    def linear(name, out, into):
        add(f"{name}.weight", out, into)
        add(f"{name}.bias", out)

    def norm(name):
        add(f"{name}.a_2", WIDTH, around=1.0)
        add(f"{name}.b_2", WIDTH)

    linear("att_embed.0", WIDTH, image)
    for stack, blocks in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "src_attn"])):
        for layer in range(LAYERS):
            here = f"model.{stack}.layers.{layer}"
            for block in blocks:
                for part in range(4):
                    linear(f"{here}.{block}.linears.{part}", WIDTH, WIDTH)
            linear(f"{here}.feed_forward.w_1", INNER, WIDTH)
            linear(f"{here}.feed_forward.w_2", WIDTH, INNER)
            for part in range(len(blocks) + 1):
                norm(f"{here}.sublayer.{part}.norm")
        norm(f"model.{stack}.norm")
    add("model.tgt_embed.0.lut.weight", len(WORDS) + 1, WIDTH)
    found["model.tgt_embed.1.pe"] = torch.zeros(1, 30, WIDTH)
    linear("model.generator.proj", len(WORDS) + 1, WIDTH)
    return found


class Plain:
    """The formulas, one image and one caption at a time, in float64 numpy."""

    def __init__(self, state):
        self.state = {n: t.double().numpy() for n, t in state.items()}

    def linear(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name, x):
        rows = []
        for row in x:
            mean = sum(row) / len(row)
            std = math.sqrt(sum((v - mean) ** 2 for v in row) / (len(row) - 1))
            rows.append(self.state[f"{name}.a_2"] * (row - mean) / (std + 1e-6) + self.state[f"{name}.b_2"])
        return np.array(rows)

    def attend(self, name, x, y, mask):
        q, k, v = (self.linear(f"{name}.linears.{i}", z) for i, z in enumerate((x, y, y)))
        size = WIDTH // HEADS
        together = np.zeros_like(q)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for t in range(len(x)):
                scores = np.where(mask[t], k[:, part] @ q[t, part] / math.sqrt(size), -math.inf)
                weights = np.exp(scores - max(scores))
                together[t, part] = (weights / weights.sum()) @ v[:, part]
        return self.linear(f"{name}.linears.3", together)

    def feed(self, name, x):
        return self.linear(f"{name}.w_2", np.maximum(self.linear(f"{name}.w_1", x), 0))

    def states(self, grid):
        x = np.maximum(self.linear("att_embed.0", grid), 0)
        every = np.ones((len(x), len(x)), dtype=bool)
        for layer in range(LAYERS):
            here = f"model.encoder.layers.{layer}"
            normed = self.norm(f"{here}.sublayer.0.norm", x)
            x = x + self.attend(f"{here}.self_attn", normed, normed, every)
            x = x + self.feed(f"{here}.feed_forward", self.norm(f"{here}.sublayer.1.norm", x))
        return self.norm("model.encoder.norm", x)

    def logits(self, memory, tokens, *, padding):
        """[T, V]; with ``padding`` the mask of teacher forcing: causal and key-padding, position 0 always visible."""
        x = self.state["model.tgt_embed.0.lut.weight"][tokens] * math.sqrt(WIDTH)
        for t in range(len(tokens)):
            for i in range(0, WIDTH, 2):
                angle = t / 10000 ** (i / WIDTH)
                x[t, i] += math.sin(angle)
                x[t, i + 1] += math.cos(angle)
        visible = [not padding or s == 0 or tokens[s] != 0 for s in range(len(tokens))]
        causal = [[s <= t and visible[s] for s in range(len(tokens))] for t in range(len(tokens))]
        every = np.ones((len(tokens), len(memory)), dtype=bool)
        for layer in range(LAYERS):
            here = f"model.decoder.layers.{layer}"
            normed = self.norm(f"{here}.sublayer.0.norm", x)
            x = x + self.attend(f"{here}.self_attn", normed, normed, causal)
            x = x + self.attend(f"{here}.src_attn", self.norm(f"{here}.sublayer.1.norm", x), memory, every)
            x = x + self.feed(f"{here}.feed_forward", self.norm(f"{here}.sublayer.2.norm", x))
        return self.linear("model.generator.proj", self.norm("model.decoder.norm", x))


def lightning(path, state, vocabulary=None, *, opt=True, **more):
    """A checkpoint as Lightning writes it, with the two pickles inside as bytes."""
    table = {str(i): w for i, w in enumerate(WORDS, 1)} if vocabulary is None else vocabulary
    inside = {"_vocab": table} | ({"_opt": argparse.Namespace(caption_model="transformer")} if opt else {})
    inside = {
        n: torch.tensor(list(v if isinstance(v, bytes) else pickle.dumps(v)), dtype=torch.uint8)
        for n, v in inside.items()
    }
    moments = {"state": {0: {"step": 3, "exp_avg": torch.zeros(5)}}, "param_groups": [{"lr": 1e-4}]}
    whole = {"epoch": 15, "state_dict": {**state, **inside}, "optimizer_states": [moments], **more}
    torch.save(whole, path)
    return path
