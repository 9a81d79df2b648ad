# Bash completion of wattle. The options are read from `wattle help COMMAND`, so that they
# are those of the installed version.

_wattle_options()
{
    "$1" help "$2" 2>/dev/null | grep -oE -e '(^|[ (])--[a-z][a-z0-9-]+' | tr -d ' (' | sort -u
}

_wattle_zoo()
{
    "$1" info --zoo 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_wattle_hardware()
{
    "$1" energy --hw-list 2>/dev/null | awk '{ print $1 }'
}

_wattle_methods()
{
    "$1" prune --methods 2>/dev/null | awk '{ print $1 }'
}

_wattle()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} words=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words='demo train eval infer info energy sense prune finetune compare report bench help --help --version'
    else
        case $previous in
        --net | --model | --against) words=$(_wattle_zoo "${COMP_WORDS[0]}") ;;
        --data | --data-path) words='fashion-mnist idx cifar10 cifar100 folder list' ;;
        --optimizer | --opt) words='sgd nesterov adam' ;;
        --schedule | --lr-scheduler) words='constant step cosine onecycle' ;;
        --augment) words='none flip cifar imagenet caffe' ;;
        --engine) words='native blas reference' ;;
        --hw | --against-hw | --hw-show) words=$(_wattle_hardware "${COMP_WORDS[0]}") ;;
        --method | --methods | -m) words=$(_wattle_methods "${COMP_WORDS[0]}") ;;
        --allocation) words='least-error equal-error by-energy' ;;
        --granularity) words='weight 4x1' ;;
        --metric) words='top1 top5' ;;
        --color) words='auto always never' ;;
        help) words='demo train eval infer info energy sense prune finetune compare report bench' ;;
        *)
            if [[ $current == -* ]]; then
                words=$(_wattle_options "${COMP_WORDS[0]}" "$command")
            elif [[ $command == info || $command == energy || $command == bench ]]; then
                words=$(_wattle_zoo "${COMP_WORDS[0]}")
            fi
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    # Where no word of ours fits, and beside names of the zoo and of hardware, files are meant.
    if [[ $current != -* ]] && ((COMP_CWORD > 1)); then
        if ((${#COMPREPLY[@]} == 0)) || [[ $previous == --net ]] ||
            [[ $command == info || $command == energy || $command == bench ]]; then
            local file
            while IFS= read -r file; do
                COMPREPLY+=("$file")
            done < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
        fi
    fi
}
complete -F _wattle wattle
