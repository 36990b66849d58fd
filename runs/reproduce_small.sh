#!/usr/bin/env bash
# The paper's tables on data that anyone can have, with small counterparts of its networks: what two CPU cores can do.
# Each line is one table; it ends after MINUTES, and the same line goes on behind the last finished fold. A fold takes
# one to four minutes.
#
#   bash runs/reproduce_small.sh TWEETS RAVDESS FER2013 WORK [MINUTES]
#
# TWEETS: table of tweets with pictures (`parallelnet build tweets --help`). RAVDESS, FER2013: folders as `parallelnet
# list corpora` describes them. WORK takes data sets and runs (2 GB). MINUTES: of each table; 170 when left out.
set -euo pipefail
tweets=$1 ravdess=$2 fer2013=$3 work=$4 minutes=${5:-170}
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin/parallelnet"
threads=${THREADS:-1}
export OMP_NUM_THREADS=$threads
mkdir -p "$work"

# The data. A finished build is left as it is, a stopped one goes on.
"$bin" build tweets --tweets "$tweets" --out "$work/tweets-emotions"
"$bin" build tweets --tweets "$tweets" --out "$work/tweets-sentiment" --labels sentiment
[ -f "$work/pairs-true/manifest.csv" ] || "$bin" build pairs --speech "ravdess:$ravdess" --image "fer2013:$fer2013" \
  --out "$work/pairs-true" --folds 5 --per-class 160

# What the build came to, with what it cost: dataset.json, build-log.json and the size of the shards in one file.
"$here/.venv/bin/python" - "$work/tweets-emotions" "$here/results/build-tweets.json" <<'PYTHON'
import json
import sys
from pathlib import Path

folder, target = Path(sys.argv[1]), Path(sys.argv[2])
record = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
record["log"] = json.loads((folder / "build-log.json").read_text(encoding="utf-8"))
record["bytes"] = sum(path.stat().st_size for path in folder.glob("data/*.parquet"))
target.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
PYTHON

# One recipe for every row of a table, so that what differs is the network. Short: 6,000 samples drawn a fold, and 3,000
# on the tweets' emotions. Waveforms and pictures are nearly as they are: what augments them costs more than a small
# network, and with so few steps moved and zoomed pictures are not learnt at all (results/table1-pairs-first).
small=(--size small --preset compact --samples-per-epoch 1000 --batch-size 16 --learning-rate 1e-3 --weight-decay 0.05
  --ema 0.95 --speed 0 --noise 0 --equaliser-db 0 --speech-versions 1 --time-shift-s 0.3 --tempo 0 --mel-warp 0
  --time-masks 0 --mel-masks 1 --rotate-deg 0 --scale 0 --shift 0 --tone 0 --erase 0 --mixup 0 --class-weights none
  --modality-dropout 0.3 --threads "$threads" --accelerator cpu --max-minutes "$minutes")
short=("${small[@]}" --epochs 6)
table1=(ser-only ier-only baseline-1 baseline-2 baseline-3 parallelnet)

# Table 1 and Fig. 3 on voices and faces with true labels: speakers and faces of a fold are heard and seen in it alone.
"$bin" experiment table1 --data "$work/pairs-true" --out "$here/results/table1-pairs" --work "$work/table1-pairs" \
  "${short[@]}" --rows "${table1[@]}"

# The same on tweets whose four emotions the bundled teachers named.
"$bin" experiment table1 --data "$work/tweets-emotions" --out "$here/results/table1-tweets" \
  --work "$work/table1-tweets" "${small[@]}" --epochs 3 --rows "${table1[@]}"

# Table 2 on the tweets that people labelled. Without ImageNet weights its original rows say so.
"$bin" experiment table2 --data "$work/tweets-sentiment" --out "$here/results/table2" --work "$work/table2" "${short[@]}"

# Both modalities, each alone, each missing; calibration. Takes over the folds of Table 1.
"$bin" experiment modalities --data "$work/pairs-true" --out "$here/results/modalities" --work "$work/table1-pairs" \
  "${short[@]}"

# Every table and page anew from the JSON.
"$bin" experiment render --results "$here/results" --out "$here/docs/results"
