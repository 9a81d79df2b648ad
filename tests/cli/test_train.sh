#!/bin/bash
# wattle train, eval, infer and demo over tiny data: results, files, every way to fail.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_data d
make_net tiny.net
train="train --net tiny.net --data idx:d --threads 1"

expect 0 $train --out a --epochs 3 --batch 16 --lr 0.05
grep -qE '^Acc@1 [0-9.]+ Acc@5 100.00 ' out || fail "no Acc@1 line: $(cat out)"
[ "$(grep -cE '^epoch [123]/3 .*Acc@1 [0-9.]+ Acc@5 [0-9.]+' err)" -eq 3 ] ||
    fail "not one line an epoch"
for file in config.json env.json metrics.csv log.jsonl ckpt/last.wtl ckpt/best.wtl \
    plots/loss.svg plots/accuracy.svg; do
    [ -s "a/$file" ] || fail "no a/$file"
done
[ "$(wc -l <a/metrics.csv)" -eq 4 ] || fail "metrics.csv: a head and 3 rows"

# The same seed gives the same bytes, whatever is shown; another seed does not; neither does
# what config.json says.
expect 0 $train --out b --epochs 3 -b 16 --lr 0.05 --quiet --json --workers 3
[ ! -s err ] || fail "--quiet is not quiet"
in_output '"schema_version": 1'
in_output '"command": "train"'
cmp a/ckpt/last.wtl b/ckpt/last.wtl || fail "the same run gives other bytes"
expect 0 $train --out c --epochs 3 -b 16 --lr 0.05 -q --seed 5
cmp -s a/ckpt/last.wtl c/ckpt/last.wtl && fail "the seed changes nothing"
expect 0 train --config c/config.json --out e -q
cmp c/ckpt/last.wtl e/ckpt/last.wtl || fail "config.json does not give the same run"
expect 0 train --config c/config.json --out f -q --seed 0
cmp a/ckpt/last.wtl f/ckpt/last.wtl || fail "--seed does not override config.json"

# The rest of the options are taken.
expect 0 $train --out g --epochs 2 --batch-size 32 --opt adam --wd 1e-4 --lr-scheduler cosine \
    --warmup 1 --final-share 0.01 --label-smoothing 0.1 --clip 5 --ema 0.9 --augment flip \
    --cutout 2 --val-share 0.2 --engine reference --decay-all -j 2 --save-minutes 1
expect 0 $train --out h --epochs 2 --whole-train --schedule step --step-epochs 1 --gamma 0.1 \
    --optimizer sgd --momentum 0.5 --from a/ckpt/best.wtl
[ ! -e h/ckpt/best.wtl ] || fail "best.wtl without validation"

# A run is not overwritten without --force; a finished one can be given more epochs.
expect_error 64 "--force" $train --out a -q
expect 0 $train --out a --epochs 3 --batch 16 --lr 0.05 -q --force
cmp a/ckpt/last.wtl b/ckpt/last.wtl || fail "--force gives other bytes"

# eval: the images that were held out under seed 5, so the same figures as in training.
expect 0 train --resume --out c --json -q
top1=$(field val_top1)
loss=$(field val_loss)
expect 0 eval c/ckpt/last.wtl --data idx:d --json
[ "$(field images)" = 32 ] || fail "images: $(field images)"
[ "$(field top1)" = "$top1" ] || fail "eval says $(field top1), training $top1"
awk "BEGIN { exit !($loss > 0.01 && ($(field loss) / $loss - 1) ^ 2 < 1e-10) }" ||
    fail "eval says loss $(field loss), training $loss"
[ "$(field top5)" = 100.0 ] || fail "top5: $(field top5)"
expect 0 eval c/ckpt/last.wtl --data idx:d --json --seed 6
awk "BEGIN { exit !(($(field loss) / $loss - 1) ^ 2 > 1e-10) }" || fail "--seed changes nothing"
expect 0 eval c/ckpt/last.wtl --data idx:d@test --confusion -b 7
in_output "80 images"
in_output "Acc@1 "
# Each class has 20 test images: so has its row.
[ "$(awk '/^confusion/ { on = 1; next } on && $1 + $2 + $3 + $4 == 20' out | wc -l)" -eq 4 ] ||
    fail "confusion: $(cat out)"
cp out blas
expect 0 eval c/ckpt/last.wtl --data idx:d@test --confusion --engine reference
[ "$(grep Acc@1 out)" = "$(grep Acc@1 blas)" ] || fail "the engines disagree"
expect 0 eval c/ckpt/last.wtl --data idx:d@train --images 10
in_output "10 images"

# eval that is interrupted: 130 and one line. The handler is there before the first image.
sed 's/^ip1.*/conv2 = conv drop1 out=256 kernel=3 pad=1\nconv3 = conv conv2 out=64 kernel=3 pad=1\nip1 = dense conv3 out=classes/' tiny.net >slow.net
expect 0 train --net slow.net --data idx:d --threads 1 --out slow --epochs 1 -q
"$WATTLE" eval slow/ckpt/last.wtl --data idx:d@train --engine reference -q --batch 1 >out 2>err &
pid=$!
wait_for '[ $((16#$(sed -n "s/^SigCgt:\t//p" /proc/$pid/status) & 2)) -ne 0 ]'
kill -INT $pid
wait $pid
code=$?
[ $code -eq 130 ] || fail "exit $code, not 130, of an interrupted eval"
[ "$(wc -l <err)" -eq 1 ] && grep -q '^wattle: ' err && [ ! -s out ] || fail "eval: $(cat err out)"

# info of a checkpoint: density, and how it was trained.
expect 0 info a/ckpt/last.wtl
in_output "density"
in_output "1.0000 of the weights"
in_output "trained"
expect 0 info a/ckpt/last.wtl --json
[ "$(field parameters)" = 604 ] || fail "parameters of the checkpoint"

# infer: an 8x8 gray PNG whose rows 4 and 5 are bright, which is class 2.
base64 -d >two.png <<'PNG'
iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAQklEQVR42mNg4BZT1DF38mVQNbB2C4xhE2TwCk3g
ElXQNmPgk1TRt3INiGY4AQUIhoy6ka1HcBwHg6NPOCOPuJIuAK7qFZwhUqr8AAAAAElFTkSuQmCC
PNG
expect 0 infer a/ckpt/last.wtl two.png --top 2
[ "$(sed -n 1p out)" = two.png ] && [ "$(wc -l <out)" -eq 3 ] || fail "infer: $(cat out)"
sed -n 2p out | grep -qE '^ +[0-9.]+ %  (class )?2$' || fail "not class 2: $(cat out)"
expect 0 infer a/ckpt/last.wtl two.png two.png --json --engine reference
[ "$(grep -c '"file": "two.png"' out)" -eq 2 ] || fail "infer: not two pictures"
[ "$(grep -c '"probability"' out)" -eq 8 ] || fail "infer: not all four classes twice"
# A picture that cannot be read does not keep the others from being shown.
expect 66 infer a/ckpt/last.wtl none.png two.png
[ "$(wc -l <err)" -eq 1 ] && [ "$(sed -n 1p out)" = two.png ] || fail "infer stops early"

# Inputs that are missing: 66.
expect_error 66 "none.wtl" eval none.wtl --data idx:d
expect_error 66 "" eval a/ckpt/last.wtl --data idx:nowhere
expect_error 66 "" train --net tiny.net --data idx:nowhere --out n -q
expect_error 66 "did you mean" train --net lenet55 --data idx:d --out n -q
expect_error 66 "" $train --from none.wtl --out n -q
expect_error 66 "" train --resume --out nothing -q
expect_error 66 "" train --config none.json --net tiny.net --data idx:d --out n
# Not a DATA: 64.
expect_error 64 "" $train --data fashion --out n -q
# Bad input: 65.
head -c 3000 a/ckpt/last.wtl >cut.wtl
expect_error 65 "cut.wtl: offset" eval cut.wtl --data idx:d
{ cat a/ckpt/last.wtl; echo; } >long.wtl
expect_error 65 "long.wtl: offset" eval long.wtl --data idx:d
cp -r d cut
head -c 5000 d/train-images-idx3-ubyte >cut/train-images-idx3-ubyte
expect_error 65 "train-images" $train --data idx:cut --out n -q
echo '{"epochs": "many"}' >bad.json
expect_error 65 "epochs" train --config bad.json --net tiny.net --data idx:d --out n
echo '{"epochs": 3' >bad.json
expect_error 65 "bad.json:" train --config bad.json --net tiny.net --data idx:d --out n
expect_error 65 "" train --net alexnet-32 --data idx:d --out n -q
expect_error 65 "" infer a/ckpt/last.wtl tiny.net
expect_error 66 "" infer a/ckpt/last.wtl none.png
# Cannot write: 73. A file is in the way of the folder.
expect_error 73 "tiny.net" $train --out tiny.net/run -q
expect_error 73 "" $train --out tiny.net -q
"$WATTLE" eval a/ckpt/last.wtl --data idx:d -q >/dev/full 2>err
[ $? -eq 73 ] || fail "eval: a full disk is not told"
# A loss that is no number: 1, and the run keeps its last good checkpoint.
sed '/bn1/d' tiny.net >plain.net
sed -i '/^conv1/a relu1 = relu conv1' plain.net
expect_error 1 "" train --net plain.net --data idx:d --out nan --lr 1e6 --momentum 0.99 \
    --schedule constant --threads 1 -q --epochs 50
[ ! -e nan/ckpt/last.wtl ] || expect 0 info nan/ckpt/last.wtl
finish
