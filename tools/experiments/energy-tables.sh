#!/usr/bin/env bash
# The tables of docs/results/energy.md, as Markdown on standard output: AlexNet dense and with
# two published sets of weight densities, what the modelling choices change, and GoogLeNet's
# shares. Estimates are the same everywhere; only the zeros of GoogLeNet's activations come
# from a training run (googlenet-28, one epoch over the first 8,000 images of Fashion-MNIST,
# seed 0; a minute or two) and follow its last bits.
#   tools/experiments/energy-tables.sh OUT      (WATTLE: the command, default: build/release)
# GOOGLENET: a checkpoint of googlenet-28 to measure on instead of training one.
. "$(dirname "$0")/common.sh"
mkdir -p "$out"

# Shares that are not zero, layer by layer: conv1 to conv5, fc6 to fc8.
ones='1 1 1 1 1 1 1 1'
# CVPR 2017: what the two methods leave of AlexNet's weights.
deep_compression='0.84 0.38 0.35 0.37 0.37 0.09 0.09 0.26'
eap='0.17 0.08 0.09 0.19 0.26 0.08 0.09 0.22'
# Activations, padding apart. conv2 and its output: the 25-column sample line of the MIT tool.
# conv3 to conv5: zeros that the chip saw (JSSC 2017, Table V: 72.5, 79.3, 77.6 % of the padded
# map). fc6 to fc8: EIE (ISCA 2016), Table III. The outputs of conv1 and conv5 (before pooling):
# the Sparseloop artifact; of the others: the next layer's input.
ifmap='1 0.884 0.366 0.276 0.298 0.351 0.353 0.375'
ofmap='0.378 0.1934 0.276 0.298 0.10 0.353 0.375 1'
# The Sparseloop artifact's, all five.
ifmap_sparseloop='0.999 0.6 0.275 0.207 0.23 0.351 0.353 0.375'
ofmap_sparseloop='0.378 0.169 0.303 0.304 0.10 0.353 0.375 1'

# with_zeros LAYERS IFMAP WEIGHT OFMAP: the layer text with these densities.
with_zeros() {
    awk -F, -v OFS=, -v ifmap="$2" -v weight="$3" -v ofmap="$4" '
        BEGIN { split(ifmap, a, " "); split(weight, b, " "); split(ofmap, c, " ") }
        /^[0-9]/ {
            row++
            $6 = sprintf("%.0f", (1 - a[row]) * $2 * $3 * $4 * $5)
            $12 = sprintf("%.0f", (1 - b[row]) * $8 * $9 * $10 * $11)
            $18 = sprintf("%.0f", (1 - c[row]) * $14 * $15 * $16 * $17)
            print
        }' "$1"
}

# field NAME LAYERS HW: a top-level number of the estimate.
field() {
    "$wattle" energy "$2" --hw "$3" --json | sed -nE "s/^  \"$1\": ([-0-9.eE+]+),?\$/\\1/p"
}

# share TYPE LAYERS HW: per cent of the total that a data type takes.
share() {
    "$wattle" energy "$2" --hw "$3" --csv | awk -F, -v column="$1" '
        NR > 1 { sum += $column; for (i = 2; i <= 5; i++) all += $i }
        END { printf "%.1f", 100 * sum / all }'
}

# three_totals TITLE HW IFMAP OFMAP [LAYERS]: a row of the table of variants.
three_totals() {
    local layers=${5:-$out/alexnet.txt} name weights totals=()
    for weights in "$ones" "$deep_compression" "$eap"; do
        with_zeros "$layers" "$3" "$weights" "$4" >"$out/variant.txt"
        totals+=("$(field total "$out/variant.txt" "$2")")
    done
    awk -v title="$1" -v a="${totals[0]}" -v b="${totals[1]}" -v c="${totals[2]}" 'BEGIN {
        printf "| %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", title, a / 1e9, b / 1e9, c / 1e9,
            a / b, a / c }'
}

# hardware NAME SED: eyeriss-cvpr17 with a change.
hardware() {
    "$wattle" energy --hw-show eyeriss-cvpr17 | sed -E "s/^name: .*/name: $1/; $2" \
        >"$out/$1.yaml"
    if cmp -s <("$wattle" energy --hw-show eyeriss-cvpr17 | tail -n +5) \
        <(tail -n +5 "$out/$1.yaml"); then
        echo "hardware $1 is not changed" >&2
        exit 1
    fi
    echo "$out/$1.yaml"
}

alexnet_totals() {
    echo '| AlexNet, batch 44, eyeriss-cvpr17 | weights (1e6) | MACs not skipped (1e8) | energy (1e9) | ratio | paper: weights | MACs | energy | ratio |'
    echo '|---|---|---|---|---|---|---|---|---|'
    local dense=0
    while read -r title weights paper; do
        with_zeros "$out/alexnet.txt" "$ifmap" "${!weights}" "$ofmap" >"$out/$weights.txt"
        local total
        total=$(field total "$out/$weights.txt" eyeriss-cvpr17)
        [ "$dense" = 0 ] && dense=$total
        awk -v title="${title//_/ }" -v paper="$paper" -v total="$total" -v dense="$dense" \
            -v macs="$(field macs_not_skipped "$out/$weights.txt" eyeriss-cvpr17)" \
            -v weights="$(field weights_not_zero "$out/$weights.txt" eyeriss-cvpr17)" 'BEGIN {
            printf "| %s | %.2f | %.2f | %.2f | %.2f | %s |\n", title, weights / 1e6, macs / 1e8,
                total / 1e9, dense / total, paper }'
    done <<'ROWS'
dense ones 60.95 | 3.71 | 3.97 | 1
Deep_Compression deep_compression 6.79 | 1.79 | 1.85 | 2.15
energy-aware eap 5.73 | 0.56 | 1.06 | 3.75
ROWS
}

alexnet_variants() {
    local padded=$out/padded.txt
    echo '| choice | dense | Deep Compression | energy-aware | dense / DC | dense / EAP |'
    echo '|---|---|---|---|---|---|'
    echo '| the paper | 3.97 | 1.85 | 1.06 | 2.15 | 3.75 |'
    three_totals 'as above' eyeriss-cvpr17 "$ifmap" "$ofmap"
    three_totals 'activations dense' eyeriss-cvpr17 "$ones" "$ones"
    three_totals 'activations of the Sparseloop artifact' eyeriss-cvpr17 "$ifmap_sparseloop" \
        "$ofmap_sparseloop"
    # Padding as values like others: maps of the padded size without padding.
    awk -F, -v OFS=, '{ $2 += $22 + $23; $3 += $24 + $25; $22 = $23 = $24 = $25 = 0; print }' \
        "$out/alexnet.txt" >"$padded"
    three_totals 'padding is no zeros (and is fetched)' eyeriss-cvpr17 "$ifmap" "$ofmap" "$padded"
    three_totals 'no compression' \
        "$(hardware raw 's/dram: presence/dram: none/; s/buffer: \{ifmap: presence\}/buffer: none/')" \
        "$ifmap" "$ofmap"
    three_totals 'weights not compressed' \
        "$(hardware raw-weights 's/dram: presence/dram: {ifmap: presence, ofmap: presence, weight: none}/')" \
        "$ifmap" "$ofmap"
    three_totals 'one image a pass: weights are fetched for each' \
        "$(hardware one-image 's/^word_bits.*/&\nmost_images: 1/')" "$ifmap" "$ofmap"
    three_totals 'buffer of 25,600 words' \
        "$(hardware half-buffer 's/words: 51200/words: 25600/')" "$ifmap" "$ofmap"
    three_totals 'buffer of 102,400 words' \
        "$(hardware double-buffer 's/words: 51200/words: 102400/')" "$ifmap" "$ofmap"
    three_totals 'array 2, every register access 1 (Table IV)' \
        "$(hardware table-iv 's/array: 1 /array: 2 /; s/ifmap: 0.5, ofmap: 1/ifmap: 1, ofmap: 1/')" \
        "$ifmap" "$ofmap"
    three_totals 'counted by whole rows (JSSC 2017)' \
        "$(hardware rows 's/accounting: cvpr17/accounting: rows/')" "$ifmap" "$ofmap"
    three_totals 'eyeriss-chip: weights raw, zero weights computed' eyeriss-chip "$ifmap" "$ofmap"
    three_totals 'eyeriss-isca16: zeros save nothing' eyeriss-isca16 "$ifmap" "$ofmap"
}

# cut_idx FROM.gz TO ITEMS ITEM_BYTES HEADER_BYTES: the first items of an IDX file.
cut_idx() {
    local count
    printf -v count '\\x%02x' $(($3 >> 24 & 255)) $(($3 >> 16 & 255)) $(($3 >> 8 & 255)) $(($3 & 255))
    zcat "$1" >"$out/all.tmp"
    {
        head -c 4 "$out/all.tmp"
        printf "$count"
        head -c $(($5 + $3 * $4)) "$out/all.tmp" | tail -c +9
    } >"$2"
    rm "$out/all.tmp"
}

small_fashion() {
    local from=/usr/share/datasets/fashion-mnist
    mkdir -p "$out/fashion"
    cut_idx $from/train-images-idx3-ubyte.gz "$out/fashion/train-images-idx3-ubyte" 8000 784 16
    cut_idx $from/train-labels-idx1-ubyte.gz "$out/fashion/train-labels-idx1-ubyte" 8000 1 8
    cut_idx $from/t10k-images-idx3-ubyte.gz "$out/fashion/t10k-images-idx3-ubyte" 1000 784 16
    cut_idx $from/t10k-labels-idx1-ubyte.gz "$out/fashion/t10k-labels-idx1-ubyte" 1000 1 8
}

# GoogLeNet's shapes with the densities that googlenet-28 has in the same layers.
googlenet_shares() {
    local checkpoint=${GOOGLENET:-$out/googlenet-28/ckpt/last.wtl} ifmap_28 ofmap_28 ones_58 hw
    small_fashion
    if [ -z "${GOOGLENET:-}" ] && [ ! -e "$checkpoint" ]; then
        "$wattle" train --net googlenet-28 --data "idx:$out/fashion" --epochs 1 --batch 32 \
            --lr 0.02 --augment flip --out "$out/googlenet-28" --seed 0 --threads "$threads" \
            --quiet >&2
    fi
    "$wattle" energy "$checkpoint" --data "idx:$out/fashion" --images 512 --threads "$threads" \
        --batch 48 --quiet --layers-out "$out/googlenet-28.txt" >/dev/null
    "$wattle" energy googlenet-bvlc --batch 48 --layers-out "$out/googlenet.txt" >/dev/null
    density() { awk -F, -v f="$1" '/^[0-9]/ { n = $(f - 4) * $(f - 3) * $(f - 2) * $(f - 1)
        printf "%.6f ", 1 - $f / n }' "$out/googlenet-28.txt"; }
    ifmap_28=$(density 6)
    ofmap_28=$(density 18)
    ones_58=$(awk '/^[0-9]/ { printf "1 " }' "$out/googlenet.txt")
    with_zeros "$out/googlenet.txt" "$ifmap_28" "$ones_58" "$ofmap_28" >"$out/googlenet-zeros.txt"
    echo '| GoogLeNet, batch 48 | computation % | ifmap % | weight % | ofmap % | total (1e9) |'
    echo '|---|---|---|---|---|---|'
    echo '| published | 10 | 25 | 22 | 43 | 7.63 |'
    for hw in eyeriss-cvpr17 "$out/one-image.yaml" "$out/table-iv.yaml" eyeriss-chip; do
        googlenet_row "activations of googlenet-28" "$out/googlenet-zeros.txt" "$hw"
        googlenet_row "activations dense" "$out/googlenet.txt" "$hw"
    done
}

googlenet_row() {
    echo "| $(basename "$3" .yaml), $1 | $(share 5 "$2" "$3") | $(share 2 "$2" "$3") |" \
        "$(share 4 "$2" "$3") | $(share 3 "$2" "$3") |" \
        "$(field total "$2" "$3" | awk '{ printf "%.2f", $1 / 1e9 }') |"
}

"$wattle" energy alexnet-bvlc --batch 44 --layers-out "$out/alexnet.txt" >/dev/null
alexnet_totals
echo
alexnet_variants
echo
googlenet_shares
