"""How fast engines train one workload on this machine, after it is shown that they compute the same.

    from neuroport.bench.benchmark import bench
"""
