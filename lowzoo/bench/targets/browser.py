"""A browser: a page on this computer or for every device of the network."""

from lowzoo.bench.targets import Target

TARGET = Target(
    "browser",
    ("onnxruntime-web",),
    "lowzoo.bench.browser.live:run",
    needs="a phone with a browser",
    options=("lan", "port", "ort_dist", "certificate", "devices", "minutes"),
    shower="lowzoo.bench.browser.live:lines",
)
