"""A trained model in one file, that can be read without trusting who wrote it.

The format is skops' (a zip of JSON and NumPy arrays). Before anything is made of it, every type and
every way of making an object that it names must be in the fixed lists below: skops' own list holds
many more, some of which crash when their arrays are wrong. Then the trees are checked: scikit-learn
follows their indices blindly.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from eds_xr.schema import EdsError

#: A file may hold no more than this unpacked; one of 200 deep trees has some 10 MiB.
MAX_BYTES = 2**30
MAX_SCHEMA_BYTES = 2**28

#: skops' ways of making an object that may be used: none of them calls a function of the file's.
LOADERS = frozenset(
    (
        "DictNode", "ListNode", "TupleNode", "JsonNode", "NdArrayNode", "TypeNode", "ObjectNode",
        "RandomStateNode", "TreeNode",
    )
)  # fmt: skip
PLAIN = frozenset(
    (
        "builtins.str", "builtins.int", "builtins.float", "builtins.bool", "builtins.dict",
        "builtins.list", "builtins.tuple", "numpy.ndarray", "numpy.int32", "numpy.int64",
        "numpy.uint32", "numpy.float32", "numpy.float64", "numpy.bool",
        "numpy.random.mtrand.RandomState",
    )
)  # fmt: skip
MODELS = frozenset(
    (
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.decomposition._pca.PCA",
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
        "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis",
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._voting.VotingClassifier",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.MinMaxScaler",
        "sklearn.preprocessing._data.PowerTransformer",
        "sklearn.preprocessing._data.RobustScaler",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.ExtraTreeClassifier",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    )
)  # fmt: skip
TRUSTED = PLAIN | MODELS


def model_bytes(content: dict[str, Any]) -> bytes:
    """Return plain values and a model under the key "model" as the content of a file."""
    import skops.io

    name = f"a {type(content.get('model')).__name__}"
    try:
        packed = skops.io.dumps(content, compression=zipfile.ZIP_DEFLATED)
    except Exception as error:  # skops' many, for what it has no form for
        raise EdsError(f"{name} has no form on disk: {error}") from error
    try:
        _check_schema(packed)
    except EdsError as error:
        raise EdsError(f"{name} could not be read again: {error}") from error
    return bytes(packed)


def model_from(packed: bytes, name: str) -> dict[str, Any]:
    """Return what :func:`model_bytes` packed, and nothing else; errors call the file `name`."""
    import skops.io

    try:
        _check_schema(packed)
        content = skops.io.loads(packed, trusted=sorted(TRUSTED))
        _check_trees(content["model"])
    except EdsError as error:
        raise EdsError(f"{name} was not read: {error}") from error
    except Exception as error:  # whatever a damaged file makes of the parsers
        raise EdsError(
            f"{name} cannot be read as a pixel classifier: {error}. Is it one, whole, and of "
            "these versions of scikit-learn and skops? If not, train and save it again"
        ) from error
    return dict(content)


def _check_schema(packed: bytes) -> None:
    """Raise unless the file stays within bounds and names nothing but what is on the lists."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        size = {member.filename: member.file_size for member in archive.infolist()}
        if size["schema.json"] > MAX_SCHEMA_BYTES or sum(size.values()) > MAX_BYTES:
            raise EdsError(
                f"it unpacks to {sum(size.values())} bytes: no pixel classifier is so large"
            )
        schema = json.loads(archive.read("schema.json"))
    written: dict[int, Any] = {}
    total = 0
    for node in _nodes(schema):
        _check_node(node)
        # skops takes a repeated object from memory: it must be what is written there again, or
        # few lines could stand for endless ones
        known = written.setdefault(node.get("__id__", id(node)), node)
        if known is not node and _without_numbers(known) != _without_numbers(node):
            raise EdsError("one of its objects is written in two ways: the file is damaged")
        total += size[node["file"]] if "file" in node else 0
    if total > MAX_BYTES:
        raise EdsError(f"its arrays come to {total} bytes: no pixel classifier is so large")


def _without_numbers(node: dict[str, Any]) -> str:
    return re.sub(r'"__id__": \d+', "", json.dumps(node))


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a schema describes."""
    ahead = [part]
    while ahead:
        current = ahead.pop()
        if isinstance(current, dict):
            if "__loader__" in current or "__class__" in current:
                yield current
            ahead.extend(current.values())
        elif isinstance(current, list):
            ahead.extend(current)


def _check_node(node: dict[str, Any]) -> None:
    """Raise unless an object is of a type, and made in a way, that is on the lists."""
    kind, loader = f"{node.get('__module__')}.{node.get('__class__')}", node.get("__loader__")
    if kind not in TRUSTED or loader not in LOADERS:
        endings = ("Classifier", "Regression", "NB", "Analysis")
        classifiers = [m.rpartition(".")[2] for m in sorted(MODELS) if m.endswith(endings)]
        raise EdsError(
            f"it holds {kind} ({loader}), which is not among the types that a pixel classifier may "
            f"hold; of classifiers these are {', '.join(classifiers)}"
        )


def _check_trees(model: Any) -> None:
    """Raise unless every tree's indices stay within it and within its features."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.tree import BaseDecisionTree
    from sklearn.tree._tree import Tree

    forests = (ExtraTreesClassifier, RandomForestClassifier)
    for owner in _objects(model):  # those that are not fitted have no trees, and predict nothing
        if isinstance(owner, forests) and hasattr(owner, "estimators_"):
            n_features = owner.n_features_in_
            good = all(
                isinstance(e, BaseDecisionTree)
                and hasattr(e, "tree_")
                and (e.n_features_in_, e.n_outputs_) == (n_features, 1)
                for e in owner.estimators_
            )
        elif isinstance(owner, BaseDecisionTree) and hasattr(owner, "tree_"):
            tree = owner.tree_
            good = type(tree) is Tree and _is_tree(tree, owner.n_features_in_)
        else:
            continue
        if not good:
            raise EdsError("a tree of the classifier is damaged: its indices lead out of it")


def _is_tree(tree: Any, n_features: int) -> bool:
    """Return whether children follow their parents, within the tree, and features exist."""
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    node = np.arange(tree.node_count)
    leaf = left == -1
    inside = (left > node) & (right > node) & (left < node.size) & (right < node.size)
    known = (feature >= 0) & (feature < n_features)
    if not (leaf | inside).all():
        return False
    # a node of two parents would be walked twice: few nodes could stand for endless ones
    parents = np.bincount(np.concatenate([left[~leaf], right[~leaf]]), minlength=node.size)
    return bool(
        node.size
        and tree.node_count == tree.capacity
        and tree.n_features == n_features
        and tree.n_outputs == 1
        and (leaf == (right == -1)).all()
        and (leaf | known).all()
        and (parents == (node > 0)).all()
    )


def _objects(model: Any) -> Iterator[Any]:
    """Yield a model and all that it is made of."""
    ahead, seen = [model], set()
    while ahead:
        current = ahead.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, dict):
            ahead.extend(current.values())
        elif isinstance(current, list | tuple):
            ahead.extend(current)
        elif isinstance(current, np.ndarray):
            ahead.extend(current.ravel().tolist() if current.dtype == object else [])
        else:
            ahead.extend(getattr(current, "__dict__", {}).values())
