/* Runs inputs in another process, a new one after each crash. libhdf5 is not ours, and about one
 * damaged file in a hundred crashes it or lets it loop: such an end is counted, and the run goes
 * on. A crash is ours when the innermost frame that is libhdf5's or our own is our own, or when the
 * memory that was overrun was allocated by us. */
#ifndef FUZZ_ISOLATE_H
#define FUZZ_ISOLATE_H

#include <stddef.h>
#include <stdint.h>

/* Ends the process, as libFuzzer expects of a crash, when a crash is ours. Coverage that the child
 * saw counts as the parent's. With FUZZ_INLINE in the environment there is no child. Processor
 * seconds that an input may take: 2. */
typedef void (*fuzz_target)(const uint8_t *data, size_t size);
void fuzz_isolated(fuzz_target target, const uint8_t *data, size_t size);

#endif
