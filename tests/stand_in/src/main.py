"""A stand-in for MMRec's main.py, our own code from a description of its plugin API.

    python main.py -m MODEL -d DATASET [key=value ...]      from src/, as there

Prints JSON: each point's result, and every file that Python imported from.
"""

import argparse
import importlib
import json
import sys

import yaml
from utils.host import grid, read_config, train

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="model")
    parser.add_argument("-d", dest="dataset")
    parser.add_argument("changes", nargs="*")
    options = parser.parse_args()
    changes = {k: yaml.safe_load(v) for k, v in (word.split("=", 1) for word in options.changes)}
    config, axes = read_config(options.model, options.dataset, changes)
    module = importlib.import_module(f"models.{options.model.lower()}")
    model_class = getattr(module, options.model)
    runs = []
    for point in grid(config, axes):
        valid, test, losses = train(model_class, point)
        found = {"valid": valid, "test": test, "losses": losses}
        runs.append({axis: point[axis] for axis in axes} | found)
    files = sorted(f for m in list(sys.modules.values()) if (f := getattr(m, "__file__", None)))
    print(json.dumps({"runs": runs, "files": files}))
