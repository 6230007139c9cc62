"""Writes AnnData files as anndata does, without anndata: encodings of 0.7 to 0.11, and the compound
datasets of 0.6."""

import h5py
import numpy as np


def _text(names):
    return np.array(names, dtype=h5py.string_dtype())


def _frame(file, name, index, names, encoding):
    group = file.create_group(name)
    group.attrs["_index"] = index
    group.attrs["column-order"] = np.array([], dtype=float)
    group.attrs["encoding-type"] = "dataframe"
    group.attrs["encoding-version"] = "0.2.0" if encoding else "0.1.0"
    values = group.create_dataset(index, data=_text(names))
    if encoding:
        values.attrs["encoding-type"] = "string-array"
        values.attrs["encoding-version"] = "0.2.0"


def categorical(group, name, labels):
    """A categorical column of obs as since 0.8: codes and categories."""
    categories = sorted(set(labels) - {None})
    column = group.create_group(name)
    column.attrs["encoding-type"] = "categorical"
    column.attrs["encoding-version"] = "0.2.0"
    column.attrs["ordered"] = False
    column["categories"] = _text(categories)
    codes = [-1 if label is None else categories.index(label) for label in labels]
    column["codes"] = np.array(codes, np.int8)


def sparse(file, name, rows, columns, encoding=True):
    """A csr_matrix with a few values."""
    group = file.create_group(name)
    if encoding:
        group.attrs["encoding-type"] = "csr_matrix"
        group.attrs["encoding-version"] = "0.1.0"
        group.attrs["shape"] = np.array([rows, columns])
    else:
        group.attrs["h5sparse_format"] = "csr"
        group.attrs["h5sparse_shape"] = np.array([rows, columns])
    group["data"] = np.arange(rows, dtype=np.float32)
    group["indices"] = np.zeros(rows, np.int32)
    group["indptr"] = np.arange(rows + 1, dtype=np.int32)


def modern(path, names, obsm, x=None, index="_index", encoding=True, genes=4):
    """obsm: name -> array. x: an array, "sparse", or None for a file without X."""
    with h5py.File(path, "w") as f:
        if encoding:
            f.attrs["encoding-type"] = "anndata"
            f.attrs["encoding-version"] = "0.1.0"
        _frame(f, "obs", index, names, encoding)
        _frame(f, "var", "gene_ids", [f"gene{i}" for i in range(genes)], encoding)
        for name in ("layers", "obsp", "uns", "varm", "varp"):
            f.create_group(name)
        f.create_group("obsm")
        for name, array in obsm.items():
            f["obsm"].create_dataset(name, data=array, compression="gzip")
        f["uns/pca/variance"] = np.ones(3)
        f["uns/colors"] = _text(["red", "blue"])
        f["obs/nickname"] = _text([f"nick{i}" for i in range(len(names))])
        categorical(f["obs"], "batch", ["a" if i % 2 else "b" for i in range(len(names))])
        sparse(f, "raw/X", len(names), genes, encoding)
        if isinstance(x, str):
            sparse(f, "X", len(names), genes, encoding)
        elif x is not None:
            f["X"] = x
    return path


def legacy(path, names, obsm, x=None, **storage):
    """anndata 0.6: obs, var, obsm and varm are compound datasets."""
    count = len(names)
    width = max(len(n.encode()) for n in names)
    obs = np.zeros(count, [("index", f"S{width}"), ("louvain", "i1"), ("score", "<f4")])
    obs["index"] = [n.encode() for n in names]
    table = np.zeros(count, [(n, a.dtype, (a.shape[1],)) for n, a in obsm.items()])
    for name, array in obsm.items():
        table[name] = array
    with h5py.File(path, "w") as f:
        f.create_dataset("obs", data=obs, **storage)
        f["var"] = np.zeros(4, [("index", "S3"), ("means", "<f4")])
        f.create_dataset("obsm", data=table, **storage)
        f["varm"] = np.zeros(4, [("PCs", "<f8", (3,))])
        sparse(f, "raw.X", count, 4, encoding=False)
        f["uns/louvain_categories"] = np.array([b"0", b"1"])
        if x is not None:
            f["X"] = x
    return path
