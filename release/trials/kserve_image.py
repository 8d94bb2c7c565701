"""In KServe's image, where ``job_image.py`` ended: a transformer starts, finds its features and says that it is ready."""

import subprocess
import sys
import time
import urllib.request

DEADLINE_S = 300
READY = "http://127.0.0.1:8080/v2/models/delays/ready"

server = subprocess.Popen(
    [
        *(sys.executable, "-m", "featurestore.kserve", "--features=aircraft-delays:last_arr_delay"),
        *("--model_name=delays", "--enable_grpc=false", "--predictor_host=127.0.0.1:8081"),
    ],
    stdout=subprocess.DEVNULL,
)
started, answer = time.monotonic(), 0
try:
    while answer != 200:
        assert server.poll() is None, f"it ended with {server.returncode}"
        assert time.monotonic() - started < DEADLINE_S, "it is not ready"
        try:
            with urllib.request.urlopen(READY, timeout=5) as response:
                answer = response.status
        except OSError:
            time.sleep(0.1)
finally:
    server.terminate()
    server.wait()
print("and a transformer of KServe is ready")
