"""A data set from plain tweets (paper 3.1): steps, duplicates, teachers, shards, card; `build.py` drives them."""
