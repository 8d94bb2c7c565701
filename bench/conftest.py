"""What pytest finds of the benchmarks: their doctests."""

# It runs where Feast is installed, which is not here.
collect_ignore = ["feast_reads.py"]
