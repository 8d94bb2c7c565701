"""In the image of Jobs: a file flows from a folder to a feature that is read."""

import datetime
import os
import subprocess
import tempfile

import pyarrow
import pyarrow.parquet

import featurestore

os.chdir(tempfile.mkdtemp())
for command in ("init .", "apply -f ."):
    subprocess.run(["featurestore", *command.split()], check=True, stdout=subprocess.DEVNULL)
scheduled = datetime.datetime(2013, 1, 1, 15, tzinfo=datetime.UTC)
flight = {"tailnum": "N14228", "flight": 1545, "time_hour": scheduled, "minute": 15, "dep_delay": 2.0}
flight |= {"air_time": 227.0, "distance": 1400.0, "arr_delay": 11.0}
pyarrow.parquet.write_table(pyarrow.Table.from_pylist([flight]), "data/raw/flights/one.parquet")
subprocess.run(["featurestore", "run", "--once"], check=True, stdout=subprocess.DEVNULL)
read = featurestore.connect().get_features(
    ["aircraft-delays:last_arr_delay"], entities=[{"tailnum": "N14228"}]
)
assert read.to_dict()["last_arr_delay"] == [11.0], read
assert os.getuid(), "runs as root"
print(f"{featurestore.__version__}: a file became a feature that is read, as user {os.getuid()}")
