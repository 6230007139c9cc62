/* Runs a target on files, for builds without libFuzzer: replay FILE... */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static uint8_t *read_all(const char *path, size_t *size)
{
    FILE *stream = fopen(path, "rb");
    uint8_t *data = malloc(1 << 22);

    *size = 0;
    if (stream != NULL && data != NULL) {
        *size = fread(data, 1, 1 << 22, stream);
    }
    if (stream == NULL || data == NULL || ferror(stream)) {
        perror(path);
        exit(1);
    }
    (void)fclose(stream);
    /* Of the right size, so that a sanitizer sees reads behind the end. */
    uint8_t *exact = realloc(data, *size > 0 ? *size : 1);
    return exact != NULL ? exact : data;
}

/* Enough for mutators that replay never calls to be linked. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    (void)data;
    (void)max_size;
    return size;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t size;
        uint8_t *data = read_all(argv[i], &size);
        (void)printf("%s\n", argv[i]);
        (void)fflush(stdout);
        (void)LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    return 0;
}
