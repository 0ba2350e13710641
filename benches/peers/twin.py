"""The network in plain PyTorch, built from a `config.toml` that `train` wrote, with the tensor names of our weights.

    python3 benches/peers/twin.py --check model/config.toml weights.safetensors x.npy

Configurations in the manner of the PyTorch code (symmetric padding, nearest upsampling, resize decoders) and of the paper
(TensorFlow's padding, its bilinear upsampling, doubling decoders, channels-last heads). Two forms of the quantiser: `full`, with the arithmetic of the reference layer (softmax histogram, one-hot, second product), and `lean`
(product and argmin only).
"""
import math, tomllib

import torch
from torch import nn
from torch.nn import functional as F


def norm(config, channels, affine=True):
    n = config["model"]["norm"]
    return nn.BatchNorm2d(channels, eps=n["epsilon"], momentum=n["momentum"], affine=affine)


class Even(nn.Conv2d):
    """TensorFlow's padding of a strided convolution: a map of even size gets a row and a column less in front."""

    def forward(self, x):
        half = self.kernel_size[0] // 2
        top, left = (half - (side % 2 == 0) for side in x.shape[2:])
        return F.conv2d(F.pad(x, (left, half, top, half)), self.weight, self.bias, self.stride, 0, 1, self.groups)


def conv_norm(config, i, o, k, stride=1, groups=1, act=True):
    even = config["model"]["padding"] == "tensorflow" and stride == 2
    conv = Even(i, o, k, stride, groups=groups, bias=False) if even else nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(config, o), *([nn.SiLU()] if act else []))


class Squeeze(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        gate = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(gate))))


class Block(nn.Module):
    def __init__(self, config, i, o, expand, kernel, stride, nominal):
        super().__init__()
        hidden, layers = nominal * expand, []
        if expand != 1:
            layers.append(conv_norm(config, i, hidden, 1))
        layers.append(conv_norm(config, hidden, hidden, kernel, stride, hidden))
        layers.append(Squeeze(hidden, max(1, nominal // 4)))
        layers.append(conv_norm(config, hidden, o, 1, act=False))
        self.block, self.residual = nn.Sequential(*layers), stride == 1 and i == o

    def forward(self, x):
        y = self.block(x)
        return x + y if self.residual else y


def encoder(config, level, i):
    e, width = level["encoder"], level["quantizer"]["split"] * level["quantizer"]["dimension"]
    features = []
    if "stem" in e:
        features.append(conv_norm(config, i, e["stem"]["channels"], 3, e["stem"]["stride"]))
        i = e["stem"]["channels"]
    else:
        features.append(nn.Identity())  # the stages count from 1 all the same
    for s in e["stages"]:
        blocks = []
        for r in range(s["repeats"]):
            nominal, stride = (s["input"], s["stride"]) if r == 0 else (s["output"], 1)
            blocks.append(Block(config, i, s["output"], s["expand"], s["kernel"], stride, nominal))
            i = s["output"]
        features.append(nn.Sequential(*blocks))
    features.append(conv_norm(config, i, width, 1))
    module = nn.Module()
    module.features = nn.Sequential(*features)
    return module


class ConvNormNamed(nn.Module):
    def __init__(self, config, d, i, o, k, padding=None):
        super().__init__()
        padding = [k // 2] * 4 if padding is None else padding
        self.padding = padding if len(set(padding)) > 1 else None
        self.conv = nn.Conv2d(i, o, k, padding=0 if self.padding else padding[0], bias=d["bias"])
        self.bn = norm(config, o, d["affine"])

    def forward(self, x):
        return F.silu(self.bn(self.conv(F.pad(x, self.padding) if self.padding else x)))


class Unit(nn.Module):
    def __init__(self, config, d, width):
        super().__init__()
        self.conv1 = ConvNormNamed(config, d, width, width, 3)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=d["bias"])
        self.bn2 = norm(config, width, d["affine"])

    def forward(self, x):
        return F.silu(self.bn2(self.conv2(self.conv1(x))) + x)


class Decoder(nn.Module):
    def __init__(self, config, d, i, size, target, channels, linear):
        super().__init__()
        inner = nn.Module()
        self.decoder, self.blocks = inner, []
        if "first" in d:
            inner.dec_first = ConvNormNamed(config, d, i, d["first"]["channels"], d["first"]["kernel"])
            i = d["first"]["channels"]
        n = max(math.ceil(math.log2(t / s)) for s, t in zip(size, target))
        for b in range(n):
            side = tuple(math.ceil(t / 2 ** (n - 1 - b)) for t in target)
            padding, last = None, b == n - 1
            if d["style"] == "double":
                # The last convolution brings the doubled map to its size: two rows less without padding, one less with a row in front.
                doubled = tuple(2 * s for s in size)
                pads = [{0: (1, 1), 1: (1, 0), 2: (0, 0)}[s - t] for s, t in zip(doubled, side)]
                padding, size, side = [*pads[1], *pads[0]], side, doubled
            o = max(i // 2, d["minimum"])
            if last and not linear:
                o = channels
            block = nn.Module()
            block.res_repeat = nn.Sequential()
            for u in range(d["units"]):
                block.res_repeat.add_module(f"res{u + 1}", Unit(config, d, i))
            inner.add_module(f"resrep{b + 1}", block)
            inner.add_module(f"resrep{b + 1}last", ConvNormNamed(config, d, i, o, 3, padding))
            self.blocks.append((side, f"resrep{b + 1}"))
            i = o
        if linear:
            inner.output_conv = nn.Conv2d(i, channels, 3, padding=1, bias=d["bias"])
        self.linear = linear

    def forward(self, x):
        inner = self.decoder
        if hasattr(inner, "dec_first"):
            x = inner.dec_first(x)
        for side, name in self.blocks:
            x = F.interpolate(x, size=side, mode="bilinear", align_corners=False)
            x = getattr(inner, name).res_repeat(x)
            x = getattr(inner, name + "last")(x)
        return inner.output_conv(x) if self.linear else x


class Quantizer(nn.Module):
    def __init__(self, q, full):
        super().__init__()
        self.codebook = nn.Embedding(q["codes"], q["dimension"])
        self.split, self.cost, self.full = q["split"], q["commitment_cost"], full
        self.given = None  # codes [b, split, h, w] to take instead of the nearest
        self.other, self.margin = 0, 0.0  # given codes that were not the nearest so far, and how much farther the farthest was

    def forward(self, z):
        b, c, h, w = z.shape
        d = c // self.split
        flat = z.reshape(b, self.split, d, h, w).permute(0, 3, 4, 1, 2).reshape(-1, d)
        e = self.codebook.weight
        distance = (flat**2).sum(1, keepdim=True) + (e**2).sum(1) - 2 * flat @ e.t()
        index = distance.argmin(1)
        if self.given is not None:
            given = self.given.permute(0, 2, 3, 1).flatten()
            self.other += int((given != index).sum())
            farther = distance.gather(1, given[:, None]) - distance.gather(1, index[:, None])
            self.margin = max(self.margin, float((farther[:, 0] / (flat**2).sum(1).clamp(min=1e-30)).detach().max()))
            index = given
        if self.full:
            histogram = F.softmax(-distance, 1).reshape(b, -1, len(e)).sum(1)
            hot = torch.zeros(len(index), len(e), device=z.device).scatter_(1, index[:, None], 1.0)
            q = hot @ e
            share = hot.mean(0)
            self.perplexity = torch.exp(-(share * torch.log(share + 1e-10)).sum())
            self.histogram = histogram
        else:
            q = F.embedding(index, e)
        q = q.reshape(b, h, w, self.split, d).permute(0, 3, 4, 1, 2).reshape(b, c, h, w)
        loss = ((q - z.detach()) ** 2).mean() + self.cost * ((q.detach() - z) ** 2).mean()
        return z + (q - z).detach(), loss


class Head(nn.Module):
    def __init__(self, h, inputs, classes, last):
        super().__init__()
        self.last = last
        layers = [nn.Dropout(h["input_dropout"]), nn.Linear(inputs, h.get("hidden", classes))]
        if "hidden" in h:
            layers += [nn.ReLU(), nn.Dropout(h["hidden_dropout"]), nn.Linear(h["hidden"], classes)]
        self.fc_list = nn.Sequential(*layers)

    def forward(self, x):
        return self.fc_list((x.permute(0, 2, 3, 1) if self.last else x).flatten(1))


def sizes(model):
    found, size = [], tuple(model["input"])
    for level in model["levels"]:
        e = level["encoder"]
        for stride in ([e["stem"]["stride"]] if "stem" in e else []) + [s["stride"] for s in e["stages"]]:
            size = tuple(-(-s // stride) for s in size)
        found.append(size)
    return found


def legacy(x, size):
    """TensorFlow 1's bilinear grid, `i * in / out`, as a product with a matrix along each axis."""

    def matrix(inside, outside):
        at = torch.arange(outside, dtype=torch.float64) * inside / outside
        low = at.floor().long()
        part = (at - low).float()
        m = torch.zeros(outside, inside)
        rows = torch.arange(outside)
        m.index_put_((rows, low), 1 - part, accumulate=True)
        m.index_put_((rows, (low + 1).clamp(max=inside - 1)), part, accumulate=True)
        return m.to(x.device)

    return matrix(x.shape[2], size[0]) @ x @ matrix(x.shape[3], size[1]).t()


class Twin(nn.Module):
    def __init__(self, config, full=True):
        super().__init__()
        m = config["model"]
        known = m["padding"] in ("symmetric", "tensorflow") and m["upsampling"] in ("nearest", "bilinear-legacy")
        if not known or m["inner_target"] not in ("quantized", "encoder"):
            raise SystemExit("twin: expected a configuration in the manner of the PyTorch code or of the paper")
        self.legacy, self.inner = m["upsampling"] == "bilinear-legacy", m["inner_target"]
        one, two = m["levels"]
        (s1, s2), w = sizes(m), [l["quantizer"]["split"] * l["quantizer"]["dimension"] for l in m["levels"]]
        self.encoders = nn.ModuleList([encoder(config, one, len(m["channels"])), encoder(config, two, w[0])])
        self.decoders = nn.ModuleList(
            [
                Decoder(config, one["decoder"], w[0] + w[1], s1, tuple(m["input"]), len(m["channels"]), True),
                Decoder(config, two["decoder"], w[1], s2, s1, w[0], False),
            ]
        )
        self.vq_layers = nn.ModuleList([Quantizer(l["quantizer"], full) for l in m["levels"]])
        self.fc_layers = nn.ModuleList(
            [Head(l["head"], c * s[0] * s[1], m["classes"], m["flatten"] == "channel-last") for l, c, s in zip(m["levels"], w, (s1, s2))]
        )
        self.s1, self.full = s1, full

    def embed(self, x):
        """The codes of level 2 as vectors and, if full, what cytoself's `forward` computes on the way: the names from level 1.
        These are returned so that no compiler leaves them out."""
        z1 = self.encoders[0].features(x)
        named = self.fc_layers[0](self.vq_layers[0](z1)[0]) if self.full else None
        return self.vq_layers[1](self.encoders[1].features(z1))[0], named

    def forward(self, x, labels, variance):
        z1 = self.encoders[0].features(x)
        q1, v1 = self.vq_layers[0](z1)
        q2, v2 = self.vq_layers[1](self.encoders[1].features(z1))
        raised = legacy(q2, self.s1) if self.legacy else F.interpolate(q2, size=self.s1, mode="nearest")
        reconstruction = self.decoders[0](torch.cat([raised, q1], 1))
        inner = self.decoders[1](q2)
        heads = sum(F.cross_entropy(h(q), labels) for h, q in zip(self.fc_layers, (q1, q2)))
        return F.mse_loss(reconstruction, x) / variance + F.mse_loss(inner, q1 if self.inner == "quantized" else z1) + v1 + v2 + heads


def load(path, full=True):
    with open(path, "rb") as f:
        config = tomllib.load(f)
    return config, Twin(config, full)
