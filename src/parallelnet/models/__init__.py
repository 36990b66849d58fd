"""The networks of the paper's studies as one family (paper section 3.2, Fig. 1, Eq. 1 and 2).

`variants` says which networks and backbones there are (facts, no torch), `features` and `layers` are their parts,
`network` assembles and runs them, `stored` writes them down. Nothing is imported here: `list variants` stays instant.
"""
