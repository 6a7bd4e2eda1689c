"""A room with hostile members and strangers at its doors, beside an honest call whose sound is measured.

Four processes, so that none takes the other's turn: `honest` runs the relay, the bot that everybody talks to, and the
listener who hears it; `attacker` is the hostile one, and yields to all of them. `attacks` has what it does, one attack
for each class of findings; `scene` puts them together and measures.

`python -m tests.hostile [--seconds 60] [attack …]` prints a table: how long nothing genuine was heard at the far ear,
and how much more memory the bot and the relay took. `test_soak.py` does the same for a few seconds of each.
"""
