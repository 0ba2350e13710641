"""Whole training steps and embedding on a GPU beside PyTorch, on the same card in the same run; run by run.sh.

    python3 benches/gpu/step.py --program target/release/examples/throughput --preset paper torch-split9 --batch 32 128 --output step.json

PyTorch runs the network of `../peers/twin.py` (the lean quantiser: product and argmin) eager and through `torch.compile`, in NCHW and in
channels-last, with fused AdamW; ours also replays the step as a CUDA graph; each measurement in a process of its own, so that the memory is its own too. Memory is what nvidia-smi
says the card holds at most, less what it held before. The share is that of the FLOP of torch's counter at the rate of a large matrix
product. `--dry` tries the script on the processor with a small network.
"""
import argparse, json, subprocess, sys, tempfile, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches" / "peers"))
FORMS = [("eager NCHW", False, False), ("eager channels-last", True, False), ("compiled NCHW", False, True), ("compiled channels-last", True, True)]


def inside(job):
    """One measurement of PyTorch: median seconds of a step, FLOP of a step."""
    import torch
    import ceilings, twin
    from torch.utils.flop_counter import FlopCounterMode

    device = job["device"]
    torch.manual_seed(0)
    config, model = twin.load(job["config"], full=False)
    h, w = config["model"]["input"]
    layout = torch.channels_last if job["last"] else torch.contiguous_format
    model = model.to(device).to(memory_format=layout)
    x = torch.rand(job["batch"], len(config["model"]["channels"]), h, w, device=device).contiguous(memory_format=layout)
    y = torch.randint(0, job["classes"], (job["batch"],), device=device)
    if job["what"] == "train":
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device == "cuda")
        plain = model

        def step(forward):
            optimizer.zero_grad(set_to_none=True)
            with ceilings.precision(job["precision"], device):
                loss = forward(x, y, 0.0125)
            loss.backward()
            optimizer.step()

    else:
        model.eval()
        plain = model.embed

        def step(forward):
            with torch.inference_mode(), ceilings.precision(job["precision"], device):
                forward(x)

    counter = FlopCounterMode(display=False)
    with counter:
        step(plain)
    forward = torch.compile(plain, dynamic=False) if job["compiled"] else plain
    for _ in range(1 if job["dry"] else 3):
        step(forward)
    found = ceilings.seconds(device, lambda: step(forward), job["steps"])
    print(json.dumps({"seconds": found, "flops": counter.get_total_flops()}))


class Memory:
    """The most that the card holds beside what it held before."""

    def __init__(self, device):
        self.device, self.done, self.most = device, False, 0
        self.before = self.now()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def now(self):
        if self.device == "cpu":
            return 0
        out = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"], capture_output=True, text=True)
        return int(out.stdout.strip() or 0) * 2**20

    def watch(self):
        while not self.done:
            self.most = max(self.most, self.now())
            time.sleep(0.1)

    def close(self):
        self.done = True
        self.thread.join()
        return max(0, self.most - self.before)


def run(command, device):
    memory = Memory(device)
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    most = memory.close()
    if out.returncode != 0:
        return {"failed": (out.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    return json.loads(out.stdout.strip().splitlines()[-1]) | {"memory": most}


def ours(a, preset, what, batch, name, device, graph=False):
    command = [a.program, "--what", what, "--preset", preset, "--batch-size", batch, "--steps", a.steps, "--classes", a.classes, "--quiet"]
    found = run([*command, "--device", device, "--precision", name, *["--cuda-graph"][: graph]], device)
    if "step_seconds" in found:
        times = sorted(found["step_seconds"])
        found["seconds"] = times[len(times) // 2]
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", type=Path)
    p.add_argument("--preset", nargs="+", default=["paper", "torch-split9"])
    p.add_argument("--what", nargs="+", default=["train", "embed"])
    p.add_argument("--batch", type=int, nargs="+", default=[32, 128, 256, 512])
    p.add_argument("--precision", nargs="+", default=["f32", "tf32", "bf16"])
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--classes", type=int, default=1311)
    p.add_argument("--output", type=Path)
    p.add_argument("--dry", action="store_true")
    p.add_argument("--inside")
    a = p.parse_args()
    if a.inside:
        return inside(json.loads(a.inside))
    if not (a.program and a.output):
        p.error("--program and --output are needed")
    import ceilings

    device = "cuda"
    if a.dry:
        device, a.preset, a.batch, a.precision, a.steps, a.classes = "cpu", ["torch-micro", "paper"], [2], ["f32"], 1, 5
    limits = ceilings.measure(device, 256, 2**16) if a.dry else ceilings.measure(device)
    rows = []
    print("| preset | what | batch | precision | contender | images/s | ms | of torch's best | share of the product's rate | memory, GiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for preset in a.preset:
            settings = subprocess.run(
                [str(a.program), "--what", "embed", "--preset", preset, "--classes", str(a.classes), "--settings"],
                check=True, capture_output=True, text=True,
            ).stdout
            config = Path(folder) / f"{preset}.toml"
            config.write_text(settings)
            # With --dry, `paper` is only for its settings: a step of it on the processor takes long.
            for what in a.what if not (a.dry and preset == "paper") else []:
                for batch in a.batch:
                    for name in a.precision:
                        rows += compare(a, preset, what, batch, name, device, config, limits)
    a.output.write_text(json.dumps({"limits": limits, "rows": rows}))


def compare(a, preset, what, batch, name, device, config, limits):
    found = {"ours": ours(a, preset, what, batch, name, device)}
    if not a.dry:
        found["ours, CUDA graph"] = ours(a, preset, what, batch, name, device, graph=True)
    for form, last, compiled in FORMS:
        if compiled and a.dry:
            continue
        job = dict(what=what, batch=batch, precision=name, device=device, steps=a.steps, classes=a.classes, config=str(config))
        job |= dict(last=last, compiled=compiled, dry=a.dry)
        found["torch " + form] = run([sys.executable, __file__, "--inside", json.dumps(job)], device)
    done = [f for c, f in found.items() if c.startswith("torch") and "seconds" in f]
    best = min((f["seconds"] for f in done), default=None)
    flops = done[0]["flops"] if done else None
    rows = []
    for contender, f in found.items():
        row = {"preset": preset, "what": what, "batch": batch, "precision": name, "contender": contender} | f
        rows.append(row)
        head = f"| {preset} | {what} | {batch} | {name} | {contender} "
        if "seconds" not in f:
            print(head + f"| {f.get('failed', '')} | | | | |", flush=True)
            continue
        ratio = f"{best / f['seconds']:.2f}" if best else ""
        share = f"{100 * flops / f['seconds'] / limits[name]:.0f} %" if flops else ""
        print(head + f"| {batch / f['seconds']:.0f} | {1e3 * f['seconds']:.1f} | {ratio} | {share} | {f['memory'] / 2**30:.1f} |", flush=True)
    return rows


if __name__ == "__main__":
    main()
