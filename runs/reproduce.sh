#!/usr/bin/env bash
# The paper's tables in the paper's full setting (section 4.2): VGG16 hears, VGG19 sees, ImageNet weights, 30 epochs,
# 5 folds, batches of 64. Each line is one table. Stopped anywhere, the same line goes on behind the last finished fold.
#
#   bash runs/reproduce.sh IEMOCAP FI BT4SA WORK [OPTIONS of every table, say: --devices 4 --workers 8]
#
# IEMOCAP, FI, BT4SA: folders as `parallelnet list corpora` describes them; all three need an agreement or a request.
# WORK takes pairs, teachers, the built data set and the runs (hundreds of GB for all of B-T4SA). Needs a GPU with 16 GB
# (--accelerator gpu --devices N for several). ImageNet weights are downloaded once by torchvision.
set -euo pipefail
iemocap=$1 fi=$2 bt4sa=$3 work=$4
shift 4
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin/parallelnet"
mkdir -p "$work"
paper=(--preset paper --weights imagenet --folds 5 --accelerator gpu "$@")

# The teachers (section 3.1): a speech model from IEMOCAP, a picture model from Flickr & Instagram.
teach() { # NAME VARIANT DATA
  "$bin" train --variant "$2" --data "$3" --out "$work/teachers/$1" --resume --preset paper --weights imagenet \
    --accelerator gpu
}
teach speech ser-only "iemocap:$iemocap"
teach image ier-only "fi:$fi"

# The data set (section 3.1) with emotions from the teachers, and with the tweets' own sentiments (section 5.3).
built() { # NAME OPTIONS
  [ -f "$work/$1/dataset.json" ] || "$bin" build tweets --tweets "$bt4sa" --format b-t4sa --out "$work/$1" "${@:2}"
}
built emotions --speech-teacher "$work/teachers/speech/checkpoint" --image-teacher "$work/teachers/image/checkpoint"

# Table 1, Fig. 3 and Fig. 4, and the studies that the text reports.
"$bin" experiment table1 --data "$work/emotions" --out "$here/results/table1-paper" --work "$work/table1" \
  --studies --figure4 1 "${paper[@]}"

# Both modalities, each alone, each missing at test time; trained with and without missing modalities. Takes over the
# folds of Table 1.
"$bin" experiment modalities --data "$work/emotions" --out "$here/results/modalities-paper" --work "$work/table1" \
  --with-dropout 0.3 "${paper[@]}"

# Table 2: the tweets' own sentiments. B-T4SA's are those of a text classifier, MVSA's are people's: name either.
built sentiments --labels sentiment
"$bin" experiment table2 --data "$work/sentiments" --out "$here/results/table2-paper" --work "$work/table2" "${paper[@]}"

"$bin" experiment render --results "$here/results" --out "$here/docs/results"
