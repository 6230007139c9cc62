/* Attributes of the result. */
#include "io/h5.h"
#include "io/output_internal.h"

/* Writes one attribute whose type in memory is its type in the file. Takes `type` and `space`. */
static enum engram_status write_attribute(struct engram_output *output, const char *path,
                                          const char *name, hid_t type_taken, hid_t space_taken,
                                          const void *value)
{
    ENGRAM_H5_HANDLE hid_t type = type_taken;
    ENGRAM_H5_HANDLE hid_t space = space_taken;
    enum engram_status status = engram_output_reserve(output, 0);
    if (status != ENGRAM_OK) {
        return status;
    }
    hid_t object = output->file >= 0 ? H5Oopen(output->file, path, H5P_DEFAULT) : -1;
    hid_t attribute = -1;
    bool good = false;

    if (object >= 0 && type >= 0 && space >= 0) {
        attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
        good = attribute >= 0 && H5Awrite(attribute, type, value) >= 0;
    }
    status = good ? ENGRAM_OK : engram_output_h5_failure(output, "write an attribute");
    if ((attribute >= 0 && H5Aclose(attribute) < 0) || (object >= 0 && H5Oclose(object) < 0)) {
        status =
            status != ENGRAM_OK ? status : engram_output_h5_failure(output, "write an attribute");
    }
    return status;
}

/* Text is of variable length: h5py hands such attributes out as str, fixed-length ones as bytes,
 * which compare equal to no str. */
enum engram_status engram_output_text(struct engram_output *output, const char *path,
                                      const char *name, const char *value)
{
    ENGRAM_H5_QUIET;

    return write_attribute(output, path, name, engram_output_string_type(H5T_VARIABLE),
                           H5Screate(H5S_SCALAR), &value);
}

enum engram_status engram_output_integers(struct engram_output *output, const char *path,
                                          const char *name, const int64_t *values, int count)
{
    ENGRAM_H5_QUIET;
    hsize_t length = (hsize_t)count;

    return write_attribute(output, path, name, H5Tcopy(H5T_STD_I64LE),
                           count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &length, NULL),
                           values);
}

enum engram_status engram_output_number(struct engram_output *output, const char *path,
                                        const char *name, double value)
{
    ENGRAM_H5_QUIET;

    return write_attribute(output, path, name, H5Tcopy(H5T_IEEE_F64LE), H5Screate(H5S_SCALAR),
                           &value);
}
