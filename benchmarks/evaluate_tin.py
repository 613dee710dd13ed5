"""k-NN, linear probes and low-shot on tiny-imagenet-100 beside scikit-learn on the same features.

    python benchmarks/evaluate_tin.py --data DIR [--model M] [--repeats 3] [--out benchmarks/results/evaluate_tin.json]

DIR holds tiny-imagenet-100 as parquet. What has to hold:

    k-NN       every prediction equals that of scikit-learn's brute-force search in float64 with the same weights
    linear     probes of each penalty are within 0.3 points of scikit-learn's logistic regression (L-BFGS in float64)
               of the same penalty, C = 1 / (weight decay * images), and so is the sweep, whose penalty five folds
               choose, where the highest accuracy on one held-out tenth chooses scikit-learn's; other seeds are within
               the printed spread
    low-shot   the same splits and penalties, fitted here by a plain call of scikit-learn: within 0.3 points

`result` is in each case the document that `lowzoo eval ... --json` prints.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from lowzoo.bench.host.machine import this_device
from lowzoo.evaluate.few_labels import draw_tasks, evaluate_lowshot
from lowzoo.evaluate.knn_protocol import TrainTestData, knn_preset, open_train_test, score_knn
from lowzoo.evaluate.linear_probe import HELD_OUT, evaluate_linear
from lowzoo.evaluate.probes.logistic import LOGISTIC
from lowzoo.evaluate.probes.settings import adapted, probe_settings
from lowzoo.evaluate.result import versions
from lowzoo.evaluate.sets.subsets import held_out
from lowzoo.features.extraction import Extraction
from lowzoo.features.feature_kinds import with_features
from lowzoo.features.votes import TEMPERATURE, knn_predictions
from lowzoo.io.files import write_text
from lowzoo.zoo.resolve import Resolved, load_model

OUT = Path(__file__).parent / "results" / "evaluate_tin.json"
KS = (10, 20, 100, 200)
SGD_RATES, SGD_DECAYS = (0.3, 1.0, 3.0), (1e-5, 1e-4, 1e-3)


def compare_knn(resolved: Resolved, data: TrainTestData, how: Extraction) -> dict[str, Any]:
    bank, queries = how.run(resolved, (data.bank, data.queries))
    began = time.perf_counter()
    result = score_knn(resolved, data, preset=knn_preset("dino"), how=how).result
    seconds = time.perf_counter() - began
    again = score_knn(resolved, data, preset=knn_preset("dino"), how=how).result
    rows: dict[str, Any] = {
        "result": result.model_dump(),
        "seconds_with_cached_features": round(seconds, 1),
        "repeated_run_is_equal": again == result,
    }
    for k in KS:
        found = knn_predictions(bank.x, bank.labels, queries.x, ks=[k])[k]
        brute = KNeighborsClassifier(
            k, algorithm="brute", metric="cosine", weights=lambda distance: np.exp((1 - distance) / TEMPERATURE)
        )
        brute.fit(bank.x.double().numpy(), bank.labels.numpy())
        expected = torch.from_numpy(brute.predict(queries.x.double().numpy()))
        rows[f"k={k}, scikit-learn"] = {
            "top1": 100 * (found == queries.labels).double().mean().item(),
            "other_predictions_than_scikit_learn": int((found != expected).sum()),
        }
    return rows


def compare_linear(resolved: Resolved, data: TrainTestData, how: Extraction, repeats: int) -> dict[str, Any]:
    sweep = adapted(probe_settings("sweep", resolved.model), features=("cls",))
    began = time.perf_counter()
    result = evaluate_linear(resolved, data, sweep, preset="sweep", how=how).result
    seconds = time.perf_counter() - began
    print(result.settings["tried"], result.figures, seconds, flush=True)
    other = evaluate_linear(resolved, data, sweep, preset="sweep", seed=100, how=how).result
    wide, _ = with_features(resolved, ["cls"])
    train, test = how.run(wide, (data.bank, data.queries))
    x, labels = train.x.numpy().astype(np.float64), train.labels.numpy()
    test_x, truth = test.x.numpy().astype(np.float64), test.labels.numpy()
    same_penalty = {}
    for decay in sweep.weight_decays:
        ours = evaluate_linear(resolved, data, adapted(sweep, weight_decays=(decay,)), how=how).result.figures[0].mean
        theirs = logistic(x, labels, test_x, truth, decay)
        same_penalty[str(decay)] = {"top1": ours, "scikit_learn_top1": theirs, "difference": round(ours - theirs, 3)}
        print(decay, same_penalty[str(decay)], flush=True)
    fit, held = held_out(labels, HELD_OUT, 0)
    right = {w: logistic(x[fit], labels[fit], x[held], labels[held], w) for w in sweep.weight_decays}
    chosen = max(right, key=lambda decay: right[decay])
    theirs = same_penalty[str(chosen)]["scikit_learn_top1"]
    return {
        "result": result.model_dump(),
        "seconds_with_cached_features": round(seconds, 1),
        "another_seed": other.figures[0].model_dump(),
        "same_penalty": same_penalty,
        "scikit_learn": {"held_out_top1": right, "chosen": chosen, "top1": theirs},
        "difference": round(result.figures[0].mean - theirs, 3),
        "sgd": sgd_probes(resolved, data, how, repeats),
    }


def sgd_probes(resolved: Resolved, data: TrainTestData, how: Extraction, repeats: int) -> dict[str, Any]:
    """What training gives in place of solving, by two sets of seeds."""
    rates = {"learning_rates": SGD_RATES, "weight_decays": SGD_DECAYS}
    settings = adapted(probe_settings("sweep", resolved.model), features=("cls",), **rates)
    result = evaluate_linear(resolved, data, settings, repeats=repeats, how=how).result
    chosen = result.settings["chosen"]
    rates = {"learning_rates": (chosen["learning_rate"],), "weight_decays": (chosen["weight_decay"],)}
    best = adapted(settings, **rates)
    same, other = (
        evaluate_linear(resolved, data, best, repeats=repeats, seed=seed, how=how).result for seed in (0, 100)
    )
    return {
        "chosen": chosen,
        "figure": result.figures[0].model_dump(),
        "same_seeds_again_are_equal": same.figures == result.figures,
        "other_seeds": other.figures[0].model_dump(),
    }


def logistic(train: Any, labels: Any, test: Any, truth: Any, decay: float) -> float:
    """Top-1 in % of scikit-learn's regression on standardised features."""
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1 / (decay * len(train)), max_iter=1000).fit(scaler.transform(train), labels)
    return 100 * float((model.predict(scaler.transform(test)) == truth).mean())


def compare_lowshot(resolved: Resolved, data: TrainTestData, how: Extraction) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    train, test = how.run(resolved, (data.bank, data.queries))
    for name, settings in LOGISTIC.items():
        tasks = draw_tasks(data, counts=(1, 2, 5), share=0.01)
        result = evaluate_lowshot(resolved, data, tasks, settings, preset=name, how=how)
        rows[name] = {"result": result.model_dump()}
        expected = []
        for task in tasks:
            for split, chosen in zip(task.splits, result.settings["tasks"][task.name]["splits"], strict=True):
                x, y = train.x[split].double().numpy(), data.bank.labels[split]
                expected.append(plain_lowshot(name, x, y, test.x.double().numpy(), chosen["lambda"]))
        truth = test.labels.numpy()
        top1 = [100 * float((found == truth).mean()) for found in expected]
        ours = [value for task in tasks for value in result.settings["tasks"][task.name]["top1"]]
        rows[name]["largest_difference_to_scikit_learn"] = max(abs(a - b) for a, b in zip(ours, top1, strict=True))
    return rows


def plain_lowshot(name: str, x: Any, y: Any, test: Any, strength: float) -> Any:
    if name == "rob":
        scaler = StandardScaler().fit(x)
        model = LogisticRegression(C=len(y) / strength, max_iter=300)
        return model.fit(scaler.transform(x), y).predict(scaler.transform(test))
    x, test = (part - part.mean(axis=1, keepdims=True) for part in (x, test))
    x, test = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, test))
    return LogisticRegression(C=1 / strength, fit_intercept=False, max_iter=300).fit(x, y).predict(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="tiny-imagenet-100 as parquet")
    parser.add_argument("--model", default="rob_vit_tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["knn", "linear", "lowshot"])
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    resolved, data, how = load_model(arguments.model), open_train_test(arguments.data), Extraction()
    document = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    parts = {
        "knn": lambda: compare_knn(resolved, data, how),
        "linear": lambda: compare_linear(resolved, data, how, arguments.repeats),
        "lowshot": lambda: compare_lowshot(resolved, data, how),
    }
    for name in arguments.only:
        document[name] = parts[name]()
        print(name, json.dumps(document[name], indent=2), flush=True)
    document |= {
        "script": "benchmarks/evaluate_tin.py",
        "model": f"{resolved.name} ({resolved.revision})",
        "machine": this_device().model_dump() | {"load_average": round(os.getloadavg()[0], 2)},
        "versions": versions("scikit-learn", "numpy"),
    }
    write_text(arguments.out, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
