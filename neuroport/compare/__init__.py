"""One experiment on several engines: first whether they agree, then how fast and how large they are.

    from neuroport.compare.comparison import compare

Each engine works in a process of its own, one after the other; the reference engine is the measure.
"""
