"""Times a whole training step and the embedding into vqvec2: PyTorch on the CPU beside ours, interleaved in one run.

    python3 benches/peers/step.py --venv .venv/peers --preset torch-tfdec --batch 8 16 --threads 1 2 --rounds 3

Makes the virtual environment if it is missing (PyTorch CPU from PyPI) and builds the example binaries. PyTorch runs the network
of `twin.py` in two forms: full, with all that the public code computes (the reference layer's arithmetic; on the way to vqvec2
also quantiser and head of level 1), and lean; each in NCHW and channels-last, with `--compile` also compiled, of which the
fastest counts. A round is PyTorch full, PyTorch lean, ours; the median of the rounds' medians counts.
With `--check MODEL X Y` instead: losses and gradients of the same weights and crops beside those of `forward --train`.
"""
import argparse, json, os, pathlib, platform, statistics, struct, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / "target" / "release" / "examples"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--venv", default=".venv/peers")
    p.add_argument("--preset", default="torch-tfdec")
    p.add_argument("--what", nargs="+", default=["train", "embed"])
    p.add_argument("--batch", type=int, nargs="+", default=[8, 16])
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=2)
    p.add_argument("--classes", type=int, default=1311)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--check", nargs=3, metavar=("MODEL", "X", "Y"))
    p.add_argument("--binaries", type=pathlib.Path, help="a folder with `throughput` and `forward`, built already")
    p.add_argument("--inside", metavar="JSON")
    return p.parse_args()


def venv(path):
    python = pathlib.Path(path) / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", path], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
    return python


def tensors(path):
    import numpy, torch

    data = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    kinds = {"F32": numpy.float32, "I64": numpy.int64}
    found = {}
    for name, t in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            a, b = (8 + length + o for o in t["data_offsets"])
            array = numpy.frombuffer(data[a:b], kinds[t["dtype"]]).reshape(t["shape"])
            found[name] = torch.from_numpy(array.copy())
    return found


def cpu():
    t = os.times()
    return t.user + t.system


def torch_side(job):
    """One measurement of PyTorch in a process of its own: [median seconds of a step, CPU seconds of a step, peak bytes]."""
    import resource, torch
    import twin

    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    config, model = twin.load(job["config"], job["full"])
    config["model"]["classes"] = job["classes"]
    h, w = config["model"]["input"]
    x = torch.rand(job["batch"], len(config["model"]["channels"]), h, w)
    y = torch.randint(0, job["classes"], (job["batch"],))
    if job["channels_last"]:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    if job["what"] == "train":
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        forward = torch.compile(model) if job["compile"] else model

        def step():
            optimizer.zero_grad(set_to_none=True)
            forward(x, y, 0.0125).backward()
            optimizer.step()

    else:
        model.eval()
        embed = torch.compile(model.embed) if job["compile"] else model.embed

        def step():
            with torch.inference_mode():
                embed(x)

    step()
    times, before = [], cpu()
    for _ in range(job["steps"]):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([statistics.median(times), (cpu() - before) / job["steps"], peak]))


def check(binaries, model, x, y):
    """Losses and gradients of the twin in training mode without dropout beside ours."""
    import numpy, torch
    import twin

    config, net = twin.load(f"{model}/config.toml")
    missing = net.load_state_dict(tensors(f"{model}/best.safetensors"))
    out = pathlib.Path(model) / "twin-check"
    command = [binaries / "forward", "--weights", f"{model}/best.safetensors", "--config", f"{model}/config.toml"]
    command += ["--input", x, "--labels", y, "--variance", "0.0125", "--train", "--output", out, "--overwrite", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    net.train()
    for m in net.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    images, labels = torch.from_numpy(numpy.load(x)), torch.from_numpy(numpy.load(y).astype("int64"))
    loss = net(images, labels, 0.0125)
    loss.backward()
    ours = json.loads((out / "losses.json").read_text())["loss"]
    norms = json.loads((out / "grad_l2.json").read_text())
    theirs = {n: float(p.grad.norm()) for n, p in net.named_parameters() if p.grad is not None}
    largest = max(theirs.values())
    off = {n: abs(theirs[n] - norms[n]) / (1e-3 * theirs[n] + 1e-6 * largest) for n in theirs}
    worst = max(off, key=off.get)
    print(f"loss: PyTorch {loss.item():.6f}, ours {ours:.6f}, relative {abs(loss.item() - ours) / abs(ours):.1e}")
    print(f"gradients of {len(theirs)} tensors, worst at {off[worst]:.3f} of the gate: {worst}")
    print(missing)


def run_torch(python, job):
    out = subprocess.run([python, __file__, "--inside", json.dumps(job)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout.strip().splitlines()[-1])


def run_ours(a, what, batch, threads):
    command = [a.binaries / "throughput", "--what", what, "--preset", a.preset, "--batch-size", str(batch)]
    command += ["--steps", str(a.steps), "--threads", str(threads), "--classes", str(a.classes), "--quiet"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [statistics.median(found["step_seconds"]), found["cpu_seconds"] / a.steps, found["peak_rss_bytes"]]


def config_of(binaries, preset, classes, folder):
    """The complete settings of a preset, as our `throughput --settings` prints them."""
    path = pathlib.Path(folder) / f"{preset}.toml"
    out = subprocess.run(
        [binaries / "throughput", "--what", "embed", "--preset", preset, "--classes", str(classes), "--settings"],
        check=True, capture_output=True, text=True,
    )
    path.write_text(out.stdout)
    return str(path)


def main():
    a = arguments()
    if a.inside:
        return torch_side(json.loads(a.inside))
    python = venv(a.venv)
    if a.check and "torch" not in sys.modules:
        try:
            import torch  # noqa: F401
        except ImportError:
            os.execv(python, [str(python), *sys.argv])
    binaries = a.binaries or BINARIES
    if a.check:
        return check(binaries, *a.check)
    if a.binaries is None:
        build = ["cargo", "build", "--release", "--workspace", "--example", "throughput", "--example", "forward"]
        subprocess.run(build, cwd=ROOT, check=True)
    a.binaries = binaries
    config = config_of(binaries, a.preset, a.classes, a.venv)
    print(f"{a.preset}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores; median of {a.rounds} rounds")
    print("| what | batch | threads | PyTorch full, s (CPU s) | lean | ours | ratio to full, wall (CPU) | to lean | memory full / lean / ours, MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for what in a.what:
        for batch in a.batch:
            for threads in a.threads:
                base = dict(what=what, batch=batch, threads=threads, steps=a.steps, classes=a.classes, config=config)
                variants = [(last, compiled) for compiled in [False, True][: 1 + a.compile] for last in (False, True)]
                chosen, rounds = {}, {"full": [], "lean": [], "ours": []}
                for _ in range(a.rounds):
                    for form in ("full", "lean"):
                        found = {}
                        for variant in [chosen[form]] if form in chosen else variants:
                            job = dict(base, full=form == "full", channels_last=variant[0], compile=variant[1])
                            found[variant] = run_torch(python, job)
                        # The fastest of the first round goes on.
                        if form not in chosen:
                            chosen[form] = min(found, key=lambda v: found[v][0])
                            for (last, compiled), (seconds, *_) in found.items():
                                name = ("channels-last" if last else "NCHW") + (", compiled" if compiled else "")
                                print(f"{what} {batch} x{threads}, {form}, {name}: {seconds:.3f} s", file=sys.stderr, flush=True)
                        rounds[form].append(found[chosen[form]])
                    rounds["ours"].append(run_ours(a, what, batch, threads))
                wall = {f: statistics.median(r[0] for r in rounds[f]) for f in rounds}
                work = {f: statistics.median(r[1] for r in rounds[f]) for f in rounds}
                peak = {f: max(r[2] for r in rounds[f]) / 2**20 for f in rounds}
                cell = {f: f"{wall[f]:.3f} ({work[f]:.3f})" for f in rounds}
                ratio = {f: f"{wall[f] / wall['ours']:.2f} ({work[f] / work['ours']:.2f})" for f in rounds}
                print(
                    f"| {what} | {batch} | {threads} | {cell['full']} | {cell['lean']} | {cell['ours']} | {ratio['full']} "
                    f"| {ratio['lean']} | {peak['full']:.0f} / {peak['lean']:.0f} / {peak['ours']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
