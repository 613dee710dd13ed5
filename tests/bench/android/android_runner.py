"""A runner for the tests' phone: called as onnxruntime_perf_test is, it loads the model, runs it, writes its rows."""

import argparse
import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("-e", "-x", "-y", "-m", "-r"):
        parser.add_argument(flag)
    parser.add_argument("-I", action="store_true")
    parser.add_argument("model")
    parser.add_argument("rows")
    options = parser.parse_args()
    options_of_session = onnxruntime.SessionOptions()
    options_of_session.intra_op_num_threads = int(options.x)
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(options.model, options_of_session, providers=["CPUExecutionProvider"])
    print(f"Session creation time cost: {time.perf_counter() - start:.6g} s")
    taken = session.get_inputs()[0]
    feed = {taken.name: np.zeros(taken.shape, {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[taken.type])}
    start = time.perf_counter()
    session.run(None, feed)
    print(f"First inference time cost: {1e3 * (time.perf_counter() - start):.0f} ms")
    with open(options.rows, "a", encoding="ascii") as file:
        for run in range(int(options.r)):
            start = time.perf_counter()
            session.run(None, feed)
            file.write(f"main_graph,{time.perf_counter() - start:.6g},52428800,90,{run}\n")


if __name__ == "__main__":
    sys.exit(main())
