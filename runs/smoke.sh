#!/usr/bin/env bash
# The paper's full network (VGG16 hears, VGG19 sees, 75 million parameters) for two epochs on a few real pairs: it runs,
# its loss falls, its checkpoint predicts. Some five minutes on two CPU cores; says nothing about accuracy.
#
#   bash runs/smoke.sh RAVDESS FER2013 WORK
set -euo pipefail
ravdess=$1 fer2013=$2 work=$3
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin/parallelnet"

"$bin" build pairs --speech "ravdess:$ravdess" --image "fer2013:$fer2013" --out "$work/pairs" \
  --validation-speakers 15 --test-speakers 16 --per-class 16 --per-class-eval 2
"$bin" train --variant parallelnet --preset paper --weights none --data "$work/pairs" --out "$work/parallelnet" \
  --resume --epochs 2 --batch-size 8 --learning-rate 1e-4
cat "$work"/parallelnet/logs/start-*/metrics.csv
"$bin" predict --checkpoint "$work/parallelnet/checkpoint" \
  --speech "$here/examples/happy.flac" --image "$here/examples/astronaut.jpg" --face auto
