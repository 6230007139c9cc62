"""Random jobs with the answers that they must have, from the oracle: shapes, element types, layouts,
metrics, kinds of answers, limits and row ranges, all from one generator of random numbers."""

import sys
from pathlib import Path

import h5py
import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "blackbox"))

import anndata_files  # noqa: E402
import oracle  # noqa: E402
from disturb import one_of  # noqa: E402
from test_components import expected as expected_components  # noqa: E402
from test_labels import expected as expected_labels  # noqa: E402

FLOATS = ("<f2", "<f4", "<f4", "<f4", ">f4", "<f8", ">f8")
INTEGERS = ("|i1", "|u1", "<i2", ">u2", "<i4", "<u4", "<i8")
LAYOUTS = ("two", "two", "one", "one", "files", "anndata", "items")
ANSWERS = ("knn", "knn", "knn", "limited", "pairs", "pairs", "dense", "pairwise", "labels",
           "components")  # fmt: skip
WORK = 4e7  # elements of the oracle's sums
SIMILAR = ("cosine", "ip", "jaccard")


def log_uniform(random, low, high):
    return int(np.exp(random.uniform(np.log(low), np.log(high + 1))))


class Case:
    """arguments: of the command, without OUTPUT. want: datasets of the result."""

    def __init__(self, folder, random):
        self.folder = Path(folder)
        self.random = random
        self.arguments = []
        self.want = {}
        self.options = {}  # of the oracle
        self.layout = one_of(random, LAYOUTS)
        self.answer = one_of(random, ANSWERS)
        if self.answer == "components" and self.layout in ("two", "files"):
            self.layout = "one"
        if self.answer == "pairwise":
            self.layout = "two"
        self.own = self.layout in ("one", "anndata", "items")
        self.bits = self.layout in ("one", "two") and random.integers(6) == 0
        self.metric = one_of(random, oracle.BIT_METRICS if self.bits else oracle.METRICS)
        self.make_rows()
        self.make_ranges()
        self.input = self.write()
        self.ask()

    def __str__(self):
        return (f"{self.layout}, {self.answer}, {self.metric}, {self.dtype}, "
                f"base {self.base.shape}, queries {self.queries.shape}")

    # Rows

    def make_rows(self):
        random = self.random
        dim = log_uniform(random, 1, 300) if random.integers(10) else log_uniform(random, 300, 2500)
        most = {"items": 300, "anndata": 2000}.get(self.layout, 4000)
        rows = log_uniform(random, 1, most)
        queries = rows if self.own else log_uniform(random, 1, 3000)
        while rows * queries * (dim + 8) > WORK or (self.answer == "components" and rows > 900):
            rows = rows * 2 // 3
            queries = rows if self.own else queries * 2 // 3
        if self.answer == "pairwise":
            queries = rows = min(rows, queries)
        self.dtype = one_of(random, FLOATS if random.integers(3) else INTEGERS)
        if self.bits:
            self.dtype = one_of(random, ("?", "|u1", "<f4", "packed"))
        none = random.integers(40) == 0 and self.layout in ("one", "two", "files")
        self.base = self.rows(0 if none else max(rows, 1), dim)
        none = none and (self.answer == "pairwise" or random.integers(2) == 0)
        self.queries = self.base if self.own else self.rows(0 if none else max(queries, 1), dim)

    def rows(self, count, dim):
        random = self.random
        if self.bits:
            return (random.random((count, dim)) < one_of(random, (0.05, 0.5))).astype(np.uint8)
        if count == 0:
            return np.zeros((0, dim), self.dtype)
        kind = np.dtype(self.dtype).kind
        values = random.normal(size=(count, dim))
        if random.integers(2) == 0:
            values *= 0.2
            centres = random.normal(size=(1 + count // 15, dim))
            values += centres[random.integers(len(centres), size=count)]
        if kind in "iu":
            values = np.round(values * one_of(random, (1.0, 3.0, 25.0)))
            info = np.iinfo(self.dtype)
            return np.clip(values, max(info.min, -(2**30)), min(info.max, 2**30)).astype(self.dtype)
        shape = random.integers(8)
        if shape == 0:
            values += 1000.0 if self.dtype != "<f2" else 10.0
        elif shape == 1:
            values = np.round(values * 2)  # many ties
        elif shape == 2 and self.dtype != "<f2":
            low, high = (-148, 100) if "4" in self.dtype else (-400, 400)
            values *= 2.0 ** float(random.integers(low, high))
        values = values.astype(self.dtype)
        if random.integers(2) == 0:
            some = random.integers(count, size=(1 + count // 50, 2))
            values[some[:, 0]] = values[some[:, 1]]
            values[random.integers(count)] = 0
        if random.integers(3) == 0:
            values[random.integers(count), random.integers(dim)] = one_of(random, (np.nan, np.inf))
        return values

    # Files

    def storage(self, shape):
        random = self.random
        if random.integers(2) == 0 or 0 in shape:
            return {}
        chunks = tuple(int(random.integers(1, n + 1)) for n in shape)
        if shape[0] * shape[1] // (chunks[0] * chunks[1]) > 2000:
            chunks = tuple(shape)
        more = {"chunks": chunks}
        if random.integers(2) == 0:
            more["compression"] = int(random.integers(1, 7))
        for name in ("shuffle", "fletcher32"):
            more[name] = bool(random.integers(2))
        return more

    def put(self, f, name, rows):
        stored = rows
        if self.bits:
            stored = np.packbits(rows, axis=1) if self.dtype == "packed" else rows.astype(self.dtype)
        data = f.create_dataset(name, data=stored, **self.storage(stored.shape))
        if self.dtype == "packed":
            data.attrs["nbits"] = rows.shape[1]

    def write(self):
        """INPUT's path; other files go into arguments."""
        path = str(self.folder / "in.h5")
        for old in self.folder.glob("*.h5"):
            old.unlink()
        libver = {"libver": one_of(self.random, ("earliest", "latest"))}
        if self.layout == "anndata":
            names = [f"cell{i}" for i in range(len(self.base))]
            anndata_files.modern(path, names, {"X_pca": self.base})
        elif self.layout == "items":
            with h5py.File(path, "w", **libver) as f:
                for i, row in enumerate(self.base):
                    f[f"item{i:05d}"] = row
            self.arguments += ["--base", "/"]  # few of them, or of integers, are not guessed
        elif self.layout == "files":
            other = str(self.folder / "base.h5")
            with h5py.File(path, "w", **libver) as f, h5py.File(other, "w") as g:
                self.put(f, "asked", self.queries)
                self.put(g, "known", self.base)
            self.arguments += ["--base", other]
        else:
            with h5py.File(path, "w", **libver) as f:
                for name, rows in [("x", self.base)] if self.own else [("train", self.base),
                                                                      ("test", self.queries)]:
                    self.put(f, name, rows)
        return path

    def beside(self, name, array):
        """A dataset in a file of its own, as an option's value."""
        path = str(self.folder / f"{name}.h5")
        with h5py.File(path, "w") as f:
            if isinstance(array, list):
                f.create_dataset(name, data=array, dtype=h5py.string_dtype("utf-8"))
            else:
                f[name] = array
        return f"{path}::{name}"

    # The question

    def some_range(self, rows):
        first, last = sorted(int(i) for i in self.random.integers(0, rows + 1, size=2))
        return (first, last) if last > first else (0, rows)

    def make_ranges(self):
        """Of rows; a set's groups are not narrowed for components, so neither are queries."""
        self.query_rows, self.base_rows = (0, len(self.queries)), (0, len(self.base))
        if self.answer == "pairwise":
            if self.random.integers(2) == 0:
                self.query_rows = self.base_rows = self.some_range(len(self.base))
                if self.random.integers(2) == 0 and self.query_rows[0] > 0:
                    self.query_rows = (0, self.query_rows[1] - self.query_rows[0])
        else:
            if self.random.integers(4) == 0:
                self.base_rows = self.some_range(len(self.base))
            if self.random.integers(4) == 0 and self.answer != "components":
                self.query_rows = self.some_range(len(self.queries))
        if self.base_rows != (0, len(self.base)):
            self.arguments.append("--base-rows=%d:%d" % self.base_rows)
        if self.query_rows != (0, len(self.queries)):
            self.arguments.append("--query-rows=%d:%d" % self.query_rows)

    def who(self):
        """--subset and --exclude-same."""
        random = self.random
        if random.integers(5) == 0:
            mask = random.random(len(self.base)) < one_of(random, (0.02, 0.5, 0.95))
            rows = np.flatnonzero(mask)
            self.options["subset"] = rows
            # As many 0 and 1 as there are rows are a mask, documented so.
            listed = random.integers(2) == 0 and 0 < len(rows) < len(mask)
            given = rows if listed else mask
            self.arguments += ["--subset", self.beside("some", given)]
        if random.integers(5) == 0:
            groups = random.integers(-1, 9, len(self.base))
            asked = groups if self.own else random.integers(-1, 9, len(self.queries))
            self.options.update(base_groups=groups, query_groups=asked)
            named = self.beside("groups", groups)
            named += "" if self.own else "," + self.beside("asked", asked)
            self.arguments += ["--exclude-same", named]

    def limit(self, share):
        """A limit that leaves about this share of the pairs: the very score of one of them, often."""
        random = self.random
        score, key = self.scores()
        finite = self.allowed()
        similarity = self.metric in SIMILAR and random.integers(2) == 0
        values = np.sort((score if similarity else key)[finite])
        values = values[np.isfinite(values)]
        if len(values) == 0:
            values = np.zeros(1)
        at = int(share * len(values))
        value = float(values[len(values) - 1 - at] if similarity else values[at])
        if random.integers(3) == 0:
            value = float(np.nextafter(value, one_of(random, (-np.inf, np.inf))))
        name = "min_similarity" if similarity else "max_distance"
        self.options[name] = value
        self.arguments.append(f"--{name.replace('_', '-')}={value!r}")

    def scores(self):
        return oracle.scores(self.queries[slice(*self.query_rows)],
                             self.base[slice(*self.base_rows)], self.metric)

    def allowed(self):
        return oracle.allowed_pairs(self.queries, self.base, self.query_rows, self.base_rows,
                                    self.own)

    def ask(self):
        random = self.random
        self.arguments += ["--metric", self.metric]
        self.float = np.float32
        if random.integers(4) == 0 and self.answer != "components":
            self.float = np.float64
            self.arguments.append("--float64")
        self.similar = (self.metric in SIMILAR and random.integers(4) == 0
                        and self.answer != "components")  # fmt: skip
        if self.similar:
            self.arguments.append("--similarity")
        if random.integers(4) == 0:
            self.arguments.append(f"--compress={random.integers(1, 5)}")
        with np.errstate(all="ignore"):
            getattr(self, "ask_" + self.answer)()
        self.arguments.append(self.input)

    def found(self, k):
        """Answers of the oracle, and the values that are written for them."""
        found = oracle.answer(self.queries, self.base, self.metric, k=k, self_job=self.own,
                              query_rows=self.query_rows, base_rows=self.base_rows, **self.options)
        if self.similar:
            score, _ = self.scores()
            found.keys = [score[q, rows - self.base_rows[0]] for q, rows in enumerate(found.rows)]
        return found

    def ask_knn(self):
        self.who()
        k = log_uniform(self.random, 1, 100)
        self.arguments += ["-k", str(k)]
        found = self.found(k)
        neighbors, _, counts = found.padded(k)
        values = np.full(neighbors.shape, -np.inf if self.similar else np.inf, self.float)
        for i, keys in enumerate(found.keys):
            values[i, : len(keys)] = keys.astype(self.float)
        name = "similarities" if self.similar else "distances"
        self.want = {"neighbors": neighbors, name: values, "counts": counts}

    def csr(self, found):
        indptr, indices, _ = found.csr()
        data = np.concatenate([np.empty(0), *found.keys]).astype(self.float)
        self.want = {"pairs/indptr": indptr, "pairs/indices": indices, "pairs/data": data}

    def ask_limited(self):
        self.who()
        k = log_uniform(self.random, 1, 30)
        self.arguments += ["-k", str(k)]
        self.limit(self.random.random() ** 3)
        self.csr(self.found(k))

    def ask_pairs(self):
        self.who()
        self.limit(self.random.random() ** 4)
        self.csr(self.found(None))

    def matrix(self):
        """As a dense result holds it: NaN where a row is not finite."""
        score, key = self.scores()
        matrix = ((score if self.similar else key) + 0.0).astype(self.float)
        finite = [oracle.finite_rows(oracle.widen(r)) for r in (self.queries, self.base)]
        matrix[~finite[0][slice(*self.query_rows)], :] = np.nan
        matrix[:, ~finite[1][slice(*self.base_rows)]] = np.nan
        return matrix

    def ask_dense(self):
        self.arguments.append("--all")
        self.want = {"similarities" if self.similar else "distances": self.matrix()}

    def ask_pairwise(self):
        self.arguments.append("--pairwise")
        self.want = {"similarities" if self.similar else "distances": np.diag(self.matrix()).copy()}

    def ask_labels(self):
        self.who()
        share = one_of(self.random, (0.05, 0.5, 1.0))
        texts = [f"label {i % 7}" if self.random.random() < share else ""
                 for i in range(len(self.base))]  # fmt: skip
        self.arguments += ["--labels", self.beside("texts", texts)]
        labels, values, rows = expected_labels(
            self.queries, self.base, self.metric, texts, float_type=self.float, self_job=self.own,
            query_rows=self.query_rows, base_rows=self.base_rows, **self.options)  # fmt: skip
        if self.similar:
            score, _ = self.scores()
            values = np.array([score[q, r - self.base_rows[0]] if r >= 0 else -np.inf
                               for q, r in enumerate(rows)]).astype(self.float)  # fmt: skip
        self.want = {"labels": labels, "label_rows": rows,
                     "label_similarities" if self.similar else "label_distances": values}

    def ask_components(self):
        self.arguments.append("--components")
        self.who()
        self.limit(self.random.random() / max(2, len(self.base)))
        options = dict(self.options)
        options.pop("query_groups", None)
        groups = options.pop("base_groups", None)
        component, keep = expected_components(self.base, self.metric, base_rows=self.base_rows,
                                              groups=groups, **options)
        self.want = {"component": component, "keep": keep}
