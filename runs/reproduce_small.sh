#!/usr/bin/env bash
# The paper's tables on data that anyone can have, with small counterparts of its networks: what two CPU cores can do.
# Each line is one table; it ends after MINUTES, and the same line goes on behind the last finished fold. A fold takes
# one to four minutes; all of it about four hours of one core, beside what the build of the tweets takes.
#
#   bash runs/reproduce_small.sh TWEETS RAVDESS FER2013 WORK [MINUTES]
#
# TWEETS: table of tweets with pictures (`parallelnet build tweets --help`). RAVDESS, FER2013: folders as `parallelnet
# list corpora` describes them. WORK takes data sets and runs (2 GB). MINUTES: of each table; 170 when left out.
#
# Rows of one table may be trained side by side: the same line in a second shell with other --rows and another --out,
# then the whole line, which collects them. Needs `make .venv/.dev` once: training, building and speaking.
if [ $# -lt 4 ]; then
  echo "Usage: bash runs/reproduce_small.sh TWEETS RAVDESS FER2013 WORK [MINUTES]" >&2
  exit 2
fi
set -euo pipefail
tweets=$1 ravdess=$2 fer2013=$3 work=$4 minutes=${5:-170}
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin/parallelnet"
python="$here/.venv/bin/python"
threads=${THREADS:-1}
export OMP_NUM_THREADS=$threads
mkdir -p "$work"

# The data. A finished build is left as it is, a stopped one goes on.
"$bin" build tweets --tweets "$tweets" --out "$work/tweets-emotions"
"$bin" build tweets --tweets "$tweets" --out "$work/tweets-sentiment" --labels sentiment
[ -f "$work/pairs-true/manifest.csv" ] || "$bin" build pairs --speech "ravdess:$ravdess" --image "fer2013:$fer2013" \
  --out "$work/pairs-true" --folds 5 --per-class 160
[ -f "$work/faces/manifest.csv" ] || "$python" "$here/runs/spare_faces.py" "$fer2013" "$work/pairs-true" "$work/faces"

# What the build came to, with what it cost: dataset.json, build-log.json and the size of the shards in one file.
"$python" - "$work/tweets-emotions" "$here/results/build-tweets.json" <<'PYTHON'
import json
import sys
from pathlib import Path

folder, target = Path(sys.argv[1]), Path(sys.argv[2])
record = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
record["log"] = json.loads((folder / "build-log.json").read_text(encoding="utf-8"))
record["bytes"] = sum(path.stat().st_size for path in folder.glob("data/*.parquet"))
target.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
PYTHON

# In the place of ImageNet weights: each family's eyes learn from the faces that the pairs left over, none of which
# stands in the pairs. Three emotions, for the pairs need every face of hate.
small=(--size small --preset compact --weight-decay 0.05 --rotate-deg 10 --scale 0.1 --shift 0.06 --tone 0 --erase 0
  --mixup 0 --threads "$threads" --accelerator cpu)
for family in vgg19 efficientnet; do
  "$bin" train --variant ier-only --image-backbone "$family-narrow" --data "$work/faces" --out "$work/eyes-$family" \
    --resume --no-export "${small[@]}" --epochs 20 --samples-per-epoch 10000 --batch-size 64 --learning-rate 2e-3 \
    --ema 0.99 --class-weights balanced
done
"$python" - "$work" "$here/results/eyes.json" <<'PYTHON'
import json
import sys
from pathlib import Path

work, target = Path(sys.argv[1]), Path(sys.argv[2])
found = {}
for family in ("vgg19", "efficientnet"):
    facts = json.loads((work / f"eyes-{family}" / "checkpoint" / "model.json").read_text(encoding="utf-8"))
    record = json.loads((work / f"eyes-{family}" / "metrics.json").read_text(encoding="utf-8"))
    found[family] = {name: record[name] for name in ("epochs", "seconds", "parameters", "validation")}
    found[family] |= {name: facts[name] for name in ("classes", "data", "training", "versions")}
target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
PYTHON
eyes=(--init-from "$work/eyes-vgg19/checkpoint" "$work/eyes-efficientnet/checkpoint")

# One recipe for every row, so that what differs is the network. Voices are moved in time and masked, pictures moved,
# turned and zoomed a little; more of it costs more than such networks do.
recipe=("${small[@]}" --epochs 12 --batch-size 32 --learning-rate 2e-3 --ema 0.98 --keep best --speed 0 --noise 0
  --equaliser-db 0 --speech-versions 1 --time-shift-s 0.3 --tempo 0 --mel-warp 0 --time-masks 0 --mel-masks 1
  --modality-dropout 0.3 --max-minutes "$minutes")
table1=(--rows ser-only ier-only baseline-1 baseline-2 baseline-3 parallelnet additive)

# Table 1 and Fig. 3 on voices and faces with true labels: speakers and faces of a fold are heard and seen in it alone.
"$bin" experiment table1 --data "$work/pairs-true" --out "$here/results/table1-pairs" --work "$work/table1-pairs" \
  "${recipe[@]}" "${eyes[@]}" --samples-per-epoch 2000 --class-weights none "${table1[@]}"

# What those eyes are worth: the same without them.
"$bin" experiment table1 --data "$work/pairs-true" --out "$here/results/table1-pairs-random" \
  --work "$work/table1-pairs-random" "${recipe[@]}" --samples-per-epoch 2000 --class-weights none \
  --rows ser-only parallelnet

# Both modalities, each alone, each missing; calibration. Takes over the folds of Table 1.
"$bin" experiment modalities --data "$work/pairs-true" --out "$here/results/modalities" --work "$work/table1-pairs" \
  "${recipe[@]}" "${eyes[@]}" --samples-per-epoch 2000 --class-weights none --with-dropout 0

# Table 1 on tweets whose four emotions the bundled teachers named. The eyes know faces of the corpus that the picture
# teacher learnt from, which the notes of the result say. Two thirds of the tweets are `sad`, so classes weigh alike.
"$bin" experiment table1 --data "$work/tweets-emotions" --out "$here/results/table1-tweets" \
  --work "$work/table1-tweets" "${recipe[@]}" "${eyes[@]}" --samples-per-epoch 1000 --class-weights balanced \
  --rows ser-only ier-only baseline-1 baseline-2 baseline-3 parallelnet

# Table 2 on the tweets that people labelled. Without ImageNet weights its original rows say so.
"$bin" experiment table2 --data "$work/tweets-sentiment" --out "$here/results/table2" --work "$work/table2" \
  "${recipe[@]}" --samples-per-epoch 1000 --class-weights balanced

# Every table and page anew from the JSON.
"$bin" experiment render --results "$here/results" --out "$here/docs/results"
