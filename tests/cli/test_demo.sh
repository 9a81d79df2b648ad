#!/bin/bash
# wattle demo begins, is interrupted in the first of its four chapters, and goes on there; the
# whole of it takes minutes and is not run here.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
if [ ! -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]; then
    expect_error 66 "dataset-fashion-mnist" demo --out d -q
    [ ! -e d/ckpt/last.wtl ] || fail "a checkpoint without data"
    finish
fi

for turn in begins goes-on; do
    "$WATTLE" demo --out d >out 2>err &
    pid=$!
    wait_for '[ -s d/log.jsonl ] && [ "$(wc -l <d/log.jsonl)" -gt "${lines:-0}" ] ||
        ! kill -0 $pid 2>/dev/null'
    kill -TERM $pid
    wait $pid
    code=$?
    lines=$(wc -l <d/log.jsonl)
    [ $code -eq 75 ] || fail "exit $code, not 75: the demo $turn"
    grep -qF "go on with 'wattle demo --out d'" err || fail "no way to go on"
    [ "$(grep -c "^\[1/4\] train" err)" -eq 1 ] || fail "the demo $turn without its first chapter"
    ! grep -q "^\[2/4\]" err || fail "the demo $turn with the second chapter before the first is done"
    [ ! -e d/compare ] || fail "a comparison of a network that is not trained"
    [ $turn = begins ] || grep -q "^going on with d" err || fail "the demo starts anew"
    expect 0 info d/ckpt/last.wtl
    in_output "alexnet-28"
done
expect_error 64 "--force" demo --out d --seed 3
expect_error 73 "" demo --out err/d -q
finish
