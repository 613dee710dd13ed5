"""What the runtimes' own benchmark programs print, in the form of several of their releases, and what is read of it."""

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.android.runners import RUNNERS

ONNXRUNTIME = """Setting intra_op_num_threads to 2
Session creation time cost: 0.0412683 s
First inference time cost: 23 ms
Total inference time cost: 0.0361 s
Total inference requests: 4
Average inference time cost: 9.025 ms
Total inference run time: 0.0362218 s
Number of inferences per second: 110.431
Avg CPU usage: 97 %
Peak working set size: 41287680 bytes
Avg CPU usage:97
Peak working set size:41287680
Runs:4
Min Latency: 0.0081 s
Max Latency: 0.011 s
P50 Latency: 0.009 s
P999 Latency: 0.011 s
"""
# Before 2021 no blank followed the colon, and the first inference was not told.
OLDER_ONNXRUNTIME = "\n".join(
    line.replace(": ", ":") for line in ONNXRUNTIME.splitlines() if not line.startswith("First")
)
ROWS = "mean.onnx,0.011,41287680,97,0\nmean.onnx,0.0085,41287680,97,1\nmean.onnx,0.0081,41287680,97,2\n"
# Since the end of 2025 the time of submission stands in front of that of the whole run.
NEWER_ROWS = "\n".join(row.replace(",0.0", ",0.0001,0.0", 1) for row in ROWS.splitlines())

LITERT = """INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [200]
INFO: Num threads: [2]
INFO: Graph: [/data/local/tmp/lowzoo/model.tflite]
INFO: Use xnnpack: [1]
INFO: Loaded model /data/local/tmp/lowzoo/model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 60 out of 61 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions.
INFO: The input model file size (MB): 5.41
INFO: Initialized session in 21.57ms.
INFO: Running benchmark for at least 10 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=10 first=18535 curr=14402 min=14388 max=18535 avg=14462.3 std=1290 p5=14388 median=14410 p95=18535

INFO: Running benchmark for at least 200 iterations and at least 0 seconds but terminate if exceeding 150 seconds.
INFO: count=COUNT first=14411 curr=14600 min=14300 max=15900 avg=14575.2 std=204 p5=14322 median=14560 p95=14990

INFO: Inference timings in us: Init: 21570, First inference: 18535, Warmup (avg): 14462.3, Inference (avg): MEAN
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=11.2 overall=14.9
"""
# Releases before the logging of 2022 print no level, and nothing behind the deviation.
OLDER_LITERT = LITERT.replace("INFO: ", "").replace(" p5=14322 median=14560 p95=14990", "")

EXECUTORCH = """I 00:00:00.000412 executorch:cpuinfo_utils.cpp:71] Reading file /sys/devices/soc0/image_version
I 00:00:00.001210 executorch:executor_runner.cpp:214] Resetting threadpool with num threads = 2
I 00:00:00.004101 executorch:executor_runner.cpp:262] Model file /data/local/tmp/lowzoo/model.pte is loaded.
I 00:00:00.004120 executorch:executor_runner.cpp:272] Using method forward
I 00:00:00.004133 executorch:executor_runner.cpp:323] Setting up planned buffer 0, size 1204224.
I 00:00:00.021877 executorch:executor_runner.cpp:348] Method loaded.
I 00:00:00.022003 executorch:executor_runner.cpp:358] Inputs prepared.
I 00:00:00.623871 executorch:executor_runner.cpp:374] Model executed successfully 50 time(s) in 601.500000 ms.
I 00:00:00.623902 executorch:executor_runner.cpp:383] 1 outputs:
Output 0: tensor(sizes=[1, 3], [0.1, 0.2, 0.3])
"""


@pytest.mark.parametrize("rows", [ROWS, NEWER_ROWS])
@pytest.mark.parametrize(("output", "first"), [(ONNXRUNTIME, 23.0), (OLDER_ONNXRUNTIME, None)])
def test_onnxruntime_behind_the_warm_up(output, first, rows):
    said = RUNNERS["onnxruntime"].read(output, rows, 1, 2)
    assert said.samples_ms == (8.5, 8.1)
    assert (said.load_ms, said.first_run_ms, said.peak_memory_mb) == (41.2683, first, 41.29)


def test_onnxruntime_that_ran_another_number_of_times_is_refused():
    with pytest.raises(LowzooError, match="said nothing that can be read"):
        RUNNERS["onnxruntime"].read(ONNXRUNTIME, ROWS, 1, 3)


@pytest.mark.parametrize("form", [LITERT, OLDER_LITERT])
@pytest.mark.parametrize(("mean", "mean_ms"), [("14575.2", 14.5752), ("1.45752e+06", 1457.52), ("98", 0.098)])
def test_litert(form, mean, mean_ms):
    said = RUNNERS["litert"].read(form.replace("COUNT", "200").replace("MEAN", mean), "", 10, 200)
    assert (said.samples_ms, said.runs_per_sample) == ((mean_ms,), 200)
    assert (said.load_ms, said.first_run_ms) == (21.57, 18.535)


def test_litert_that_was_stopped_by_its_time_says_how_often_it_ran():
    said = RUNNERS["litert"].read(LITERT.replace("COUNT", "37").replace("MEAN", "4.01e+06"), "", 10, 200)
    assert (said.samples_ms, said.runs_per_sample) == ((4010.0,), 37)


def test_executorch():
    said = RUNNERS["executorch"].read(EXECUTORCH, "", 5, 50)
    assert (said.samples_ms, said.runs_per_sample) == ((12.03,), 50)


@pytest.mark.parametrize(
    ("engine", "output"),
    [
        *((engine, "Segmentation fault") for engine in RUNNERS),
        # Builds that tell no time, or that ran another number of times.
        ("executorch", "I 00:00:00.9 executorch:executor_runner.cpp:228] Model executed successfully."),
        ("executorch", "I 00:00:00.9 executorch:executor_runner.cpp:228] Model executed successfully 50 time(s)."),
        ("executorch", EXECUTORCH.replace("50 time(s)", "49 time(s)")),
        # Of 2019, whose words have another order.
        ("litert", "Average inference timings in us: Warmup: 91471, Init: 4108, no stats: 80660.1"),
        # That ended before its figures.
        ("litert", LITERT.partition("INFO: Inference timings")[0]),
    ],
)
def test_what_cannot_be_read_is_refused(engine, output):
    with pytest.raises(LowzooError, match="said nothing that can be read"):
        RUNNERS[engine].read(output, "", 5, 50)
