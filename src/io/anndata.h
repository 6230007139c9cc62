/* AnnData files (.h5ad), as scanpy and others write them.
 *
 * Since 0.7 `obs`, `var` and `obsm` are groups: obsm/X_pca is a dataset, and the attribute `_index`
 * of obs names the dataset with the ids of the rows. Before, each was one compound dataset:
 * obsm/X_pca is a member that holds an array, obs/index a member that holds strings. X is a
 * dataset, or a group when it is sparse. */
#ifndef ENGRAM_IO_ANNDATA_H
#define ENGRAM_IO_ANNDATA_H

#include <stdint.h>

#include "io/layout.h"

/* Whether the rows of a dataset are those of `obs`: it is X, or in obsm or layers. */
bool engram_anndata_has_obs_rows(const struct engram_dataset_info *dataset);

/* The set that such a file stands for: obsm/X_pca; else the only obsm/X_*; else, when obsm holds no
 * set at all, X. NULL when obsm/X_pca is there in a form that cannot be searched, and when that
 * decides nothing; engram_anndata_explain says why. */
const struct engram_dataset_info *engram_anndata_vectors(const struct engram_layout *layout);

/* One line: why there is no such set, and what to name instead. Returns `text`. */
const char *engram_anndata_explain(const struct engram_layout *layout, char *text, size_t size);

/* Whether `path` is a sparse matrix: a group of data, indices and indptr. */
bool engram_layout_is_sparse(const struct engram_layout *layout, const char *path);

/* What group `path` is that is no set, and what to do: a sparse matrix (in any file), or a table of
 * obsm with a dataset for each column. NULL: neither. */
const char *engram_anndata_refusal(const struct engram_layout *layout, const char *path);

#endif
