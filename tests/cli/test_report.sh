#!/bin/bash
# wattle report: a page of a run and of a comparison, and what it refuses.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_data d
make_net tiny.net
expect 0 train --net tiny.net --data idx:d --out dense --threads 1 --epochs 20 --batch 16 \
    --lr 0.05 -q
dense=dense/ckpt/last.wtl
quick="--threads 1 --batch 16 --final-epochs 1 --recalibrate 5 -q"
expect 0 prune $dense --data idx:d --out "a run" --target-energy 0.9 --rounds 1 $quick
expect 0 compare $dense --data idx:d --out c --methods energy-aware,random --budgets 0.95,0.9 \
    --rounds 1 $quick

expect 0 report "a run"
in_output "a run/report.html"
cp "a run/report.html" first.html
expect 0 report "a run" --out again.html --json
grep -q '"report": "again.html"' out || fail "JSON: $(cat out)"
cmp first.html again.html || fail "the same run gives another page"
expect 0 report c
grep -q "energy-aware" c/report.html || fail "the comparison names no method"
for page in first.html c/report.html; do
    grep -q "^<!DOCTYPE html>\|^<!doctype html>" $page || fail "$page: no document type"
    grep -qi "<script\|href=\|src=" $page && fail "$page: loads something"
    grep -c "<svg" $page >svgs
    [ "$(cat svgs)" -ge 2 ] || fail "$page: $(cat svgs) plots"
    [ "$(tail -n 1 $page)" = "</html>" ] || fail "$page: is cut"
done
# The page's own command gives the same network.
grep -q -e "--target-energy 0.9" first.html || fail "no command to reproduce it"

expect_error 66 "holds no pruning run" report d
expect_error 66 "nowhere" report nowhere
expect_error 64 "" report
expect_error 73 "" report "a run" --out /dev/full
expect_error 73 "" report "a run" --out d
cp -r "a run" cut
head -c 100 "a run/certificate.json" >cut/certificate.json
expect_error 65 "cut/certificate.json" report cut
[ ! -e cut/report.html ] || cmp -s cut/report.html first.html || fail "half a page"
finish
