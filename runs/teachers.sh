#!/usr/bin/env bash
# The bundled teachers `teacher-speech` and `teacher-image`, from the two corpora and the bundled `compact` to
# src/parallelnet/checkpoints/.
#
#   bash runs/teachers.sh RAVDESS FER2013 WORK
#
# RAVDESS and FER2013 are folders as `parallelnet list corpora` describes them; WORK takes pairs (links) and runs (50 MB).
# Half an hour on a share of two busy CPU cores. Stopped anywhere, the same line goes on where it was.
set -euo pipefail
ravdess=$1 fer2013=$2 work=$3
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin/parallelnet"
threads=${THREADS:-1}
mkdir -p "$work"

# The very parts of runs/compact.sh: ears and eyes of `compact` learnt from the training part, and from it only.
[ -f "$work/pairs/manifest.csv" ] || "$bin" build pairs --speech "ravdess:$ravdess" --image "fer2013:$fer2013" \
  --out "$work/pairs" --validation-speakers 15 16 --test-speakers 17 18 19 20 --image-test-split validation \
  --per-class 6400 --per-class-eval 592

# Ears and eyes stay as they are; a single head learns on each, from pairs dealt so that every class comes alike often.
teacher() {
  local name=$1 variant=$2
  shift 2
  "$bin" train --variant "$variant" --data "$work/pairs" --out "$work/$name" --resume --threads "$threads" \
    --init-from compact --freeze branches --card-notes "$here/runs/$name-card.md" --quiet \
    --epochs 4 --batch-size 16 --learning-rate 1e-3 --weight-decay 0.05 --ema 0.99 --keep best \
    --class-weights none --modality-dropout 0 --mixup 0 "$@"
  local target="$here/src/parallelnet/checkpoints/$name"
  mkdir -p "$target"
  cp "$work/$name/checkpoint/"* "$target/"
  chmod 644 "$target"/*
}
# The ears know their 448 utterances by heart: a head that learns on those alone is too sure. Augmented, the loss on the
# validation part is lower.
teacher teacher-speech compact-ser-only --samples-per-epoch 2000
# The eyes have 14,343 pictures: as they are, so that what the frozen part makes of each is computed once.
teacher teacher-image compact-ier-only --samples-per-epoch 8000 --face auto \
  --no-flip --rotate-deg 0 --scale 0 --shift 0 --tone 0 --erase 0 \
  --speed 0 --noise 0 --equaliser-db 0 --time-shift-s 0 --tempo 0 --time-masks 0 --mel-masks 0 --mel-warp 0

# Test figures and intervals of both in one file.
"$here/.venv/bin/python" - "$work" "$here/results/teachers.json" <<'PYTHON'
import json
import sys
from pathlib import Path

work, target = Path(sys.argv[1]), Path(sys.argv[2])
names = ("teacher-speech", "teacher-image")
record = {name: json.loads((work / name / "metrics.json").read_text(encoding="utf-8")) for name in names}
target.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
PYTHON
