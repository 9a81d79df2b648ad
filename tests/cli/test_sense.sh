#!/bin/bash
# wattle sense: table, CSV, JSON and plot of a scan; images, layers and sparsities; refusals.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1

make_data data
make_net tiny.net
expect 0 train --net tiny.net --data idx:data --out r --epochs 2 --batch 32 --threads 1 -q
ckpt=r/ckpt/last.wtl
cksum $ckpt >sum

# The CSV of Distiller: its header, a row a layer and sparsity, dense first.
expect 0 sense $ckpt --data idx:data --csv --threads 1 -q
[ ! -s "$work/err" ] || fail "something on stderr"
cp "$work/out" all.csv
[ "$(head -1 all.csv)" = "parameter,sparsity,top1,top5,loss" ] || fail "header: $(head -1 all.csv)"
[ "$(cut -d, -f1 all.csv | tail -n +2 | uniq -c | awk '{ print $1 $2 }' | tr '\n' ' ')" = \
    "10conv1.weight 10ip1.weight " ] || fail "not ten rows a layer: $(cat all.csv)"
[ "$(sed -n '2,11s/^[^,]*,\([^,]*\),.*/\1/p' all.csv | tr '\n' ' ')" = \
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 " ] || fail "other sparsities: $(cat all.csv)"
[ "$(sed -n 2p all.csv | cut -d, -f2-)" = "$(sed -n 12p all.csv | cut -d, -f2-)" ] ||
    fail "the dense net differs from layer to layer"
awk -F, 'NR > 1 && ($3 < 0 || $3 > 100 || $4 != 100 || !($5 > 0)) { exit 1 }' all.csv ||
    fail "numbers that cannot be (of 4 classes the label is always among 5): $(cat all.csv)"
cksum $ckpt | cmp - sum || fail "the checkpoint was altered"

# The dense row is what eval says of the same images: all 288 of training.
expect 0 eval $ckpt --data idx:data@train --json --threads 1 -q
top1=$(field top1)
awk -F, -v want="$top1" 'NR == 2 && ($3 - want > 1e-6 || want - $3 > 1e-6) { exit 1 }' all.csv ||
    fail "eval has top-1 $top1, sense $(sed -n 2p all.csv)"

# The same as a file, with the same bytes; the table and the plot.
expect 0 sense $ckpt --data idx:data --out s.csv --plot s.svg --threads 1 -q
cmp all.csv s.csv || fail "--out has other bytes than --csv"
in_output "tiny, judged on 288 images of idx:data@train"
in_output "layer     weights      0    0.1"
[ "$(grep -c '^conv1 \|^ip1 ' "$work/out")" -eq 2 ] || fail "not two rows: $(cat "$work/out")"
grep -q '^</svg>$' s.svg || fail "no picture"
grep -q '>ip1.weight</text>' s.svg || fail "the picture lacks a layer"

# JSON; a part; layers by either name, in the network's order; sparsities; fewer images.
expect 0 sense $ckpt --data idx:data@test --layers ip1.weight,conv1 --sparsities 0,0.5,1 \
    --json --threads 1 -q
[ "$(field images)" = 80 ] || fail "images: $(field images)"
in_output '"data": "idx:data@test"'
[ "$(grep -c '"parameter"' "$work/out")" -eq 6 ] || fail "not six rows"
[ "$(grep '"kept"' "$work/out" | tr -dc '0-9\n' | tr '\n' ' ')" = "72 36 0 512 256 0 " ] ||
    fail "kept: $(grep '"kept"' "$work/out")"
expect 0 sense $ckpt --data idx:data@val --layers ip1 --images 10 --sparsities 0.95 -q
in_output "tiny, judged on 10 images of idx:data@val"
in_output "0.95"
grep -q '^conv1' "$work/out" && fail "a layer that was not asked for"
expect 0 sense $ckpt --data idx:data --images 40 --csv --threads 1 -q
cp "$work/out" first.csv
expect 0 sense $ckpt --data idx:data --images 40 --csv --threads 1 -q
cmp first.csv "$work/out" || fail "the same command gives other bytes"
expect 0 sense $ckpt --data idx:data --images 40 --csv --threads 1 -q --seed 1
cmp -s first.csv "$work/out" && fail "--seed draws the same images"

# By blocks of four filters: of 512 weights 255 are asked for, 63 blocks have 252.
expect 0 sense $ckpt --data idx:data --granularity 4x1 --layers ip1 -q --sparsities 0.501 --json
in_output '"kept": 252'
in_output '"granularity": "4x1"'

# What is wrong is told, in one line and before any work.
expect_error 64 "net tiny has no layer 'conv' to prune; did you mean 'conv1'?" \
    sense $ckpt --data idx:data --layers ip1,conv
expect_error 64 "net tiny has no layer 'bn1.scale' to prune" \
    sense $ckpt --data idx:data --layers bn1.scale
expect_error 64 "net tiny has no layer ''" sense $ckpt --data idx:data --layers ip1,
expect_error 64 "from 0 to 1, not '1.5'" sense $ckpt --data idx:data --sparsities 0.5,1.5
expect_error 64 "from 0 to 1, not '-0.5'" sense $ckpt --data idx:data --sparsities=-0.5
expect_error 66 "none.wtl" sense none.wtl --data idx:data
expect_error 66 "nowhere" sense $ckpt --data idx:nowhere
expect_error 64 "did you mean" sense $ckpt --data fashon-mnist
echo "no checkpoint" >text.wtl
expect_error 65 "text.wtl" sense text.wtl --data idx:data
mkdir folder
expect_error 73 "folder" sense $ckpt --data idx:data --out folder
expect_error 73 "no/s.svg" sense $ckpt --data idx:data --plot no/s.svg
[ ! -e s.csv.tmp ] || fail "a temporary file is left"

# Data of another net: too many classes, pictures of another size.
make_net large.net
sed -i 's/1x8x8/1x9x9/' large.net
# four SIDE LABELS PREFIX: four pictures; LABELS as printf escapes.
four()
{
    {
        printf "$(big_endian 2051)$(big_endian 4)$(big_endian "$1")$(big_endian "$1")"
        head -c $((4 * $1 * $1)) data/train-images-idx3-ubyte
    } >"$3-images-idx3-ubyte"
    printf "$(big_endian 2049)$(big_endian 4)$2" >"$3-labels-idx1-ubyte"
}
mkdir two-classes nine-rows
for part in train t10k; do
    four 8 '\x00\x01\x00\x01' two-classes/$part
    four 9 '\x00\x01\x02\x03' nine-rows/$part
done
few="--epochs 1 --threads 1 -q --whole-train"
expect 0 train --net tiny.net --data idx:two-classes --out two $few
expect_error 65 "net tiny tells 2 classes apart, idx:data@train has 4" \
    sense two/ckpt/last.wtl --data idx:data
expect 0 train --net large.net --data idx:nine-rows --out nine $few
expect_error 65 "takes 9 x 9" sense nine/ckpt/last.wtl --data idx:data

# A NaN in the checkpoint: no file of ours can hold one, so the bytes are changed by hand.
cp $ckpt nan.wtl
printf '\0\0\300\177' |
    dd of=nan.wtl bs=1 seek=$(($(stat -c %s nan.wtl) - 4)) conv=notrunc 2>/dev/null
expect_error 65 "nan.wtl" sense nan.wtl --data idx:data

# Asked to stop, it stops: exit code 130, nothing on stdout, no file. The scan would go on for
# most of a minute; that it has begun shows by its temporary file.
make_net wide.net
sed -i 's/out=8/out=512/' wide.net
expect 0 train --net wide.net --data idx:data --out wide $few
"$WATTLE" sense wide/ckpt/last.wtl --data idx:data --engine reference --threads 1 \
    --layers ip1 --sparsities "$(seq -s, 0.01 0.01 0.99)" --out stop.csv \
    >"$work/out" 2>"$work/err" &
pid=$!
wait_for '[ -e stop.csv.tmp ]' || fail "no scan has begun"
kill -TERM $pid
wait $pid
code=$?
[ $code -eq 130 ] || fail "exit $code, not 130, when stopped"
[ "$(cat "$work/err")" = "wattle: sensitivity scan stopped" ] || fail "other words when stopped"
[ ! -s "$work/out" ] || fail "output beside a stop"
[ ! -e stop.csv ] && [ ! -e stop.csv.tmp ] || fail "a stopped scan leaves a file"
finish
