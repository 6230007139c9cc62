/* The filters of compressed datasets: HDF5's shuffle followed by deflate, one chunk at a time.
 * Chunks packed here are what HDF5's own filters unpack. The only place that knows zlib and
 * libdeflate. */
#ifndef ENGRAM_IO_CODEC_H
#define ENGRAM_IO_CODEC_H

#include <stddef.h>

#include "engram/status.h"

/* The most bytes that a chunk of `size` bytes can take when packed; 0 when `size` is beyond what
 * one chunk may have. */
size_t engram_codec_bound(size_t size);

/* Packs one chunk: `size` bytes of `data`, made up with zeros to `chunk_size` bytes (>= size),
 * both multiples of `element`. Byte 0 of every element comes first, then byte 1 and so on
 * (shuffle); that is deflated at `level` 1 .. 9. `scratch` holds chunk_size bytes, `packed`
 * engram_codec_bound(chunk_size) bytes; `*packed_size` of them are used. Thread-safe.
 * Errors: RESOURCE (zlib found no memory), INTERNAL. Logs nothing: it runs on compute threads. */
enum engram_status engram_codec_pack(const void *data, size_t size, size_t chunk_size,
                                     size_t element, int level, void *scratch, void *packed,
                                     size_t *packed_size);

/* Inflates zlib streams, one at a time: by libdeflate when the build found it, which is more than
 * twice as fast, else by zlib. One for each thread. NULL: no memory. */
struct engram_inflater *engram_inflater_create(void);
void engram_inflater_free(struct engram_inflater *inflater);

/* Inflates the stream at the start of `packed` to exactly `size` bytes; never writes more. What
 * follows the stream is ignored, as HDF5 does. Errors: DATA (damaged, or of another size),
 * RESOURCE (no memory); *why says which, in a few words. Logs nothing. */
enum engram_status engram_inflate(struct engram_inflater *inflater, const void *packed,
                                  size_t packed_size, void *data, size_t size, const char **why);

/* The same of a stream that gives `room` bytes or fewer: *size tells. */
enum engram_status engram_inflate_some(struct engram_inflater *inflater, const void *packed,
                                       size_t packed_size, void *data, size_t room, size_t *size,
                                       const char **why);

/* The library that inflates: "libdeflate" or "zlib". */
const char *engram_inflater_name(void);

/* "zlib 1.2.13, libdeflate 1.14": zlib as it is loaded, libdeflate (if the build found it) as it
 * was compiled with. */
void engram_codec_versions(char *text, size_t size);

#endif
