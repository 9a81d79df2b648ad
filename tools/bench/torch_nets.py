"""Networks of wattle's zoo (models/zoo/*.net) in plain torch, without auxiliary heads, as their
users write them; what `versus` compares wattle with.

    NETS[name] is (constructor, input channels and sides, classes)

All give logits. They must have the parameters and multiply-accumulates of the zoo's: see count().
"""
import torch
import torch.nn.functional as F
from torch import nn


class OnnxLRN(torch.autograd.Function):
    """One operator where torch's own export would write padding, pooling and powers."""

    @staticmethod
    def symbolic(g, x, size, alpha, beta, k):
        return g.op("LRN", x, size_i=size, alpha_f=alpha, beta_f=beta, bias_f=k)

    @staticmethod
    def forward(ctx, x, size, alpha, beta, k):
        return F.local_response_norm(x, size, alpha, beta, k)


class LRN(nn.LocalResponseNorm):
    def forward(self, x):
        if torch.onnx.is_in_onnx_export():
            return OnnxLRN.apply(x, self.size, self.alpha, self.beta, self.k)
        return super().forward(x)


def lrn():
    return LRN(5, alpha=1e-4, beta=0.75, k=1.0)


def relu():
    return nn.ReLU(inplace=True)


def conv_relu(inputs, outputs, kernel, **options):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, **options), relu())


def conv_bn(inputs, outputs, kernel, eps=1e-5, activation=relu, **options):
    layers = [nn.Conv2d(inputs, outputs, kernel, bias=False, **options),
              nn.BatchNorm2d(outputs, eps=eps)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


# ---- AlexNet ----

def alexnet_torchvision():
    return nn.Sequential(
        conv_relu(3, 64, 11, stride=4, padding=2), nn.MaxPool2d(3, 2),
        conv_relu(64, 192, 5, padding=2), nn.MaxPool2d(3, 2),
        conv_relu(192, 384, 3, padding=1),
        conv_relu(384, 256, 3, padding=1),
        conv_relu(256, 256, 3, padding=1), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(256 * 36, 4096), relu(),
        nn.Dropout(0.5), nn.Linear(4096, 4096), relu(),
        nn.Linear(4096, 1000))


def alexnet_bvlc():
    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        conv_relu(3, 96, 11, stride=4), lrn(), pool(),
        conv_relu(96, 256, 5, padding=2, groups=2), lrn(), pool(),
        conv_relu(256, 384, 3, padding=1),
        conv_relu(384, 384, 3, padding=1, groups=2),
        conv_relu(384, 256, 3, padding=1, groups=2), pool(), nn.Flatten(),
        nn.Linear(256 * 36, 4096), relu(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), relu(), nn.Dropout(0.5),
        nn.Linear(4096, 1000))


# ---- GoogLeNet ----

class Inception(nn.Module):
    """1x1; 1x1 then 3x3; 1x1 then `third` x `third`; pool then 1x1: side by side."""

    def __init__(self, conv, third, inputs, one, three_in, three, five_in, five, pooled):
        super().__init__()
        self.branches = nn.ModuleList([
            conv(inputs, one, 1),
            nn.Sequential(conv(inputs, three_in, 1), conv(three_in, three, 3, padding=1)),
            nn.Sequential(conv(inputs, five_in, 1),
                          conv(five_in, five, third, padding=third // 2)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv(inputs, pooled, 1))])

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def inceptions(conv, third, last_pool):
    """The nine of them, with the pools between: what both GoogLeNets share."""
    return nn.Sequential(
        Inception(conv, third, 192, 64, 96, 128, 16, 32, 32),
        Inception(conv, third, 256, 128, 128, 192, 32, 96, 64),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Inception(conv, third, 480, 192, 96, 208, 16, 48, 64),
        Inception(conv, third, 512, 160, 112, 224, 24, 64, 64),
        Inception(conv, third, 512, 128, 128, 256, 24, 64, 64),
        Inception(conv, third, 512, 112, 144, 288, 32, 64, 64),
        Inception(conv, third, 528, 256, 160, 320, 32, 128, 128),
        nn.MaxPool2d(last_pool, 2, ceil_mode=True),
        Inception(conv, third, 832, 256, 160, 320, 32, 128, 128),
        Inception(conv, third, 832, 384, 192, 384, 48, 128, 128))


def googlenet_torchvision():
    def conv(inputs, outputs, kernel, **options):
        return conv_bn(inputs, outputs, kernel, eps=0.001, **options)
    return nn.Sequential(
        conv(3, 64, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, ceil_mode=True),
        conv(64, 64, 1), conv(64, 192, 3, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True),
        inceptions(conv, 3, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1024, 1000))


def googlenet_bvlc():
    return nn.Sequential(
        conv_relu(3, 64, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, ceil_mode=True), lrn(),
        conv_relu(64, 64, 1), conv_relu(64, 192, 3, padding=1), lrn(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        inceptions(conv_relu, 5, 3),
        nn.AvgPool2d(7, 1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, 1000))


# ---- SqueezeNet ----

class Fire(nn.Module):
    def __init__(self, inputs, squeezed, expanded):
        super().__init__()
        self.squeeze = conv_relu(inputs, squeezed, 1)
        self.one = conv_relu(squeezed, expanded, 1)
        self.three = conv_relu(squeezed, expanded, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x)
        return torch.cat([self.one(x), self.three(x)], 1)


def squeezenet():
    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        conv_relu(3, 96, 7, stride=2), pool(),
        Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), pool(),
        Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), pool(),
        Fire(512, 64, 256), nn.Dropout(0.5), conv_relu(512, 1000, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())


# ---- MobileNets ----

def relu6():
    return nn.ReLU6(inplace=True)


def mobilenet_v1():
    def conv(inputs, outputs, kernel, **options):
        return conv_bn(inputs, outputs, kernel, eps=0.001, activation=relu6, **options)
    layers, channels = [conv(3, 32, 3, stride=2, padding=1)], 32
    for outputs, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
                            *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        layers += [conv(channels, channels, 3, stride=stride, padding=1, groups=channels),
                   conv(channels, outputs, 1)]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        expand = [conv_bn(inputs, wide, 1, activation=relu6)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            conv_bn(wide, wide, 3, activation=relu6, stride=stride, padding=1, groups=wide),
            conv_bn(wide, outputs, 1, activation=None))

    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)


def mobilenet_v2():
    layers, channels = [conv_bn(3, 32, 3, activation=relu6, stride=2, padding=1)], 32
    for expansion, outputs, count, stride in [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(count):
            layers.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, expansion))
            channels = outputs
    return nn.Sequential(*layers, conv_bn(320, 1280, 1, activation=relu6),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
                         nn.Linear(1280, 1000))


# ---- ResNet for CIFAR ----

class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut has no parameters (option A)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride, self.grown = outputs // inputs, outputs - inputs
        self.layers = nn.Sequential(
            conv_bn(inputs, outputs, 3, stride=self.stride, padding=1),
            conv_bn(outputs, outputs, 3, activation=None, padding=1))

    def forward(self, x):
        y = self.layers(x)
        if self.grown:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.grown))
        return F.relu(x + y, inplace=True)


def resnet_20():
    widths = [16] * 4 + [32] * 3 + [64] * 3
    return nn.Sequential(
        conv_bn(3, 16, 3, padding=1),
        *[Block(inputs, outputs) for inputs, outputs in zip(widths, widths[1:])],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


NETS = {
    "alexnet-torchvision": (alexnet_torchvision, (3, 224, 224), 1000),
    "alexnet-bvlc": (alexnet_bvlc, (3, 227, 227), 1000),
    "googlenet-torchvision": (googlenet_torchvision, (3, 224, 224), 1000),
    "googlenet-bvlc": (googlenet_bvlc, (3, 224, 224), 1000),
    "squeezenet-1.0": (squeezenet, (3, 224, 224), 1000),
    "mobilenet-v1": (mobilenet_v1, (3, 224, 224), 1000),
    "mobilenet-v2": (mobilenet_v2, (3, 224, 224), 1000),
    "resnet-20": (resnet_20, (3, 32, 32), 10),
}


def count(name):
    """Parameters, and multiply-accumulates of convolutions and linear layers for one image."""
    make, shape, _ = NETS[name]
    model, macs = make().eval(), 0

    def note(module, _inputs, output):
        nonlocal macs
        # Each output value is one row of weights times what it sees.
        macs += output[0].numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(note)
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    return sum(parameter.numel() for parameter in model.parameters()), macs
