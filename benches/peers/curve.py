"""The losses of the first steps beside PyTorch's: the same initial weights, the same crops in the same order, no dropout.
PyTorch also runs with its maps in channels-last, which only rounds differently: how far it parts from itself is the yardstick. And it
runs with our codes instead of its own nearest ones, which leaves out what single codes decide.

    python3 benches/peers/curve.py --venv .venv/peers --data FOLDER --split split.csv --normalize maximum --steps 50

FOLDER holds cytoself's `<protein>_<channel>.npy` files and `labels.csv`; only crops of fields that `split.csv` gives to training
are used, shuffled once.
"""
import argparse, csv, os, pathlib, subprocess, sys

import step

ROOT = pathlib.Path(__file__).resolve().parents[2]


def crops(a, channels):
    import numpy

    folder = pathlib.Path(a.data)
    training = {r["fov"] for r in csv.DictReader(open(a.split)) if r["split"] == "train"}
    rows = [r for r in csv.DictReader(open(folder / "labels.csv")) if r["FOV_id"] in training]
    names = sorted({r["name"] for r in rows})
    arrays = {(n, c): numpy.load(folder / f"{n}_{c}.npy") for n in names for c in channels}
    order = numpy.random.default_rng(1).permutation(len(rows))
    x = numpy.stack([[arrays[rows[i]["name"], c][int(rows[i]["index"])] for c in channels] for i in order])
    if a.normalize == "maximum":
        x = x / x.max(axis=(2, 3), keepdims=True)
    return x.astype("f4"), numpy.array([names.index(rows[i]["name"]) for i in order])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--venv", default=".venv/peers")
    p.add_argument("--data", required=True)
    p.add_argument("--split", required=True)
    p.add_argument("--channels", default="pro,cell")
    p.add_argument("--normalize", default="maximum")
    p.add_argument("--preset", default="small")
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--learning-rate", type=float, help="instead of the preset's")
    p.add_argument("--seed", type=int, default=42, help="of the initial weights")
    a = p.parse_args()
    python = step.venv(a.venv)
    try:
        import numpy, torch
    except ImportError:
        os.execv(python, [str(python), *sys.argv])
    import twin

    torch.set_num_threads(1)  # spinning threads on a busy machine cost minutes

    build = ["cargo", "build", "--release", "--workspace", "--example", "throughput", "--example", "curve_peer"]
    subprocess.run(build, cwd=ROOT, check=True)
    channels = a.channels.split(",")
    x, y = crops(a, channels)
    folder = pathlib.Path(a.venv)
    variance = float(x.var())
    text = pathlib.Path(step.config_of(step.BINARIES, a.preset, int(y.max()) + 1, folder)).read_text()
    lines = []
    for line in text.splitlines():
        key = line.split(" = ")[0]
        if key in ("input_dropout", "hidden_dropout", "stochastic_depth"):
            line = f"{key} = 0.0"
        if key == "learning_rate" and a.learning_rate:
            line = f"learning_rate = {a.learning_rate}"
        if key == "seed":
            line = f"seed = {a.seed}"
        if key == "channels" and "[" in line:
            line = "channels = [" + ", ".join(f'"{c}"' for c in channels) + "]"
        if key == "input" and "[" in line:
            line = f"input = [{x.shape[2]}, {x.shape[3]}]"
        lines.append(line)
    config = folder / "curve.toml"
    config.write_text("\n".join(lines) + "\n")
    numpy.save(folder / "curve_x.npy", x)
    numpy.save(folder / "curve_y.npy", y)
    files = [str(folder / f) for f in ("curve.toml", "curve_x.npy", "curve_y.npy")]
    command = [step.BINARIES / "curve_peer", *files, str(a.batch), str(a.steps), str(variance), str(folder)]
    ours = [float(l) for l in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]

    images, labels = torch.from_numpy(x), torch.from_numpy(y)

    def pytorch(layout, codes=None):
        settings, net = twin.load(config)
        net.load_state_dict(step.tensors(folder / "initial.safetensors"))
        net.train().to(memory_format=layout)
        t = settings["training"]
        optimizer = torch.optim.Adam(net.parameters(), lr=t["learning_rate"], betas=(t["beta1"], t["beta2"]), eps=t["epsilon"])
        losses = []
        for s in range(a.steps):
            start = s % (len(y) // a.batch) * a.batch
            optimizer.zero_grad()
            batch = images[start : start + a.batch].to(memory_format=layout)
            for layer, given in zip(net.vq_layers, codes or []):
                layer.given = given[s]
            loss = net(batch, labels[start : start + a.batch], variance)
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
        return losses, sum(layer.other for layer in net.vq_layers), max(layer.margin for layer in net.vq_layers)

    theirs, again = pytorch(torch.contiguous_format)[0], pytorch(torch.channels_last)[0]
    codes = [torch.from_numpy(numpy.load(folder / f"codes{level}.npy")) for level in (1, 2)]
    led, other, margin = pytorch(torch.contiguous_format, codes)
    off = [abs(o - q) / abs(q) for o, q in zip(ours, theirs)]
    itself = [abs(o - q) / abs(q) for o, q in zip(again, theirs)]
    given = [abs(o - q) / abs(q) for o, q in zip(ours, led)]
    print("| step | PyTorch | ours | relative | PyTorch, channels-last, relative | ours to PyTorch with our codes, relative |")
    print("| --- | --- | --- | --- | --- | --- |")
    for s in sorted({0, 1, 2, 4, 9, 19, 29, 39, a.steps - 1}):
        if s < a.steps:
            print(f"| {s + 1} | {theirs[s]:.5f} | {ours[s]:.5f} | {off[s]:.1e} | {itself[s]:.1e} | {given[s]:.1e} |")
    for name, off in (("ours", off), ("PyTorch in channels-last", itself), ("ours to PyTorch with our codes", given)):
        print(f"{name}, seed {a.seed}: largest of the first 10 steps {max(off[:10]):.1e}, of all {a.steps} {max(off):.1e}")
    print(f"{other} of {sum(c.numel() for c in codes)} of our codes were not PyTorch's nearest, but farther by up to {margin:.1e} of the vector's squared length")


if __name__ == "__main__":
    main()
