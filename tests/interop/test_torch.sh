#!/bin/bash
# test_torch.sh PYTHON NET_DUMP ZOO_FOLDER SCRATCH NET... - compare_torch.py, or a skip with
# its reason where there is no Python to run it.
set -euo pipefail
python=$1
if ! command -v "$python" > /dev/null; then
    echo "skipped: $python is not there (Debian: python3-torch python3-torchvision)"
    exit 77
fi
exec env PYTHONDONTWRITEBYTECODE=1 "$python" "$(dirname "$0")/compare_torch.py" "${@:2}"
