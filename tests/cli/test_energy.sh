#!/bin/bash
# wattle energy: networks, checkpoints with measured zeros, layer files, comparisons, files.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1

# A 1x1 and a 3x3 layer, half of the second's values are zeros.
make_layers()
{
    {
        echo "# two layers"
        echo "1,4,4,3,2,0,16,1,1,3,2,0,16,4,4,2,2,0,16,1,1,0,0,0,0"
        echo "2,4,4,2,2,3.2e+01,16,3,3,2,4,36,16,4,4,4,2,0,16,1,1,1,1,1,1"
    } >"$1"
}
make_layers layers.txt

# Each hardware that comes along is a YAML file that can be given back.
expect 0 energy --hw-list
same_as energy-hw-list.txt "$work/out"
for name in $(awk '{ print $1 }' "$work/out"); do
    expect 0 energy --hw-show "$name"
    cp "$work/out" "$name.yaml"
    expect 0 energy layers.txt --hw "$name" --csv
    cp "$work/out" by-name.csv
    expect 0 energy layers.txt --hw "$name.yaml" --csv
    cmp by-name.csv "$work/out" || fail "$name: its own YAML gives something else"
    expect 0 energy --hw-show "$name.yaml"
    cmp "$name.yaml" "$work/out" || fail "$name: a file is not shown as it is"
done
expect 0 energy --hw-list --json
in_output '"name": "eyeriss-isca16"'

# The table, the rows of the tool, JSON.
expect 0 energy layers.txt --hw eyeriss-isca16 --levels
same_as energy-layers.txt "$work/out"
expect 0 energy layers.txt --hw eyeriss-isca16 --csv
same_as energy-layers.csv "$work/out"
expect 0 energy layers.txt --hw eyeriss-isca16 --json
same_as energy-layers.json "$work/out"

# What is written can be read back, and gives the same.
expect 0 energy layers.txt --layers-out again.txt --mappings-out maps.txt --csv
cp "$work/out" first.csv
expect 0 energy again.txt --mapping maps.txt --csv
cmp first.csv "$work/out" || fail "layers and mappings read back give something else"

# Plots: well-formed enough to hold every layer's name.
expect 0 energy lenet5 --plot bars.svg --scatter points.svg
for file in bars.svg points.svg; do
    grep -q '^</svg>$' $file || fail "$file is no picture"
    grep -q '>conv2</text>' $file || fail "$file lacks a layer"
done

# Networks: 2,293,000 MACs of LeNet-5, nothing known of zeros.
expect 0 energy lenet5
in_output "weights: taken as dense; activations: taken as dense"
in_output "Estimated by a model, not measured on hardware"
expect 0 energy lenet5 --json --batch 3
[ "$(field macs)" = 2293000.0 ] || fail "macs: $(field macs)"
[ "$(field batch)" = 3 ] || fail "batch: $(field batch)"
full=$(field total)
expect 0 energy lenet5 --json --batch 3 --bits 8
awk "BEGIN { exit !($(field total) < 0.6 * $full) }" || fail "8 bits cost $(field total)"
expect 0 energy lenet5 --hw eyeriss-chip
in_output "mJ an image, at 2 pJ a unit"

# Checkpoints: zeros of weights from the file, zeros of activations from images.
make_data data
make_net tiny.net
expect 0 train --net tiny.net --data idx:data --out r --epochs 1 --batch 32 --threads 1 -q
expect 0 energy r/ckpt/last.wtl
in_output "weights: zeros as given; activations: taken as dense"
expect 0 energy r/ckpt/last.wtl --data idx:data --images 20 --threads 1
in_output "activations: zeros measured over 20 images"
expect 0 energy r/ckpt/last.wtl --data idx:data --images 20 --threads 1 --json
in_output '"activation_zeros_measured": true'
measured=$(field total)
cp "$work/out" first.json
expect 0 energy r/ckpt/last.wtl --data idx:data --images 20 --threads 1 --json
cmp first.json "$work/out" || fail "the same command gives other bytes"
expect 0 energy r/ckpt/last.wtl --json
awk "BEGIN { exit !($measured < $(field total)) }" || fail "zeros save nothing"

# Comparisons.
expect 0 energy layers.txt --against-hw eyeriss-isca16
same_as energy-against-hw.txt "$work/out"
expect 0 energy r/ckpt/last.wtl --against tiny.net --json
[ "$(field ratio)" = 1.0 ] || fail "ratio: $(field ratio)"
expect 0 energy lenet5 --against alexnet-28
in_output "A: lenet5 on eyeriss-cvpr17, batch 44"
in_output "B: alexnet-28 on eyeriss-cvpr17, batch 44"

# What is wrong is told.
expect_error 66 "did you mean" energy lenet
expect_error 66 "did you mean" energy lenet5 --hw eyeriss-isca
expect_error 64 "no weights" energy lenet5 --data idx:data
expect_error 64 "its own batch" energy layers.txt --batch 3
echo "1,4,4,3,2,0,16,1,1,3,2,0,16,5,4,2,2,0,16,1,1,0,0,0,0" >bad.txt
expect_error 65 "bad.txt:1" energy bad.txt
echo "name: x" >bad.yaml
expect_error 65 "bad.yaml" energy layers.txt --hw bad.yaml
expect_error 65 "bad.yaml" energy --hw-show bad.yaml
mapping='m=1 n=1 e=1 p=1 q=1 r=1 t=1'
refused()
{
    printf "$1" >bad-maps.txt
    expect_error 65 "$2" energy layers.txt --mapping bad-maps.txt
}
refused "1 $mapping\n" "bad-maps.txt:1: expected 'INDEX: mapping'"
refused "# c\n\nx: $mapping\n" "bad-maps.txt:3: 'x' is no layer index"
refused "1: $mapping\n3: $mapping\n" "bad-maps.txt:2: there is no layer 3"
refused "1: $mapping\n1: $mapping\n" "bad-maps.txt:2: layer 1 was given in line 1"
refused "1: $mapping # the first\n" "bad-maps.txt: no mapping for layer 2"
refused "1: m=1 n=1\n" "bad-maps.txt:1"
printf "1: m=99 n=1 e=1 p=1 q=1 r=1 t=1\n2: $mapping\n" >bad-maps.txt
expect_error 65 "layer 1" energy layers.txt --mapping bad-maps.txt
expect_error 66 "none.txt" energy layers.txt --mapping none.txt
mkdir folder
expect_error 73 "folder" energy layers.txt --plot folder
expect_error 73 "no/x" energy layers.txt --layers-out no/x
finish
