#!/usr/bin/env bash
# Trains the AlexNet shape and ResNet-20 on CIFAR-10 and reports the last epoch on the test
# images. Seed 0. DATA is "cifar10:DIR" or "folder:DIR" with train/CLASS and test/CLASS.
#   tools/experiments/cifar10.sh OUT DATA       (WATTLE: the command, default: build/release)
data=${2:?usage: cifar10.sh OUT DATA}
. "$(dirname "$0")/common.sh"

train_and_test resnet-20 "$data" --epochs 25 --lr 0.1 --augment cifar
train_and_test alexnet-32 "$data" --epochs 20 --lr 0.05 --augment cifar
