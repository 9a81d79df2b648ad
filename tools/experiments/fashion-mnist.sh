#!/usr/bin/env bash
# Trains LeNet-5 and the AlexNet shape on Fashion-MNIST for 10 epochs each and reports the last
# epoch on the test images. Seed 0. About 10 minutes on one core.
#   tools/experiments/fashion-mnist.sh OUT      (WATTLE: the command, default: build/release)
. "$(dirname "$0")/common.sh"

train_and_test lenet5 fashion-mnist --epochs 10 --lr 0.02 --augment flip
train_and_test alexnet-28 fashion-mnist --epochs 10 --lr 0.05 --augment flip
