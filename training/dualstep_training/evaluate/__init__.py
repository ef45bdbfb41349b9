"""Scores of Dualstep, classical baselines and other programs on one test set that everyone gets as files.

`python -m dualstep_training.evaluate --help` tells the commands. The order: `set` writes the recordings, `run` restores and scores
them with one system after another (what is scored already is left alone), `report` writes tables, pictures and the listening test.
"""
