#!/bin/bash
# wattle finetune: pruned weights stay zero, the split is the checkpoint's, a run that is
# interrupted or killed goes on bit for bit, and every misuse gets one line and its exit code.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_dense 12 --seed 5 # holds out other images than the default seed does
expect 0 prune $dense --data idx:d --out p --method magnitude-global --target-energy 0.9 \
    --rounds 1 --threads 1 --batch 16 --epochs 0.1 --final-epochs 0.1 --recalibrate 5 -q
[ -s p/ckpt/pruned.wtl ] || finish
pruned=p/ckpt/pruned.wtl
tune="finetune $pruned --data idx:d --threads 1 --batch 16"

# nonzero FILE: its weights that are not zero.
nonzero()
{
    "$WATTLE" energy "$1" --json | sed -nE 's/^  "weights_not_zero": ([0-9]+)(\.0)?,?$/\1/p'
}

# scores NAME: the three numbers of that object of the JSON on stdout.
scores()
{
    sed -nE "/^  \"$1\": \{/,/\}/s/^ +\"(loss|top1|top5)\": ([0-9.e-]+),?/\2/p" out
}

# ---- the result ----
expect 0 $tune --out a --epochs 2.5
grep -qE '^before   Acc@1 [0-9.]+ Acc@5 100.00 loss [0-9.]+  32 validation images$' out ||
    fail "no line before: $(cat out)"
grep -qE '^after    Acc@1 [0-9.]+ Acc@5 100.00 loss [0-9.]+  32 validation images$' out ||
    fail "no line after: $(cat out)"
grep -qE '^density  0\.[0-9]{4} of the weights, [0-9]+ of 584$' out || fail "density: $(cat out)"
in_output "after 2.5 epochs (45 steps)" # 288 images are 18 batches
[ "$(grep -cE '^epoch (1|2|2.5)  loss ' err)" -eq 3 ] || fail "not one line an epoch"
for file in config.json metrics.csv ckpt/last.wtl ckpt/finetuned.wtl; do
    [ -s "a/$file" ] || fail "no a/$file"
done
[ "$(head -1 a/metrics.csv)" = \
    step,epochs,rate,train_loss,train_top1,val_loss,val_top1,val_top5 ] || fail "metrics.csv"
[ "$(cut -d, -f1 a/metrics.csv | tr '\n' ' ')" = "step 0 18 36 45 45 " ] ||
    fail "metrics.csv: $(cat a/metrics.csv)"
kept=$(nonzero $pruned)
[ "$kept" -gt 50 ] && [ "$kept" -lt 580 ] || fail "$kept weights: not pruned"
[ "$(nonzero a/ckpt/finetuned.wtl)" = "$kept" ] || fail "weights came back"
cmp -s $pruned a/ckpt/finetuned.wtl && fail "nothing was learned"

# eval sees the same images before and after: the split of seed 5 is the checkpoint's, and
# handed on; --seed changes the order alone.
expect 0 $tune --out b --epochs 1 --seed 9 -q --json
[ ! -s err ] || fail "--quiet is not quiet"
[ "$(field val_images)" = 32 ] && [ "$(field steps)" = 18 ] || fail "$(cat out)"
awk "BEGIN { d = $(field density); exit !(d > 0 && d < 1) }" || fail "density: $(cat out)"
before=$(scores before)
after=$(scores after)
for file in $pruned b/ckpt/finetuned.wtl; do
    want=$before
    [ $file = $pruned ] || want=$after
    expect 0 eval $file --data idx:d --json
    [ "$(field top1) $(field images)" = "$(echo $want | cut -d' ' -f2) 32" ] ||
        fail "eval $file: $(field top1), finetune $want"
    awk "BEGIN { exit !(($(field loss) - $(echo $want | cut -d' ' -f1)) ^ 2 < 1e-10) }" ||
        fail "eval $file: loss $(field loss), finetune $want"
done
expect 0 $tune --out c --epochs 1 -q --json
[ "$(scores before)" = "$before" ] || fail "the seed changes the validation images"
[ "$(scores after)" != "$after" ] || fail "the seed changes nothing"

# Every option is taken; what has an effect has one; equal runs are equal.
expect 0 $tune --out e1 --epochs 0.5 --lr 0.02 --final-share 0.1 --opt adam --momentum 0.8 \
    --wd 0.01 --clip 5 --ema 0.9 --label-smoothing 0.1 --distill 0.7 --teacher $dense \
    --temperature 4 --recalibrate 3 --augment flip -j 2 --save-minutes 1 --seed 3 -q
expect 0 $tune --out e2 --epochs 0.5 --lr 0.02 --final-share 0.1 --opt adam --momentum 0.8 \
    --wd 0.01 --clip 5 --ema 0.9 --label-smoothing 0.1 --distill 0.7 --teacher $dense \
    --temperature 4 --recalibrate 3 --augment flip --seed 3 -q
cmp e1/ckpt/finetuned.wtl e2/ckpt/finetuned.wtl || fail "two equal runs differ"
[ "$(nonzero e1/ckpt/finetuned.wtl)" = "$kept" ] || fail "weights came back, distilled"
n=0
while read -r option; do
    n=$((n + 1))
    expect 0 $tune --out "o$n" --epochs 0.5 -q $option
    [ $n -eq 1 ] || ! cmp -s "o$n/ckpt/finetuned.wtl" o1/ckpt/finetuned.wtl ||
        fail "$option changes nothing"
done <<OPTIONS

--epochs 0.25
--lr 0.02
--final-share 0.5
--momentum 0.5
--weight-decay 0.05
--optimizer sgd
--batch 8
--augment flip
--label-smoothing 0.1
--distill 0.5 --teacher $dense
--ema 0.9
--recalibrate 3
--recalibrate -1
--clip 0.1
OPTIONS

# ---- interrupted ----
long="--epochs 10 --batch 1 --distill 0.5 --teacher $dense --ema 0.99 --opt adam -q"
began=$(date +%s%N)
expect 0 $tune --out whole $long
most_ms=$((($(date +%s%N) - began) / 4000000 + 1)) # a quarter of the time it takes
next="$tune --out parts $long --save-minutes 0.0001"
for signal in TERM INT; do
    old=$(stat -c %Y.%i parts/ckpt/last.wtl 2>/dev/null)
    "$WATTLE" $next >out 2>err &
    pid=$!
    wait_for '[ -e parts/ckpt/last.wtl ] && [ "$(stat -c %Y.%i parts/ckpt/last.wtl)" != "$old" ]'
    kill -$signal $pid
    wait $pid
    code=$?
    [ $code -eq 75 ] || fail "exit $code, not 75, after SIG$signal"
    [ "$(wc -l <err)" -eq 1 ] || fail "not one line after SIG$signal"
    grep -qF "go on with 'wattle finetune --resume --out parts'" err || fail "no way to go on"
    [ ! -e parts/ckpt/finetuned.wtl ] || fail "interrupted, and finished"
    next="finetune --resume --out parts -q"
done
expect 0 finetune --resume --out parts
cp out result
cmp whole/ckpt/finetuned.wtl parts/ckpt/finetuned.wtl || fail "the resumed run has other bytes"
cmp whole/metrics.csv parts/metrics.csv || fail "the resumed run has other metrics"
# A finished one tells its result again and changes nothing.
expect 0 finetune --resume --out parts
cmp out result || fail "the result of a finished run"
cmp whole/ckpt/finetuned.wtl parts/ckpt/finetuned.wtl || fail "a finished run was changed"

# ---- killed ----
RANDOM=${WTL_TEST_SEED:-$$}
echo "WTL_TEST_SEED=$RANDOM"
kill_thrice finetune killed "$most_ms" ${tune#finetune } $long --save-minutes 0.0001
cmp whole/ckpt/finetuned.wtl killed/ckpt/finetuned.wtl || fail "a killed run has other bytes"
cmp whole/metrics.csv killed/metrics.csv || fail "a killed run has other metrics"

# ---- misuse ----
t="--epochs 0.1 --batch 16 -q"
expect_error 64 "CKPT is missing" finetune --data idx:d --out x $t
expect_error 64 "--data DATA is missing" finetune $pruned --out x $t
expect_error 64 "--out RUN is missing" finetune $pruned --data idx:d $t
expect_error 64 "one argument too many" finetune $pruned $dense --data idx:d --out x $t
expect_error 64 "epochs" finetune $pruned --data idx:d --out x --epochs 0
expect_error 64 "--teacher CKPT" finetune $pruned --data idx:d --out x $t --distill 0.5
expect_error 64 "--distill A" finetune $pruned --data idx:d --out x $t --teacher $dense
expect_error 64 "--distill A" finetune $pruned --data idx:d --out x $t --temperature 3
expect_error 64 "distill" finetune $pruned --data idx:d --out x $t --distill 1.5
expect_error 64 "not 'flipp'" finetune $pruned --data idx:d --out x $t --augment flipp
expect_error 64 "leave @test out" finetune $pruned --data idx:d@test --out x $t
expect_error 64 "" finetune $pruned --data fashion --out x $t
expect_error 64 "--resume needs --out RUN" finetune --resume
expect_error 64 "--lr cannot change" finetune --resume --out a --lr 0.1
expect_error 64 "leave $pruned out" finetune $pruned --resume --out a
expect_error 64 "holds a run already" finetune $pruned --data idx:d --out a $t
expect_error 66 "no run to resume" finetune --resume --out nothing
expect_error 66 "none.wtl" finetune none.wtl --data idx:d --out x $t
expect_error 66 "none.wtl" finetune $pruned --data idx:d --out x $t --distill 0.5 --teacher none.wtl
expect_error 66 "" finetune $pruned --data idx:nowhere --out x $t
head -c 3000 $pruned >cut.wtl
expect_error 65 "cut.wtl: offset" finetune cut.wtl --data idx:d --out x $t
sed 's/^ip1.*/ip1 = dense drop1 out=5/; s/^classes.*//' tiny.net >five.net
mkdir -p five
head -c 100000 d/train-images-idx3-ubyte >five/train-images-idx3-ubyte
cp d/t10k-* five/
tr '\003' '\004' <d/train-labels-idx1-ubyte >five/train-labels-idx1-ubyte
# The magic number of the labels' file, 2049, has no 3 in it; labels are 0, 1, 2 and 4 now.
expect_error 65 "tells 4 classes apart" finetune $pruned --data idx:five --out x $t
expect 0 train --net five.net --data idx:five --out five5 --epochs 1 -q --threads 1
expect_error 65 "its teacher" finetune $pruned --data idx:d --out x $t --distill 0.5 \
    --teacher five5/ckpt/last.wtl
expect 0 train --net tiny.net --data idx:d --out all --epochs 1 --whole-train -q --threads 1
expect_error 64 "no validation part" finetune all/ckpt/last.wtl --data idx:d --out x $t
[ ! -e x ] || fail "a misuse wrote files"
# The data or the teacher are others than the run began with.
"$WATTLE" $tune --out stop $long >out 2>err &
pid=$!
wait_for '[ -e stop/ckpt/last.wtl ]'
kill -TERM $pid
wait $pid
cp stop/ckpt/last.wtl stopped.wtl
sed -i 's|"idx:d"|"idx:five"|' stop/config.json
expect_error 65 "" finetune --resume --out stop -q
sed -i 's|"idx:five"|"idx:d"|; s|dense/ckpt/last.wtl|p/ckpt/pruned.wtl|' stop/config.json
expect_error 64 "is not the teacher the run began with" finetune --resume --out stop -q
sed -i 's|"epochs": 10.0|"epochs": 11.0|; s|"teacher": "p/ckpt/pruned.wtl"|"teacher": "dense/ckpt/last.wtl"|' stop/config.json
expect_error 64 "11 epochs are" finetune --resume --out stop -q
echo '{"epochs": "many"}' >stop/config.json
expect_error 65 "stop/config.json: epochs" finetune --resume --out stop -q
cmp stopped.wtl stop/ckpt/last.wtl || fail "a refused run lost its checkpoint"
cp whole/config.json stop/config.json
cp $pruned stop/ckpt/last.wtl
expect_error 65 "is not the checkpoint of a fine-tuning run" finetune --resume --out stop -q
# Cannot write: 73.
echo >file
expect_error 73 "file" finetune $pruned --data idx:d --out file/x $t
# A loss that is no number: 1, and the last good state stays.
expect_error 1 "not finite" finetune $pruned --data idx:d --out nan --lr 1e6 --epochs 20 --batch 4 \
    --momentum 0.99 --threads 1 -q
expect 0 info nan/ckpt/last.wtl
# Masks from a file: the network that they came from has as many weights.
expect 0 prune dense/ckpt/last.wtl --data idx:d --out masked --target-energy 0.9 --rounds 1 \
    --method magnitude-global --threads 1 --batch 16 -q
expect 0 finetune dense/ckpt/last.wtl --masks masked/masks.npz --data idx:d --out by-masks --threads 1 -q
for net in masked/ckpt/pruned.wtl by-masks/ckpt/finetuned.wtl; do
    expect 0 energy $net --json
    field weights_not_zero >>kept
done
[ "$(sort -u kept | wc -l)" -eq 1 ] || fail "the masks did not hold: $(cat kept)"
expect_error 66 "none.npz" finetune $pruned --masks none.npz --data idx:d --out x $t
expect_error 65 "whole/config.json" finetune $pruned --masks whole/config.json --data idx:d --out x $t
# --force begins anew.
expect 0 $tune --out a --epochs 1 --force -q
cmp c/ckpt/finetuned.wtl a/ckpt/finetuned.wtl || fail "--force gives other bytes"
finish
