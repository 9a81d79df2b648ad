#!/bin/bash
# wattle report: pages of a run and a comparison, the same bytes each time, and commands in them
# that give the same run again.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_data d
make_net tiny.net
expect 0 train --net tiny.net --data idx:d --out 'a dense' --threads 1 --epochs 8 --batch 16 \
    --lr 0.05 -q
dense='a dense/ckpt/last.wtl'

# command_of PAGE FOLDER: the shell commands of a page, writing to FOLDER.
command_of()
{
    sed -n '/^<pre>$/,/^<\/pre>$/p' "$1" | grep -v '^</*pre>$' |
        sed "s/&quot;/\"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g; s/^wattle /\"\$WATTLE\" -q /
             s/^\"\\\$WATTLE\" -q \([a-z]*\)/\"\$WATTLE\" \1 -q/; s/--out $3/--out $2/
             s/report -q $3\$/report -q $2/"
}

# ---- a run, with every option that may differ from its default ----
"$WATTLE" energy --hw-show eyeriss-cvpr17 >"it's mine.yaml"
expect 0 prune "$dense" --data idx:d --out run --method energy-aware --threads 1 --seed 3 -q \
    --target-energy 0.9 --max-drop 90 --metric top5 --rounds 2 \
    --hw "it's mine.yaml" --hw-batch 4 --bits 8 --exclude conv1 --keep ip1=0.25 \
    --epochs 0.5 --final-epochs 0.75 --lr 0.015 --final-share 0.1 --optimizer sgd \
    --momentum 0.8 --weight-decay 0.001 --clip 9 --label-smoothing 0.05 --distill 0.3 \
    --temperature 3 --batch 20 --augment flip --recalibrate 4 --search-images 60 \
    --sample-images 20 --positions 8 --allocation by-energy --overshoot 0.1 --restore-step 3 \
    --ridge 0.001 --probes 4 --inputs-original --no-restore --no-fit --workers 2 \
    --save-minutes 3
expect 0 report run
[ "$(cat out)" = run/report.html ] || fail "it says $(cat out)"
grep -q 'goal met</p>' run/report.html || fail "no verdict"
expect 0 report run --out again.html --json
in_output '"report": "again.html"'
cmp run/report.html again.html || fail "the same folder gives other bytes"

command_of run/report.html 'run 2' RUN | sed "s/run 2/'run 2'/" >again.sh
bash again.sh >out2 2>&1 || fail "its command: $(cat out2; cat again.sh)"
cmp run/config.json 'run 2/config.json' || fail "its command has other options: $(cat again.sh)"
cmp run/ckpt/pruned.wtl 'run 2/ckpt/pruned.wtl' || fail "its command gives another network"
[ -s 'run 2/report.html' ] || fail "its command gives no report"

# Towards an accuracy limit alone.
expect 0 prune "$dense" --data idx:d --out drop --method magnitude-global --threads 1 -q \
    --max-drop 60 --step 0.5 --refinements 1 --epochs 0.5 --final-epochs 0.5 --batch 20
expect 0 report drop
grep -q 'asked at most 60' drop/report.html || fail "the limit is not in the verdict"
command_of drop/report.html drop2 RUN >again.sh
bash again.sh >out2 2>&1 || fail "its command: $(cat out2; cat again.sh)"
cmp drop/config.json drop2/config.json || fail "its command has other options: $(cat again.sh)"

# ---- a comparison ----
expect 0 compare "$dense" --data idx:d --out both --methods energy-aware,magnitude-global \
    --budgets 0.9,0.8 --rounds 1 --epochs 0.5 --final-epochs 0.5 --batch 16 --threads 1 \
    --max-drop 20 --seed 5 -q
expect 0 report both
grep -q 'class="said">' both/report.html || fail "no verdict"
[ "$(grep -c '^<svg' both/report.html)" -eq 3 ] || fail "not three plots"
command_of both/report.html both2 DIR >again.sh
bash again.sh >out2 2>&1 || fail "its command: $(cat out2; cat again.sh)"
cmp both/config.json both2/config.json || fail "its command has other options: $(cat again.sh)"

# ---- what is not there, not whole, or cannot be written ----
expect_error 66 "holds no pruning run" report d
expect_error 66 "holds no pruning run" report nothing
rm 'run 2/certificate.json'
expect_error 66 "not a finished pruning run" report 'run 2'
echo '{' >run/env.json
expect_error 65 "run/env.json:2: " report run
cmp run/report.html again.html || fail "a failed report changed the page"
head -c 100 both2/summary.json >both/summary.json
expect_error 65 "both/summary.json:" report both
expect_error 73 "" report both2 --out /dev/full
expect_error 73 "" report both2 --out d
expect_error 73 "/no/such/folder" report both2 --out /no/such/folder/x.html
finish
