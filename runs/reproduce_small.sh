#!/usr/bin/env bash
# The paper's tables on data that anyone can have, with small counterparts of its networks: what two CPU cores can do.
# Each line is one table; it ends after MINUTES, and the same line goes on behind the last finished fold.
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

[ -f "$work/emotions/dataset.json" ] || "$bin" build tweets --tweets "$tweets" --out "$work/emotions"
[ -f "$work/pairs/manifest.csv" ] || "$bin" build pairs --speech "ravdess:$ravdess" --image "fer2013:$fer2013" \
  --out "$work/pairs" --folds 5

# One recipe for every row of every table, so that what differs is the network.
small=(--size small --accelerator cpu --threads "$threads" --max-minutes "$minutes" --preset compact)

# Table 1 and Fig. 3 on tweets whose four emotions the bundled teachers named.
"$bin" experiment table1 --data "$work/emotions" --out "$here/results/table1-tweets" --work "$work/table1-tweets" \
  "${small[@]}" --rows ser-only ier-only baseline-1 baseline-2 baseline-3 parallelnet additive

# The same rows on voices and faces with true labels: speakers and faces of a fold are heard and seen in it alone.
"$bin" experiment table1 --data "$work/pairs" --out "$here/results/table1-pairs" --work "$work/table1-pairs" \
  "${small[@]}" --rows ser-only ier-only baseline-1 baseline-2 baseline-3 parallelnet additive
