#!/bin/bash
# wattle compare: files, tables and JSON of a small comparison; killed at random moments it ends
# with the same networks; misuses are refused with one line and lose nothing.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_dense 20
quick="--data idx:d --threads 1 --batch 16 --rounds 2 --epochs 1 --final-epochs 1
    --recalibrate 5 --budgets 0.95,0.88,0.02 --seeds 2"

# ---- the plan ----
expect 0 compare $dense $quick --dry-run
in_output "runs      4: magnitude-global, energy-aware; 2 seeds"
in_output "0.02 (cannot be met) of the dense energy"
in_output "epochs    2 to each budget (2 rounds), 24 in all, 288 images each"
expect 0 compare $dense $quick --dry-run --json
[ "$(field nets)" = 12 ] || fail "nets $(field nets)"

# ---- a comparison ----
expect 0 compare $dense $quick --out whole -q
in_output "| model | variant          |"
in_output "| tiny  | energy-aware     |"
in_output "- energy-aware, seed 1, 2 %: an energy of 0.02 of dense cannot be reached"
for file in config.json results.csv layers.csv summary.md summary.json plots/pareto.svg \
    plots/bars.svg plots/layers.svg runs/energy-aware-seed1/ckpt/at-0.88.wtl; do
    [ -s "whole/$file" ] || fail "no $file"
done
[ "$(wc -l <whole/results.csv)" -eq 14 ] || fail "not 14 lines in results.csv"
python=$(command -v python3)
[ -z "$python" ] || "$python" -m json.tool whole/summary.json >/dev/null || fail "bad JSON"

# Energies and accuracies of results.csv are those that other commands give.
row=$(grep '^energy-aware,1,0.88,' whole/results.csv)
expect 0 eval whole/runs/energy-aware-seed1/ckpt/at-0.88.wtl --data idx:d@test --json
awk "BEGIN { d = $(field top1) - $(echo "$row" | cut -d, -f10); exit !(d * d < 1e-6) }" ||
    fail "top-1 $(field top1) by eval, in the row: $row"
awk "BEGIN { e = $(echo "$row" | cut -d, -f4); exit !(e > 0.86 && e < 0.90) }" ||
    fail "energy of the row: $row"

# ---- in blocks ----
expect 0 compare $dense $quick --methods random --budgets 0.95 --seeds 1 --granularity 4x1 \
    --out blocks -q
for file in config.json summary.json runs/random-seed0/config.json; do
    grep -q '"granularity": "4x1"' blocks/$file || fail "$file lacks the granularity"
done
expect 0 info blocks/runs/random-seed0/ckpt/at-0.95.wtl
in_output "in 4x1 blocks"
expect 0 report blocks -q
grep -q -- '--granularity 4x1' blocks/report.html || fail "the report's command lacks it"

# ---- going on ----
RANDOM=${WTL_TEST_SEED:-$$}
echo "WTL_TEST_SEED=$RANDOM"
for ((i = 0; i < 5; i++)); do
    if [ -e killed/config.json ]; then
        "$WATTLE" compare --resume --out killed -q >out 2>err &
    else
        "$WATTLE" compare $dense $quick --out killed -q >out 2>err &
    fi
    sleep "0.$((RANDOM % 5 + 1))"
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
done
[ -e killed/config.json ] || "$WATTLE" compare $dense $quick --out killed -q >out 2>err
expect 0 compare --resume --out killed -q --json
awk "BEGIN { exit !($(field floor) > 0.02) }" || fail "the floor is $(field floor)"
for folder in whole killed; do # all but minutes and memory
    awk -F, -v OFS=, '{ $12 = $13 = ""; print }' $folder/results.csv >$folder.rows
done
cmp whole.rows killed.rows || fail "a killed comparison ends otherwise"
cmp whole/layers.csv killed/layers.csv || fail "other layers"
cmp whole/runs/magnitude-global-seed1/ckpt/at-0.88.wtl \
    killed/runs/magnitude-global-seed1/ckpt/at-0.88.wtl || fail "another network"

"$WATTLE" compare $dense $quick --save-minutes 0.0001 --out stopped -q >out 2>"$work/err" &
wait_for '[ -e stopped/results.csv ]'
kill -INT $!
wait $!
code=$?
[ $code -eq 75 ] || fail "exit $code, not 75, when interrupted"
grep -qF "go on with 'wattle compare --resume --out stopped'" "$work/err" || fail "no way to go on"

# ---- misuse ----
expect_error 64 "holds a comparison or a run already" compare $dense $quick --out whole
expect_error 64 "CKPT is missing" compare $quick --out x
expect_error 64 "--data DATA is missing" compare $dense --out x
expect_error 64 "--out DIR is missing" compare $dense $quick
expect_error 64 "did you mean energy-aware?" compare $dense $quick --out x --methods energy-awre
expect_error 64 "there twice" compare $dense $quick --out x --methods random,random
expect_error 64 "not 'a'" compare $dense $quick --out x --budgets 0.5,a
expect_error 64 "there is no method ''" compare $dense $quick --out x --methods random,
expect_error 64 "budgets fall" compare $dense $quick --out x --budgets 0.5,0.6
expect_error 64 "between 0 and 1" compare $dense $quick --out x --budgets 1,0.5
expect_error 64 "leave out '@test'" compare $dense --data idx:d@test --out x
expect_error 64 "--resume needs --out DIR" compare --resume
expect_error 64 "--budgets cannot change" compare --resume --out whole --budgets 0.5
expect_error 64 "in DIR: leave" compare $dense --resume --out whole
expect_error 66 "no comparison to resume" compare --resume --out x
expect_error 66 "" compare no.wtl $quick --out x
expect_error 2 "cannot be reached" compare $dense $quick --out x --budgets 0.02
[ ! -e x ] || fail "a refused comparison left a folder"
cp -r whole bad
sed -i 's/^energy-aware,0,0.95,[^,]*,/energy-aware,0,0.95,x,/' bad/results.csv
line=$(grep -n ',x,' bad/results.csv | cut -d: -f1)
expect_error 65 "bad/results.csv:$line: not a number: 'x'" compare --resume --out bad

cp whole/runs/energy-aware-seed0/config.json bad/config.json
expect_error 65 "bad/config.json: " compare --resume --out bad
finish
