#!/usr/bin/env bash
# Energy-aware pruning beside magnitude pruning: the comparisons of docs/results/pruning.md, from
# checkpoints that fashion-mnist.sh and cifar10.sh left in TRAINED, and a trained googlenet-28.
# Each part takes 20 to 60 minutes on one core; a part that was interrupted goes on.
#   tools/experiments/pruning.sh fashion-mnist|googlenet TRAINED OUT
#   tools/experiments/pruning.sh cifar10 TRAINED OUT folder:DIR
# (WATTLE: the command, default: build/release; THREADS: default 1)
. "$(dirname "$0")/common.sh"
part=${1:?which part} trained=${2:?folder of the trained networks} out=${3:?folder for results}
recipe="--rounds 1 --distill 0.7 --temperature 3 --max-drop 1 --threads ${THREADS:-1}"

# compare NAME CKPT DATA OPTION...
compare()
{
    local name=$1 checkpoint=$2 data=$3
    shift 3
    if [ -e "$out/$name/config.json" ]; then
        "$wattle" compare --resume --out "$out/$name"
    else
        "$wattle" compare "$checkpoint" --data "$data" --out "$out/$name" $recipe "$@"
    fi
    "$wattle" report "$out/$name"
}

case $part in
fashion-mnist)
    compare fashion-mnist "$trained/alexnet-28/ckpt/last.wtl" fashion-mnist --seeds 3 \
        --methods energy-aware,magnitude-global,magnitude-sensitivity \
        --budgets 0.5,0.44,0.4,0.36 --final-epochs 0.5 --lr 0.02
    ;;
cifar10)
    compare cifar10 "$trained/alexnet-32/ckpt/last.wtl" "${4:?DATA}" --seeds 3 \
        --methods energy-aware,magnitude-global --budgets 0.5,0.4 --final-epochs 1 --lr 0.01 \
        --search-images 256
    ;;
googlenet)
    compare googlenet "$trained/googlenet-28/ckpt/last.wtl" fashion-mnist --seeds 1 \
        --methods energy-aware,magnitude-global --budgets 0.66,0.58 --final-epochs 0.25 \
        --lr 0.01 --search-images 256
    ;;
*)
    echo "no part '$part'" >&2
    exit 64
    ;;
esac
