"""Compares wattle with torch: outputs and one training step's gradients of a torchvision
network with random weights.

    compare_torch.py NET_DUMP ZOO_FOLDER SCRATCH NET...

torch computes in double, so that the error shown is wattle's own (torch's own error in
float is shown beside it). Per tensor the error is max|a-b| / max|b|. Exit status: 0 all
agree, 1 they do not, 77 torch or torchvision is not installed.
"""
import os
import pathlib
import re
import subprocess
import sys

try:
    import numpy as np
    import torch
    import torchvision
except ImportError as missing:
    print(f"skipped: {missing} (Debian: python3-torch python3-torchvision python3-numpy)")
    sys.exit(77)

import wtl

LIMIT = 1e-4
SEED = 1
THREADS = 2


def googlenet():
    return torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False,
                                        transform_input=False)


# zoo name: (torchvision's constructor, images in the batch)
NETS = {
    "alexnet-torchvision": (torchvision.models.alexnet, 3),
    "googlenet-torchvision": (googlenet, 3),
    "squeezenet-1.0": (torchvision.models.squeezenet1_0, 2),
    "squeezenet-1.1": (torchvision.models.squeezenet1_1, 4),
    "mobilenet-v2": (torchvision.models.mobilenet_v2, 4),
    "resnet-18": (torchvision.models.resnet18, 3),
}


def make_model(name):
    """The network in double, dropout off, batch norm with values that matter."""
    torch.manual_seed(SEED)
    model = NETS[name][0]().double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    # Weights that are floats exactly: both sides start from the same numbers.
    with torch.no_grad():
        for tensor in list(model.parameters()) + list(model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.float())
    return model


def net_text(zoo, name):
    """The zoo's text without dropout."""
    text = (pathlib.Path(zoo) / f"{name}.net").read_text()
    lines = []
    for line in text.splitlines():
        if re.match(r"\s*\S+\s*=\s*dropout\b", line):
            line = re.sub(r"\s+rate=\S+", "", line.split("#")[0]) + " rate=0"
        lines.append(line)
    return "\n".join(lines) + "\n"


def names_of(params, state):
    """Our parameter name -> torch's, checked by shape."""
    names = {}
    for ours, shape in params:
        theirs = ours
        if theirs not in state:
            sys.exit(f"no tensor of torch's belongs to {ours}")
        if tuple(state[theirs].shape) != shape:
            sys.exit(f"{ours} is {shape}, torch's {theirs} {tuple(state[theirs].shape)}")
        names[ours] = theirs
    unused = set(state) - set(names.values())
    unused = {name for name in unused if not name.endswith("num_batches_tracked")}
    if unused:
        sys.exit(f"torch has tensors that the net lacks: {sorted(unused)}")
    return names


def parameters_of(net_dump, checkpoint):
    text = subprocess.run([net_dump, "params", checkpoint], check=True, capture_output=True,
                          text=True).stdout
    fields = [line.split() for line in text.splitlines()]
    return [(line[0], tuple(int(size) for size in line[1:])) for line in fields]


def torch_results(model, images, labels):
    """What net_dump writes, computed by torch; heads in torch's order."""
    results = {}
    images = images.clone().requires_grad_()
    model.eval()
    with torch.no_grad():
        results["eval"] = results["folded"] = model(images)
    model.train()
    outputs = model(images)
    outputs = [outputs] if torch.is_tensor(outputs) else [
        outputs.logits, outputs.aux_logits1, outputs.aux_logits2]
    loss = sum(weight * torch.nn.functional.cross_entropy(output, labels)
               for weight, output in zip([1.0, 0.3, 0.3], outputs))
    loss.backward()
    results["loss"] = loss
    results["heads"] = outputs
    results["gradient.input"] = images.grad
    for name, parameter in model.named_parameters():
        results["gradient." + name] = parameter.grad
    for name, buffer in model.named_buffers():
        results["value." + name] = buffer
    return results


def error(ours, theirs):
    theirs = theirs.detach().double().numpy().ravel()
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return np.inf
    largest = np.abs(theirs).max()
    difference = np.abs(ours - theirs).max()
    return difference / largest if largest > 0 else (0.0 if difference == 0 else np.inf)


def compare(net_dump, zoo, scratch, name):
    folder = pathlib.Path(scratch) / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    count = NETS[name][1]
    model = make_model(name)
    state = model.state_dict()
    text = net_text(zoo, name)

    # Parameter names come from the net itself; values need them to be written.
    checkpoint = folder / "net.wtl"
    wtl.write(checkpoint, text, {})
    names = names_of(parameters_of(net_dump, checkpoint), state)
    wtl.write(checkpoint, text, {ours: state[theirs].numpy()
                                 for ours, theirs in names.items()})

    images = torch.randn(count, 3, 224, 224).double().float().double()
    labels = torch.randint(0, 1000, (count,))
    images.numpy().astype("<f4").tofile(folder / "images")
    labels.numpy().astype("<i4").tofile(folder / "labels")
    subprocess.run([net_dump, "run", checkpoint, folder / "images", folder / "labels",
                    str(count), str(THREADS), folder], check=True)

    theirs = torch_results(model, images, labels)
    single = make_model(name).float()
    in_float = torch_results(single, images.float(), labels)
    rows = []

    def add(ours, key, index=None):
        got = np.fromfile(folder / ours, dtype="<f4").astype(np.float64)
        want, float_want = theirs[key], in_float[key]
        if index is not None:
            want, float_want = want[index], float_want[index]
        torch_float = float_want.detach().double().numpy().ravel()
        rows.append((ours, error(got, want), error(torch_float, want)))

    add("eval", "eval")
    add("folded", "folded")
    add("loss", "loss")
    heads = sorted(path.name for path in folder.glob("head.*"))
    for head in heads:
        digit = re.search(r"[12]", head) if len(heads) > 1 else None
        add(head, "heads", int(digit.group()) if digit else 0)
    add("gradient.input", "gradient.input")
    for ours, name_of_torch in names.items():
        kind = "value" if ours.endswith(("running_mean", "running_var")) else "gradient"
        theirs_key = f"{kind}.{name_of_torch}"
        theirs[f"{kind}.{ours}"] = theirs[theirs_key]
        in_float[f"{kind}.{ours}"] = in_float[theirs_key]
        add(f"{kind}.{ours}", f"{kind}.{ours}")
    for path in folder.iterdir():
        path.unlink()
    return rows


def report(name, rows):
    def worst(prefix):
        row = max((row for row in rows if row[0].startswith(prefix)), key=lambda row: row[1],
                  default=None)
        return f"{row[1]:.1e} ({row[0]}; torch's float {row[2]:.1e})" if row else "-"

    bad = [row for row in rows if not row[1] <= LIMIT]
    print(f"{name}: {len(rows)} tensors, {len(bad)} beyond {LIMIT:g}")
    for what, prefix in (("inference", "eval"), ("folded", "folded"), ("heads", "head."),
                         ("loss", "loss"), ("gradients", "gradient."),
                         ("statistics", "value.")):
        print(f"  worst of {what + ':':12} {worst(prefix)}")
    for row in bad:
        print(f"  BEYOND {row[0]}: {row[1]:.2e}, torch's own float {row[2]:.2e}")
    sys.stdout.flush()
    return not bad


def main():
    net_dump, zoo, scratch, *names = sys.argv[1:]
    torch.set_num_threads(THREADS)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, seed {SEED}")
    results = [report(name, compare(os.path.abspath(net_dump), zoo, scratch, name))
               for name in names or NETS]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
