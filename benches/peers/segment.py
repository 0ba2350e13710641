"""The OpenCell chain: scikit-image beside cytoself-segment, on the same simulated fields, in one run.

    python3 benches/peers/segment.py --venv .venv/segment --fields 4 --output table.md

Makes the virtual environment if it is missing, simulates fields of 1024 x 1024 pixels (`simulate`), projects their DNA channel
over z, and runs both sides on one thread, by turns, on each field as it is and reduced to 512 x 512. CPU milliseconds, the
fastest of the repeats, medians over the fields; the numbers of nuclei are printed beside each other.
"""
import argparse, json, os, pathlib, platform, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
THREADS = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]


def enter(venv, packages=("numpy", "scipy", "scikit-image", "tifffile", "pillow")):
    """Runs this script again with the interpreter of the virtual environment, which it makes if it is missing."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    if pathlib.Path(sys.prefix).resolve() != venv.resolve():
        os.environ.update({name: "1" for name in THREADS})
        os.execv(python, [str(python), *sys.argv])


def build():
    command = ["cargo", "build", "--release", "--workspace", "--example", "simulate", "--example", "segment_peer"]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "target" / "release" / "examples"


def stages(image, scale):
    """The same stages as in segment.rs; returns CPU milliseconds by stage and the labels."""
    import numpy as np
    from scipy import ndimage as ndi
    from skimage import feature, filters, measure, morphology, segmentation

    ms = {}

    def clock(name, work):
        start = time.process_time()
        result = work()
        ms[name] = (time.process_time() - start) * 1e3
        return result

    cross, area = ndi.generate_binary_structure(2, 1), scale * scale
    image = clock("to double", lambda: image.astype(np.float64))

    def background():
        blurred = filters.gaussian(image, sigma=5 * scale, preserve_range=True)
        return morphology.erosion(blurred > filters.threshold_li(blurred), cross)

    def drop_small(mask, least):
        regions = measure.label(mask, connectivity=1)
        keep = np.bincount(regions.ravel()) >= least
        keep[0] = False
        return keep[regions]

    def refine(inside):
        log = filters.laplace(filters.gaussian(image, sigma=4 * scale, preserve_range=True), ksize=3)
        disk = morphology.disk(max(1, round(5 * scale)))
        mask = morphology.closing(((log > 0) & inside).astype(np.uint8), disk) > 0
        mask = morphology.remove_small_holes(mask, max_size=max(1, int(1e4 * area)), connectivity=1) & inside
        gaps = measure.label(log < np.percentile(log, 7.0), connectivity=1)
        cut = np.bincount(gaps.ravel()) > 900 * area
        cut[np.unique(gaps[~mask])] = True
        cut[0] = False
        return mask & ~cut[gaps]

    def split(mask):
        depth = filters.gaussian(ndi.distance_transform_edt(mask), sigma=1)
        distance = max(1, round(15 * scale))
        peaks = feature.peak_local_max(depth, min_distance=distance, labels=mask.astype(np.int32), exclude_border=False)
        seeds = np.zeros(mask.shape, bool)
        seeds[tuple(peaks.T)] = True
        return segmentation.watershed(-depth, ndi.label(seeds)[0], mask=mask, compactness=0.01)

    def off_the_edge(labels):
        at_edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        return np.where(np.isin(labels, at_edge), 0, labels)

    def crops(labels):
        cut, half = [], 50
        for region in measure.regionprops(labels):
            y, x = (int(round(c)) for c in region.centroid)
            if half <= y <= image.shape[0] - half and half <= x <= image.shape[1] - half:
                cut.append(image[y - half : y + half, x - half : x + half].copy())
        return cut

    inside = clock("background", background)
    refined = clock("refine", lambda: refine(inside))
    cleaned = clock("clean", lambda: drop_small(refined, 1000 * area))
    labels = clock("split", lambda: split(cleaned))
    labels = clock("edges", lambda: off_the_edge(labels))
    mask = labels > 0
    clock("signed distance", lambda: ndi.distance_transform_edt(mask) - ndi.distance_transform_edt(~mask))
    clock("crops", lambda: crops(labels))
    return ms, len(np.unique(labels)) - 1


def simulate(binaries, folder, fields, seed):
    """Projected DNA channels of simulated fields, as TIFF of one plane."""
    import numpy as np, tifffile

    out = folder / "simulated"
    flags = ["--proteins", str(fields), "--fields-per-protein", "1", "--z-slices", "8", "--seed", str(seed), "--quiet"]
    subprocess.run([str(binaries / "simulate"), "--out", str(out), *flags], check=True)
    names = {1024: [], 512: []}
    for path in sorted((out / "images").glob("*.tif")):
        stack = tifffile.imread(path)
        dna = stack[:, 0] if stack.shape[1] == 2 else stack[0]
        full = dna.max(axis=0)
        half = full.reshape(512, 2, 512, 2).mean((1, 3)).round().astype(np.uint16)
        for size, image in ((1024, full), (512, half)):
            names[size].append(folder / f"{path.name.split('.')[0]}_{size}.tif")
            tifffile.imwrite(names[size][-1], image)
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=pathlib.Path, required=True)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--keep", type=pathlib.Path, help="keep the fields in this folder")
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()
    enter(args.venv)
    import numpy as np, scipy, skimage, tifffile

    binaries = build()
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        names = simulate(binaries, folder, args.fields, args.seed)
        for size in (512, 1024):
            ours, theirs, counts = [], [], []
            for path in names[size]:
                image = tifffile.imread(path)
                best = None
                for _ in range(args.repeats):
                    # By turns, so that a change of load meets both.
                    command = [str(binaries / "segment_peer"), str(size / 1024), "2", str(path)]
                    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    ms, nuclei = min((stages(image, size / 1024) for _ in range(2)), key=lambda run: sum(run[0].values()))
                    pair = (answer["ms"], ms)
                    best = pair if best is None else tuple(min(a, b, key=lambda m: sum(m.values())) for a, b in zip(best, pair))
                ours.append(best[0]), theirs.append(best[1]), counts.append((answer["nuclei"], nuclei))
            median = lambda rows, stage: float(np.median([r[stage] for r in rows]))
            lines += [f"## {size} x {size}, {len(ours)} fields", "", f"Nuclei (ours, scikit-image): {counts}", ""]
            lines += ["| stage | ours, CPU ms | scikit-image, CPU ms | times |", "|---|---|---|---|"]
            for stage in ours[0]:
                a, b = median(ours, stage), median(theirs, stage)
                lines.append(f"| {stage} | {a:.2f} | {b:.2f} | {b / max(a, 1e-3):.1f} |")
            a, b = (float(np.median([sum(r.values()) for r in rows])) for rows in (ours, theirs))
            lines += [f"| **total** | **{a:.1f}** | **{b:.1f}** | **{b / a:.1f}** |", ""]
    versions = f"Python {platform.python_version()}, scikit-image {skimage.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}"
    lines.append(f"{versions}; one thread each; load {os.getloadavg()[0]:.1f}.")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
