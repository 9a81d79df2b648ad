"""The torch side of `versus`: a worker that keeps one network ready.

    torch_worker.py NET train|infer BATCH THREADS    on each line "K" of stdin runs K steps and
                                                     answers with the seconds they took
    torch_worker.py export NET FILE                  writes the network for inference as ONNX
    torch_worker.py probe NET THREADS                which of SGD's two forms is faster here

The first line of its output is JSON: parameters, macs, how it runs. As tuned as torch users
tune it: channels_last, batch norm folded into convolutions for inference, the faster form of
SGD; malloc and the binding of threads come by the environment that `versus` sets.
"""
import json
import subprocess
import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn

import torch_nets


def make(name):
    build, shape, classes = torch_nets.NETS[name]
    torch.manual_seed(1)
    return build(), shape, classes


def make_inputs(batch, shape, classes):
    images = torch.rand(batch, *shape) * 2 - 1
    return images.to(memory_format=torch.channels_last), torch.randint(0, classes, (batch,))


def make_optimizer(model, foreach):
    return torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4,
                           foreach=foreach)


def inference_step(name, batch):
    from torch.fx.experimental import optimization
    model, shape, classes = make(name)
    model = optimization.fuse(model.eval())
    model = nn.Sequential(model, nn.Softmax(1)).to(memory_format=torch.channels_last)
    images, _ = make_inputs(batch, shape, classes)

    def step():
        with torch.inference_mode():
            model(images)
    return step, "channels_last, batch norm folded"


def training_step(name, batch, threads):
    probe = [sys.executable, __file__, "probe", name, str(threads)]
    foreach = json.loads(subprocess.run(probe, check=True, stdout=subprocess.PIPE).stdout)
    model, shape, classes = make(name)
    model.train().to(memory_format=torch.channels_last)
    images, labels = make_inputs(batch, shape, classes)
    optimizer = make_optimizer(model, foreach)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return step, f"channels_last, foreach {'on' if foreach else 'off'}"


def probe(name):
    """In a process of its own, as foreach takes memory that would count as the worker's."""
    model, shape, classes = make(name)
    images, labels = make_inputs(2, shape, classes)
    model.train().to(memory_format=torch.channels_last)
    F.cross_entropy(model(images), labels).backward()
    optimizer, best = make_optimizer(model, False), {False: 1e9, True: 1e9}
    for _ in range(6):
        for foreach in best:
            optimizer.param_groups[0]["foreach"] = foreach
            begin = time.perf_counter()
            optimizer.step()
            best[foreach] = min(best[foreach], time.perf_counter() - begin)
    print(json.dumps(best[True] < best[False]))


def export(name, path):
    warnings.simplefilter("ignore")  # notes on the exporter itself
    model, shape, _ = make(name)
    model = nn.Sequential(model.eval(), nn.Softmax(1))
    torch.onnx.export(model, torch.zeros(1, *shape), path, opset_version=13,
                      input_names=["images"], output_names=["probabilities"],
                      dynamic_axes={"images": {0: "batch"}, "probabilities": {0: "batch"}})


def serve(name, mode, batch, threads):
    torch.set_num_threads(threads)
    step, how = (training_step(name, batch, threads) if mode == "train"
                 else inference_step(name, batch))
    parameters, macs = torch_nets.count(name)
    print(json.dumps({"version": f"torch {torch.__version__}", "how": how,
                      "parameters": parameters, "macs": macs}), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - begin, flush=True)


def main(arguments):
    if arguments[0] == "export":
        export(arguments[1], arguments[2])
    elif arguments[0] == "probe":
        torch.set_num_threads(int(arguments[2]))
        probe(arguments[1])
    else:
        serve(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]))


if __name__ == "__main__":
    main(sys.argv[1:])
