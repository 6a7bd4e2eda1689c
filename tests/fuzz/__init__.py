"""Seeded fuzzers: what strangers and peers may send, badly.

`targets/`   one file for each kind of input; each `TARGET` there is found by itself
`engine`     mutates, runs, judges: over 50 ms, an exception nobody expects or a hang is a failure
`corpus/`    every input that has failed once, one folder a target; they are tried first, for ever

The fast suite runs each target for a second or two (`test_fuzz.py`). `make fuzz` goes on for as long as one likes, and
keeps what it finds in the corpus.
"""
