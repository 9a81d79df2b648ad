#!/bin/bash
# Wrong usage: exit code 64 and one line, as stored.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1

while IFS= read -r line; do
    [ -n "$line" ] || continue
    eval "set -- $line"
    expect_error 64 "" "$@"
    { echo "\$ wattle $line"; cat "$work/err"; } >>"$work/all"
done <<'LINES'

trian
--bogus
help trian
train
train --net lenet5
train --net lenet5 --data idx:d
train --net lenet5 --data idx:d --out r extra
train --eproch 3
train -z
train --epochs
train --epochs 0
train --epochs 1e9
train --epochs 3x
train --lr nan
train --lr -1
train --momentum 1
train --optimizer adm
train --net ''
train --quiet=1
train --seed -1
train --threads 0
train --color sometimes
train --resume
train --resume --out r --lr 0.1
train --resume --out r --force
train --resume --out r --seed 1
train --net lenet5 --data idx:d@test --out r
train --net lenet5 --data idx:d --out r --gamma 0.1
train --net lenet5 --data idx:d --out r --schedule step --final-share 0.1
train --net lenet5 --data idx:d --out r --epochs 3 --warmup 4
train --net lenet5 --data idx:d --out r --whole-train --val-share 0.2
train --net lenet5 --data idx:d --out r --augment cifr
eval
eval a.wtl
eval a.wtl b.wtl --data idx:d
eval a.wtl --data idx:d --engine blass
eval a.wtl --data idx:d --images 0
infer
infer a.wtl
infer a.wtl b.png --top 0
info
info lenet5 googlenet-28
info --zoo lenet5
info lenet5 --batch 0
energy
energy lenet5 alexnet-28
energy --hw-list lenet5
energy lenet5 --against alexnet-28 --against-hw tpu-like
energy lenet5 --mapping m.txt --against-hw tpu-like
energy lenet5 --csv --against alexnet-28
energy lenet5 --csv --json
energy lenet5 --images 5
energy lenet5 --data idx:d
energy lenet5 --batch 0
energy lenet5 --bits 33
energy lenet5 --hw ''
sense
sense a.wtl
sense a.wtl b.wtl --data idx:d
sense a.wtl --data idx:d --csv --json
sense a.wtl --data idx:d --out x --plot x
sense a.wtl --data idx:d --images 0
sense a.wtl --data idx:d --sparsities 0,1.1
sense a.wtl --data idx:d --sparsities 0,nan
sense a.wtl --data idx:d --sparsities 0.5,0.5
sense a.wtl --data idx:d --sparsities 0.1,
sense a.wtl --data idx:d --sparsities 0.1,,0.2
sense a.wtl --data idx:d --sparsity 0.1
sense a.wtl --data idx:d --granularity 4
prune
prune a.wtl
prune a.wtl --data idx:d --out r
prune a.wtl --data idx:d --target-energy 0.5
prune a.wtl b.wtl --data idx:d --out r --target-energy 0.5
prune a.wtl --data idx:d --out r --target-energy 0
prune a.wtl --data idx:d --out r --target-energy 1.5
prune a.wtl --data idx:d --out r --target-energy 50%
prune a.wtl --data idx:d --out r --max-drop -1
prune a.wtl --data idx:d --out r --target-energy 0.5 --step 0.5
prune a.wtl --data idx:d --out r --max-drop 1 --metric top3
prune a.wtl --data idx:d --out r --max-drop 1 --keep conv1
prune a.wtl --data idx:d --out r --max-drop 1 --keep conv1=2
prune a.wtl --data idx:d --out r --max-drop 1 --exclude =
prune a.wtl --data idx:d --out r --max-drop 1 --allocation equal
prune a.wtl --data idx:d --out r --max-drop 1 --granularity 3x1
prune a.wtl --data idx:d --out r --max-drop 1 --granularity weights
prune a.wtl --data idx:d --out r --max-drop 1 --augment flipp
prune a.wtl --data idx:d --out r --max-drop 1 --target-enrgy 0.5
prune --resume
prune --resume --out r --lr 0.1
prune --resume --out r --granularity 4x1
prune a.wtl --resume --out r
finetune
finetune a.wtl --data idx:d
finetune a.wtl --data idx:d --out r --epochs -1
finetune a.wtl --data idx:d --out r --distill 2
finetune --resume
finetune --resume --out r --lr 0.1
compare
compare a.wtl --data idx:d
compare a.wtl --data idx:d@test --out r
compare a.wtl --data idx:d --out r --methods energy-awre
compare a.wtl --data idx:d --out r --methods random,random
compare a.wtl --data idx:d --out r --budgets 0.5,0.5
compare a.wtl --data idx:d --out r --budgets 0.5,x
compare a.wtl --data idx:d --out r --budgets 1.5
compare a.wtl --data idx:d --out r --seeds 0
compare --resume
compare --resume --out r --epochs 1
compare --resume --out r --granularity weight
compare a.wtl --resume --out r
report
report r s
report r --out ''
report r --epochs 3
bench
bench lenet5 alexnet-28
bench lenet5 --batches 0
bench lenet5 --batches 1,
bench lenet5 --batches 1,x
bench lenet5 --batches ''
bench lenet5 --threads-list 1,2000
bench lenet5 --threads 1 --threads-list 1,2
bench lenet5 --repeats 0
bench lenet5 --seconds -1
bench lenet5 --csv --json
bench lenet5 --csv --markdown
bench lenet5 --train --no-fold
demo fast
demo --epochs 0
demo --final-epochs x
LINES
run
[ $code -eq 64 ] || fail "exit $code without a command"
{ echo "\$ wattle"; cat "$work/err"; } >>"$work/all"
[ ! -e "$work/r" ] || fail "a refused command left a folder"
same_as usage.txt "$work/all"
finish
