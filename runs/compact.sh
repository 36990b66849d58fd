#!/usr/bin/env bash
# The bundled checkpoint `compact`, from the two corpora to src/parallelnet/checkpoints/compact.
#
#   bash runs/compact.sh RAVDESS FER2013 WORK
#
# RAVDESS and FER2013 are folders as `parallelnet list corpora` describes them; WORK takes pairs and runs (1 GB).
# About two and a half hours on two CPU cores. Stopped anywhere, the same line goes on where it was.
set -euo pipefail
ravdess=$1 fer2013=$2 work=$3
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin/parallelnet"
threads=${THREADS:-1}

# Actors 1 to 14 and FER-2013 train to learn from; actors 15, 16 and a tenth of FER-2013 train to stop and calibrate on;
# actors 17 to 20 and the FER-2013 validation part to report on. 592 is the most pairs of one class in validation:
# 16 utterances times 37 pictures of hate.
"$bin" build pairs --speech "ravdess:$ravdess" --image "fer2013:$fer2013" --out "$work/pairs" \
  --validation-speakers 15 16 --test-speakers 17 18 19 20 --image-test-split validation \
  --per-class 6400 --per-class-eval 592

# The ears. 26,880 draws are 60 passes over 448 utterances.
"$bin" train --variant compact-ser-only --data "$work/pairs" --out "$work/ser" --resume --threads "$threads" \
  --epochs 8 --samples-per-epoch 3360 --batch-size 16 --learning-rate 2e-3 --weight-decay 0.02 --ema 0.99 \
  --clip-gradient 2 --mixup 0 --auxiliary sex intensity text --auxiliary-weight 0.5 --class-weights none \
  --modality-dropout 0

# The eyes. 480,000 draws are 33 passes over 14,343 pictures, hate drawn as often as happy.
"$bin" train --variant compact-ier-only --data "$work/pairs" --out "$work/ier" --resume --threads "$threads" \
  --epochs 30 --samples-per-epoch 16000 --batch-size 64 --learning-rate 2e-3 --weight-decay 0.1 --class-weights none

# The eyes once more, without mixup and with a gentler brush.
"$bin" train --variant compact-ier-only --data "$work/pairs" --out "$work/ier-2" --resume --threads "$threads" \
  --init-from "$work/ier/checkpoint" --epochs 8 --samples-per-epoch 16000 --batch-size 64 --learning-rate 1e-3 \
  --weight-decay 0.1 --class-weights none --mixup 0 --erase 0.2

# Both: ears and eyes stay as they are, the three heads and their fusion learn. A third of the pairs loses a modality.
"$bin" train --variant compact --data "$work/pairs" --out "$work/compact" --resume --threads "$threads" \
  --init-from "$work/ser/checkpoint" "$work/ier-2/checkpoint" --freeze branches --face auto \
  --epochs 4 --samples-per-epoch 8000 --batch-size 16 --learning-rate 1e-3 --weight-decay 0.05 \
  --modality-dropout 0.35 --ema 0.99 --keep best --mixup 0 --class-weights none --card-notes "$here/runs/compact-card.md"

target="$here/src/parallelnet/checkpoints/compact"
mkdir -p "$target"
cp "$work/compact/checkpoint/"* "$target/"
chmod 644 "$target"/*
mkdir -p "$here/results"
cp "$work/compact/metrics.json" "$here/results/compact.json"
