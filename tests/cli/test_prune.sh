#!/bin/bash
# wattle prune: budgets are met within 1 %, out of reach is said before any work, runs go on to
# harder goals, and twenty misuses each get one line, the right exit code, and lose nothing.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_dense 20
quick="--threads 1 --batch 16 --epochs 1 --final-epochs 2 --recalibrate 5 -q"

expect 0 prune --methods
for method in energy-aware magnitude-uniform magnitude-global magnitude-sensitivity \
    magnitude-gradual random; do
    in_output "$method"
done

# ---- what is reachable ----
expect 0 prune $dense --data idx:d --dry-run --json
floor=$(field floor)
awk "BEGIN { exit !($floor > 0.02 && $floor < 0.9) }" || fail "a floor of $floor"
[ ! -e run ] || fail "a dry run wrote something"
below=$(awk "BEGIN { print 0.9 * $floor }")
expect_error 2 "cannot be reached" prune $dense --data idx:d --out no --target-energy "$below" $quick
grep -qF "$(printf %.3f "$floor" | cut -c1-4)" "$work/err" || fail "the floor $floor is not named"
[ ! -e no ] || fail "a run that cannot be was begun"

# ---- budgets ----
for method in energy-aware magnitude-uniform magnitude-global magnitude-sensitivity \
    magnitude-gradual random; do
    target=$(awk "BEGIN { print $floor + 0.5 * (1 - $floor) }")
    expect 0 prune $dense --data idx:d --out "b-$method" --method $method \
        --target-energy "$target" --rounds 2 $quick --json
    awk "BEGIN { e = $(field energy) / $target; exit !(e < 1.01 && e > 0.95) }" ||
        fail "$method: energy $(field energy), asked $target"
    for file in config.json env.json plan.jsonl metrics.csv certificate.json energy.csv \
        ckpt/dense.wtl ckpt/last.wtl ckpt/pruned.wtl; do
        [ -s "b-$method/$file" ] || fail "$method: no $file"
    done
done
cmp $dense b-random/ckpt/dense.wtl || fail "the run's dense network is another"

# Twice the same bytes.
expect 0 prune $dense --data idx:d --out twice --method energy-aware --target-energy "$target" \
    --rounds 2 $quick
cmp twice/ckpt/pruned.wtl b-energy-aware/ckpt/pruned.wtl || fail "two equal runs differ"

# In blocks: the budget, the pattern, and the option in all that tells how it was done.
expect 0 prune $dense --data idx:d --out blocks --granularity 4x1 --target-energy "$target" \
    --rounds 2 $quick --json
awk "BEGIN { e = $(field energy) / $target; exit !(e < 1.01 && e > 0.95) }" ||
    fail "blocks: energy $(field energy), asked $target"
expect 0 info blocks/ckpt/pruned.wtl
in_output "of the weights are not zero, in 4x1 blocks"
expect 0 info b-energy-aware/ckpt/pruned.wtl --json
in_output '"blocks_4x1": false'
grep -q '"granularity": "4x1"' blocks/config.json || fail "config.json lacks the granularity"
grep -q '"granularity": "4x1"' blocks/certificate.json || fail "certificate.json lacks it"
expect 0 report blocks -q
grep -q -- '--granularity 4x1' blocks/report.html || fail "the report's command lacks it"
grep -q 'four consecutive filters' blocks/report.html || fail "the report does not tell"
expect_error 64 "cannot change a run" prune --resume --out blocks --granularity weight
expect_error 64 "conv1.weight: its weights were pruned one by one" prune \
    b-random/ckpt/pruned.wtl --data idx:d --out no --granularity 4x1 --max-drop 5 $quick
[ ! -e no ] || fail "a run that cannot be was begun"

# What was pruned stays pruned, and is zero, in whatever comes after.
expect 0 info b-energy-aware/ckpt/pruned.wtl
expect 0 train --from b-energy-aware/ckpt/pruned.wtl --net tiny.net --data idx:d --out after \
    --epochs 2 --batch 16 --threads 1 -q
expect 0 energy after/ckpt/last.wtl --json
kept=$(field weights_not_zero)
expect 0 energy b-energy-aware/ckpt/pruned.wtl --json
[ "$kept" = "$(field weights_not_zero)" ] || fail "weights came back in training"

# A finished run that is asked for more goes on; the network before stays where it was copied.
harder=$(awk "BEGIN { print $floor + 0.35 * (1 - $floor) }")
expect 0 prune --resume --out b-magnitude-global --target-energy "$harder" --rounds 1 --json
awk "BEGIN { e = $(field energy) / $harder; exit !(e < 1.01 && e > 0.95) }" ||
    fail "extended: energy $(field energy), asked $harder"
expect 0 prune --resume --out b-magnitude-global --json # nothing to do

# ---- an accuracy limit ----
expect 0 prune $dense --data idx:d --out drop --max-drop 6 $quick --json
awk "BEGIN { exit !($(field drop) <= 6 && $(field energy) < 1) }" ||
    fail "drop $(field drop), energy $(field energy)"
grep -q '"what":"held"' drop/plan.jsonl || fail "nothing held"

# A layer that is left out is left alone; a limit holds.
expect 0 prune $dense --data idx:d --out kept --method magnitude-global --target-energy 0.99 \
    --exclude conv1 --keep ip1=0.5 --rounds 1 $quick
awk -F, '$1 == "conv1" && $3 != $4 { exit 1 } $1 == "ip1" && $4 < $2 / 2 { exit 1 }' \
    kept/energy.csv || fail "a limit did not hold: $(cat kept/energy.csv)"

# ---- interrupted ----
"$WATTLE" prune $dense --data idx:d --out stop --target-energy "$target" --threads 1 --batch 1 \
    --epochs 500 --rounds 2 >out 2>err &
pid=$!
wait_for '[ -s stop/metrics.csv ] || ! kill -0 $pid 2>/dev/null'
kill -TERM $pid
wait $pid
code=$?
[ $code -eq 75 ] || fail "exit $code, not 75, when interrupted: $(cat err)"
grep -qF "go on with 'wattle prune --resume --out stop'" err || fail "no way to go on"

# ---- misuse ----
t="--target-energy 0.9"
expect_error 64 "CKPT is missing" prune --data idx:d --out x $t
expect_error 64 "--data DATA is missing" prune $dense --out x $t
expect_error 64 "--out RUN is missing" prune $dense --data idx:d $t
expect_error 64 "give a goal" prune $dense --data idx:d --out x
expect_error 64 "target-energy" prune $dense --data idx:d --out x --target-energy 1.5
expect_error 64 "max-drop" prune $dense --data idx:d --out x --max-drop -1
expect_error 64 "did you mean 'energy-aware'" prune $dense --data idx:d --out x $t --method energy-awre
expect_error 64 "did you mean 'conv1'" prune $dense --data idx:d --out x $t --exclude conv2
expect_error 64 "LAYER=D" prune $dense --data idx:d --out x $t --keep conv1=2
expect_error 64 "leave @test out" prune $dense --data idx:d@test --out x $t
expect_error 66 "No such file" prune nothing.wtl --data idx:d --out x $t
expect_error 66 "" prune $dense --data idx:nowhere --out x $t
expect_error 66 "" prune $dense --data idx:d --out x $t --hw nothing.yaml
printf 'not a checkpoint' >text.wtl
expect_error 65 "text.wtl" prune text.wtl --data idx:d --out x $t
head -c 2000 $dense >cut.wtl
expect_error 65 "cut.wtl" prune cut.wtl --data idx:d --out x $t
echo "name: [" >bad.yaml
expect_error 65 "bad.yaml" prune $dense --data idx:d --out x $t --hw bad.yaml
sed 's/classes 4/classes 5/; s/tiny/five/' tiny.net >five.net
mkdir -p seven && make_part seven/train 40 1 && make_part seven/t10k 8 2
cat >wide.net <<'NET'
net wide
classes 4
input data 1x12x12
ip1   = dense data out=classes
prob  = softmax ip1
NET
expect 0 train --net tiny.net --data idx:d --out whole --whole-train --epochs 1 --threads 1 -q
expect_error 64 "no validation part" prune whole/ckpt/last.wtl --data idx:d --out x $t
expect_error 64 "" prune --resume --out nothing --method random
expect_error 66 "no run to resume" prune --resume --out nothing
expect_error 64 "holds a run already" prune $dense --data idx:d --out twice $t
cmp twice/ckpt/pruned.wtl b-energy-aware/ckpt/pruned.wtl || fail "a refused run changed files"
[ ! -e x ] || fail "a refused run left a folder"

# Pictures of another size, and another number of classes.
mkdir -p other
(
    make_part other/train 40 1
    make_part other/t10k 8 2
)
sed 's/1x8x8/1x6x6/; s/tiny/small/' tiny.net >small.net
expect 0 info small.net
if [ -d /usr/share/datasets/fashion-mnist ]; then
    expect_error 65 "" prune $dense --data fashion-mnist --out x $t
fi

# A NaN in the checkpoint: no file of ours can hold one, so the bytes are changed by hand.
cp $dense nan.wtl
printf '\0\0\300\177' | dd of=nan.wtl bs=1 seek=$(($(stat -c %s nan.wtl) - 4)) conv=notrunc 2>/dev/null
expect_error 65 "nan.wtl" prune nan.wtl --data idx:d --out x $t

# Nowhere to write.
touch file
expect_error 73 "" prune $dense --data idx:d --out file/x $t -q
finish
