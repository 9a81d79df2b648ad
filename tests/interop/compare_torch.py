"""Compares wattle with torch: outputs and one training step's gradients of a torchvision
network with random weights.

    compare_torch.py NET_DUMP ZOO_FOLDER SCRATCH NET...
    compare_torch.py seed NET COUNT      which of COUNT seeds suits best, see below

torch computes in double, so that the error shown is wattle's own; torch's own error in float
is shown beside it. Per tensor the error is max|a-b| / max|b|. Where the true gradient
vanishes (a shift before a batch norm), max|b| is that of the layer's other parameter.

A gradient jumps where a ReLU's input crosses 0 and where two values of a max pooling window
tie. Among millions of values some lie so near that rounding decides; there no two engines
agree (torch in float is off by 1e-2 from torch in double). So biases are nudged until no
ReLU's input is that near, and seeds are those where no window is. Nets with many
windows are compared on smaller images, and in their outputs on images of full size, too.

Exit status: 0 all agree, 1 they do not, 77 torch or torchvision is not installed.
"""
import copy
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
THREADS = 2
# Too near, in a layer's root mean squares: many times float's error in the deepest layers.
# (The values of a window share much of theirs.)
NEAR_KINK, NEAR_TIE = 3e-5, 2e-6


def googlenet():
    return torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False,
                                        transform_input=False)


# zoo name: (torchvision's constructor; for gradients: images, their size, the seed)
NETS = {
    "alexnet-torchvision": (torchvision.models.alexnet, 3, 224, 3),
    "googlenet-torchvision": (googlenet, 2, 96, 53),
    "squeezenet-1.0": (torchvision.models.squeezenet1_0, 2, 112, 9),
    "squeezenet-1.1": (torchvision.models.squeezenet1_1, 2, 112, 2),
    "mobilenet-v2": (torchvision.models.mobilenet_v2, 2, 224, 1),
    "resnet-18": (torchvision.models.resnet18, 2, 224, 43),
}
FULL_SIZE = 224


def make_model(name, seed):
    """The network in double, dropout off, batch norm with values that matter."""
    torch.manual_seed(seed)
    model = NETS[name][0]().double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            # Mostly positive: where half of all ReLUs cut, rounding errors grow layer by layer.
            torch.nn.init.normal_(module.bias, 1.5, 0.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    # Weights that are floats exactly: both sides start from the same numbers.
    with torch.no_grad():
        for tensor in list(model.parameters()) + list(model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.float())
    return model


class Settler:
    """While active, forward passes move biases so that no ReLU's input is near a kink, and
    note the nearest tie of a max pooling window."""

    def __init__(self, model):
        self.functions = torch.nn.functional
        self.kept = {name: getattr(self.functions, name)
                     for name in ("relu", "hardtanh", "max_pool2d")}
        self.nudges, self.nearest_tie, self.last = 0, np.inf, None
        self.hooks = [module.register_forward_hook(self.note) for module in model.modules()
                      if getattr(module, "bias", None) is not None]

    def note(self, module, _inputs, _output):
        self.last = module  # the layer whose bias shifts what comes next

    def clear_of(self, x, kinks):
        """x with channels shifted, and with them the last bias, until no value is near."""
        near = NEAR_KINK * x.pow(2).mean().sqrt()
        rows = x.transpose(0, 1).flatten(1)  # a view where x has one image only
        for channel in range(rows.shape[0]):
            row = rows[channel]
            while min((row - kink).abs().min() for kink in kinks) < near:
                old = self.last.bias[channel].clone()
                self.last.bias[channel] = (old + 4 * near).float()
                row = row + (self.last.bias[channel] - old)
                self.nudges += 1
            x[:, channel] = row.reshape(x[:, channel].shape)
        return x

    def relu(self, x, inplace=False):
        return self.kept["relu"](self.clear_of(x, [0.0]))

    def hardtanh(self, x, low, high, inplace=False):
        return self.kept["hardtanh"](self.clear_of(x, [low, high]), low, high)

    def max_pool2d(self, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
                   return_indices=False):
        stride = stride or kernel_size
        # Room for ceil mode's last window. Ties of zeros after a ReLU have no gradient, and
        # equal values are copies of one, from a pool before: its gradient stays one sum.
        room = (padding, padding + stride, padding, padding + stride)
        windows = self.functions.pad(x, room, value=-np.inf)
        windows = windows.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)
        top = windows.flatten(4).topk(2, dim=4).values
        gaps = top[..., 0] - top[..., 1]
        gaps = gaps[(top[..., 0] > 0) & (gaps > 0)]
        tie = (gaps.min() / x.pow(2).mean().sqrt()).item()
        self.nearest_tie = min(self.nearest_tie, tie)
        return self.kept["max_pool2d"](x, kernel_size, stride, padding, dilation, ceil_mode)

    def __enter__(self):
        for name in self.kept:
            setattr(self.functions, name, getattr(self, name))
        return self

    def __exit__(self, *_):
        for name, function in self.kept.items():
            setattr(self.functions, name, function)
        for hook in self.hooks:
            hook.remove()


def make_settled(name, seed):
    """A model, images and labels for a comparison of gradients, and the nearest tie."""
    _, count, size, _ = NETS[name]
    model = make_model(name, seed)
    images = torch.randn(count, 3, size, size).float().double()
    labels = torch.randint(0, 1000, (count,))
    buffers = {key: buffer.clone() for key, buffer in model.named_buffers()}
    model.train()
    with torch.no_grad(), Settler(model) as settler:
        model(images)
    for key, buffer in model.named_buffers():
        buffer.copy_(buffers[key])
    print(f"{name}: {count} images of {size}x{size}, seed {seed}, {settler.nudges} biases "
          f"nudged, nearest tie {settler.nearest_tie:.1e}")
    return model, images, labels, settler.nearest_tie


def find_seed(name, count):
    """The seed of 1..count with the farthest nearest tie: how those in NETS were found."""
    ties = [make_settled(name, seed)[3] for seed in range(1, count + 1)]
    print(f"{name}: the best seed is {1 + ties.index(max(ties))}")


def net_text(zoo, name, size):
    """The zoo's text without dropout, for images of size x size."""
    text = (pathlib.Path(zoo) / f"{name}.net").read_text()
    lines = []
    for line in text.splitlines():
        if re.match(r"\s*\S+\s*=\s*dropout\b", line):
            line = re.sub(r"\s+rate=\S+", "", line.split("#")[0]) + " rate=0"
        lines.append(re.sub(r"^(input\s+\S+\s+)3x224x224", rf"\g<1>3x{size}x{size}", line))
    return "\n".join(lines) + "\n"


def names_of(params, state):
    """Our parameters' names, which must be torch's, with the same shapes and none left."""
    for name, shape in params:
        if name not in state:
            sys.exit(f"torch has no tensor {name}")
        if tuple(state[name].shape) != shape:
            sys.exit(f"{name} is {shape} here and {tuple(state[name].shape)} in torch")
    names = [name for name, _ in params]
    unused = [name for name in state if name not in names
              and not name.endswith("num_batches_tracked")]
    if unused:
        sys.exit(f"torch has tensors that the net lacks: {unused}")
    return names


def parameters_of(net_dump, checkpoint):
    text = subprocess.run([net_dump, "params", checkpoint], check=True, stdout=subprocess.PIPE,
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
    # torchvision names what its aux2 computes aux_logits1, and the other way round.
    outputs = [outputs] if torch.is_tensor(outputs) else [
        outputs.logits, outputs.aux_logits2, outputs.aux_logits1]
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


def largest(tensor):
    return tensor.detach().abs().max().item()


def error(ours, theirs, scale):
    theirs = theirs.detach().double().numpy().ravel()
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return np.inf
    return np.abs(ours - theirs).max() / scale


def scale_of(results, key):
    """max|b| of a tensor, or of its layer's other parameter where its gradient vanishes."""
    scale = largest(results[key])
    layer, dot, suffix = key.rpartition(".")
    other = f"{layer}.{'weight' if suffix == 'bias' else 'bias'}"
    if key.startswith("gradient.") and other in results and \
            scale < 1e-9 * largest(results[other]):
        scale = largest(results[other])
    return scale


def keyed_heads(results, folder):
    """Torch's heads under the names of our files: head.aux1.prob, ..., head.prob."""
    heads = results.pop("heads")
    names = sorted(path.name for path in folder.glob("head.*"))
    assert len(names) == len(heads), (names, len(heads))
    for name in names:
        digit = re.search("[12]", name) if len(names) > 1 else None
        results[name] = heads[int(digit.group()) if digit else 0]


def compare(net_dump, zoo, folder, name, model, images, labels):
    """Rows of (what, wattle's error, torch's own error in float)."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    count, size = images.shape[0], images.shape[2]
    state = model.state_dict()
    text = net_text(zoo, name, size)
    checkpoint = folder / "net.wtl"
    wtl.write(checkpoint, text, {})  # to ask for the names of the parameters
    names = names_of(parameters_of(net_dump, checkpoint), state)
    wtl.write(checkpoint, text, {key: state[key].numpy() for key in names})
    images.numpy().astype("<f4").tofile(folder / "images")
    labels.numpy().astype("<i4").tofile(folder / "labels")
    subprocess.run([net_dump, "run", checkpoint, folder / "images", folder / "labels",
                    str(count), str(THREADS), folder], check=True)

    single = copy.deepcopy(model).float()
    want, in_float = torch_results(model, images, labels), \
        torch_results(single, images.float(), labels)
    keyed_heads(want, folder)
    keyed_heads(in_float, folder)
    rows = []
    for key, tensor in want.items():
        if key.endswith("num_batches_tracked"):
            continue
        ours = np.fromfile(folder / key, dtype="<f4").astype(np.float64)
        theirs = in_float[key].detach().double().numpy().ravel()
        scale = scale_of(want, key)
        rows.append((key, error(ours, tensor, scale), error(theirs, tensor, scale)))
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


def run(net_dump, zoo, scratch, name):
    _, count, size, seed = NETS[name]
    folder = pathlib.Path(scratch) / name
    model, images, labels, tie = make_settled(name, seed)
    if tie < NEAR_TIE:
        sys.exit(f"{name}: seed {seed} has a tie; look for another: compare_torch.py seed {name}")
    good = report(name, compare(net_dump, zoo, folder, name, model, images, labels))
    if size != FULL_SIZE:
        model = make_model(name, 1)
        images = torch.randn(count, 3, FULL_SIZE, FULL_SIZE).float().double()
        rows = compare(net_dump, zoo, folder, name, model, images, labels)
        rows = [row for row in rows if not row[0].startswith("gradient.")]
        print(f"{name}: {count} images of {FULL_SIZE}x{FULL_SIZE}, outputs only")
        good = report(name, rows) and good
    return good


def main():
    torch.set_num_threads(THREADS)
    if sys.argv[1] == "seed":
        find_seed(sys.argv[2], int(sys.argv[3]))
        return
    net_dump, zoo, scratch, *names = sys.argv[1:]
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    results = [run(os.path.abspath(net_dump), zoo, scratch, name) for name in names or NETS]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
