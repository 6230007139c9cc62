#include "io/h5type.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The parts of a floating-point format. */
struct float_fields {
    size_t bytes;
    size_t precision;
    size_t sign_at;
    size_t exponent_at;
    size_t exponent_bits;
    size_t mantissa_at;
    size_t mantissa_bits;
    size_t bias;
    bool implied; /* the leading mantissa bit is not stored */
};

static const char *order_suffix(hid_t type, size_t bytes)
{
    return bytes > 1 && H5Tget_order(type) == H5T_ORDER_BE ? " big-endian" : "";
}

static bool has_plain_order(hid_t type)
{
    H5T_order_t order = H5Tget_order(type);

    return order == H5T_ORDER_LE || order == H5T_ORDER_BE;
}

static void set_other(struct engram_h5_type *found, const char *name)
{
    found->content = ENGRAM_CONTENT_OTHER;
    snprintf(found->name, sizeof found->name, "%s", name);
}

static void set_plain(struct engram_h5_type *found, enum engram_dtype dtype, const char *name,
                      const char *suffix)
{
    found->content = ENGRAM_CONTENT_NUMERIC;
    found->dtype = dtype;
    found->encoding = ENGRAM_ENCODING_PLAIN;
    found->raw = true;
    snprintf(found->name, sizeof found->name, "%s%s", name, suffix);
}

static void classify_integer(hid_t type, struct engram_h5_type *found)
{
    static const struct {
        size_t bytes;
        enum engram_dtype dtypes[2]; /* unsigned, signed */
        const char *names[2];
    } table[] = {
        {1, {ENGRAM_U8, ENGRAM_I8}, {"uint8", "int8"}},
        {2, {ENGRAM_U16, ENGRAM_I16}, {"uint16", "int16"}},
        {4, {ENGRAM_U32, ENGRAM_I32}, {"uint32", "int32"}},
        {8, {ENGRAM_U64, ENGRAM_I64}, {"uint64", "int64"}},
    };
    size_t bytes = H5Tget_size(type);
    size_t precision = H5Tget_precision(type);
    H5T_sign_t sign = H5Tget_sign(type);
    bool is_signed = sign == H5T_SGN_2;

    if (precision == 8 * bytes && H5Tget_offset(type) == 0 && (is_signed || sign == H5T_SGN_NONE) &&
        has_plain_order(type)) {
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            if (table[i].bytes == bytes) {
                set_plain(found, table[i].dtypes[is_signed], table[i].names[is_signed],
                          order_suffix(type, bytes));
                return;
            }
        }
    }
    found->content = ENGRAM_CONTENT_OTHER;
    snprintf(found->name, sizeof found->name, "integer of %zu bits in %zu bytes", precision, bytes);
}

/* False also for fields that lie outside the element: HDF5 converts what comes after it. */
static bool get_fields(hid_t type, struct float_fields *f)
{
    f->bytes = H5Tget_size(type);
    f->precision = H5Tget_precision(type);
    f->bias = H5Tget_ebias(type);
    f->implied = H5Tget_norm(type) == H5T_NORM_IMPLIED;
    if (f->bytes == 0 || H5Tget_fields(type, &f->sign_at, &f->exponent_at, &f->exponent_bits,
                                       &f->mantissa_at, &f->mantissa_bits) < 0) {
        return false;
    }
    size_t bits = 8 * f->bytes; /* and none of these numbers is large in the file */
    return f->sign_at < bits && f->exponent_at + f->exponent_bits <= bits &&
           f->mantissa_at + f->mantissa_bits <= bits && f->precision <= bits &&
           (size_t)H5Tget_offset(type) <= bits - f->precision;
}

/* The IEEE layout with sign, exponent and mantissa next to each other from the top. */
static bool is_layout(const struct float_fields *f, size_t bytes, size_t exponent_bits, size_t bias)
{
    size_t bits = 8 * bytes;

    return f->bytes == bytes && f->precision == bits && f->implied && f->sign_at == bits - 1 &&
           f->exponent_bits == exponent_bits && f->exponent_at == bits - 1 - exponent_bits &&
           f->mantissa_at == 0 && f->mantissa_bits == f->exponent_at && f->bias == bias;
}

/* Whether every value of `f` (infinities, NaN and denormals included) is exact in an IEEE format
 * of that many exponent and mantissa bits. */
static bool fits(const struct float_fields *f, size_t exponent_bits, size_t mantissa_bits)
{
    if (!f->implied || f->exponent_bits < 2 || f->exponent_bits > exponent_bits ||
        f->mantissa_bits < 1 || f->mantissa_bits > mantissa_bits || f->bias >= 1U << 16) {
        return false;
    }
    long bias = (long)f->bias;
    long wide_bias = (1L << (exponent_bits - 1)) - 1;
    long largest = (1L << f->exponent_bits) - 2 - bias;
    long smallest = 1 - bias - (long)f->mantissa_bits;
    return largest <= wide_bias && smallest >= 1 - wide_bias - (long)mantissa_bits;
}

static void classify_float(hid_t type, struct engram_h5_type *found)
{
    struct float_fields f;
    const char *suffix = order_suffix(type, H5Tget_size(type));

    if (!get_fields(type, &f) || !(f.bytes == 1 || has_plain_order(type))) {
        set_other(found, "float of unusual layout");
    } else if (is_layout(&f, 4, 8, 127)) {
        set_plain(found, ENGRAM_F32, "float32", suffix);
    } else if (is_layout(&f, 8, 11, 1023)) {
        set_plain(found, ENGRAM_F64, "float64", suffix);
    } else if (is_layout(&f, 2, 5, 15)) {
        set_plain(found, ENGRAM_F16, "float16", suffix);
    } else if (is_layout(&f, 2, 8, 127)) {
        set_plain(found, ENGRAM_F32, "bfloat16", suffix);
        found->encoding = ENGRAM_ENCODING_BFLOAT16;
    } else if (f.bytes > 1 && f.bytes <= 8 && fits(&f, 11, 52)) {
        set_plain(found, fits(&f, 8, 23) ? ENGRAM_F32 : ENGRAM_F64, "", "");
        found->encoding = ENGRAM_ENCODING_CUSTOM;
        found->raw = false;
        snprintf(found->name, sizeof found->name, "float of %zu bits%s", f.precision, suffix);
    } else {
        /* One-byte floats too: the common E4M3 has no infinities, which HDF5's description of a
         * type cannot say, so its largest values would come out wrong. */
        found->content = ENGRAM_CONTENT_OTHER;
        snprintf(found->name, sizeof found->name, "float of %zu bits", f.precision);
    }
}

/* The values of an enumeration's two members are 0 and 1. */
static bool is_two_valued(hid_t type, hid_t base)
{
    int64_t values[2] = {0};

    if (H5Tget_nmembers(type) != 2 || H5Tget_size(type) > sizeof values[0]) {
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (H5Tget_member_value(type, i, &values[i]) < 0 ||
            H5Tconvert(base, H5T_NATIVE_INT64, 1, &values[i], NULL, H5P_DEFAULT) < 0) {
            return false;
        }
    }
    return (values[0] == 0 && values[1] == 1) || (values[0] == 1 && values[1] == 0);
}

/* h5py and others store bool as an enumeration; one with other values is read as its numbers. */
static void classify_enum(hid_t type, struct engram_h5_type *found)
{
    hid_t base = H5Tget_super(type);

    found->content = ENGRAM_CONTENT_OTHER;
    if (base >= 0) {
        classify_integer(base, found);
        if (found->content == ENGRAM_CONTENT_NUMERIC && is_two_valued(type, base)) {
            found->bits = ENGRAM_BITS_BOOL;
        }
        (void)H5Tclose(base);
    }
    if (found->bits == ENGRAM_BITS_BOOL) {
        snprintf(found->name, sizeof found->name, "bool");
    } else if (found->content == ENGRAM_CONTENT_NUMERIC) {
        char integer[24];
        snprintf(integer, sizeof integer, "%.23s", found->name);
        snprintf(found->name, sizeof found->name, "enumeration (%s)", integer);
    } else {
        set_other(found, "enumeration");
    }
}

/* PyTables stores bool as a bit field of one byte. */
static void classify_bitfield(hid_t type, struct engram_h5_type *found)
{
    if (H5Tget_size(type) == 1 && H5Tget_precision(type) == 8) {
        set_plain(found, ENGRAM_U8, "bool (bit field)", "");
        found->bits = ENGRAM_BITS_BOOL;
    } else {
        set_other(found, "bit field");
    }
}

struct named_type {
    const char *names[4];
    size_t bytes;
    enum engram_dtype dtype;
    enum engram_h5_encoding encoding;
};

static const struct named_type *named_type(const char *name)
{
    static const struct named_type types[] = {
        {{"float16", "f16", "half"}, 2, ENGRAM_F16, ENGRAM_ENCODING_PLAIN},
        {{"bfloat16", "bf16"}, 2, ENGRAM_F32, ENGRAM_ENCODING_BFLOAT16},
        {{"float32", "f32", "float"}, 4, ENGRAM_F32, ENGRAM_ENCODING_PLAIN},
        {{"float64", "f64", "double"}, 8, ENGRAM_F64, ENGRAM_ENCODING_PLAIN},
        {{"int8", "i8"}, 1, ENGRAM_I8, ENGRAM_ENCODING_PLAIN},
        {{"uint8", "u8"}, 1, ENGRAM_U8, ENGRAM_ENCODING_PLAIN},
        {{"int16", "i16"}, 2, ENGRAM_I16, ENGRAM_ENCODING_PLAIN},
        {{"uint16", "u16"}, 2, ENGRAM_U16, ENGRAM_ENCODING_PLAIN},
        {{"int32", "i32"}, 4, ENGRAM_I32, ENGRAM_ENCODING_PLAIN},
        {{"uint32", "u32"}, 4, ENGRAM_U32, ENGRAM_ENCODING_PLAIN},
        {{"int64", "i64"}, 8, ENGRAM_I64, ENGRAM_ENCODING_PLAIN},
        {{"uint64", "u64"}, 8, ENGRAM_U64, ENGRAM_ENCODING_PLAIN},
        {{"bits"}, 1, ENGRAM_U8, ENGRAM_ENCODING_PLAIN},
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (int j = 0; j < 4 && types[i].names[j] != NULL; j++) {
            if (strcmp(name, types[i].names[j]) == 0) {
                return &types[i];
            }
        }
    }
    return NULL;
}

bool engram_h5_names_type(const char *name)
{
    return named_type(name) != NULL;
}

bool engram_h5_read_as(const char *name, size_t bytes, struct engram_h5_type *found)
{
    const struct named_type *type = named_type(name);

    if (type == NULL || !found->raw || type->bytes != bytes) {
        return false;
    }
    found->content = ENGRAM_CONTENT_NUMERIC;
    found->dtype = type->dtype;
    found->encoding = type->encoding;
    found->bits = strcmp(name, "bits") == 0 ? ENGRAM_BITS_PACKED : ENGRAM_BITS_NONE;
    snprintf(found->name, sizeof found->name, "%s", type->names[0]);
    return true;
}

bool engram_h5_is_swapped(hid_t type)
{
    H5T_order_t order = H5Tget_order(type);

    return H5Tget_size(type) > 1 && (order == H5T_ORDER_LE || order == H5T_ORDER_BE) &&
           order != H5Tget_order(H5T_NATIVE_INT);
}

hid_t engram_h5_native_order(hid_t type)
{
    /* The order of an enumeration cannot be changed, but HDF5 converts it to its integers. A
     * committed type's copy can be changed. */
    hid_t native = H5Tget_class(type) == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type);

    if (native >= 0 && engram_h5_is_swapped(native) &&
        H5Tset_order(native, H5Tget_order(H5T_NATIVE_INT)) < 0) {
        (void)H5Tclose(native);
        return -1;
    }
    return native;
}

void engram_h5_classify(hid_t type, struct engram_h5_type *found)
{
    found->bits = ENGRAM_BITS_NONE;
    found->raw = false;
    found->content = ENGRAM_CONTENT_OTHER;
    found->dtype = ENGRAM_F32;
    found->encoding = ENGRAM_ENCODING_PLAIN;
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        classify_integer(type, found);
        break;
    case H5T_FLOAT:
        classify_float(type, found);
        break;
    case H5T_STRING:
        found->content = ENGRAM_CONTENT_STRINGS;
        if (H5Tis_variable_str(type) > 0) {
            snprintf(found->name, sizeof found->name, "string");
        } else {
            snprintf(found->name, sizeof found->name, "string of %zu bytes", H5Tget_size(type));
        }
        break;
    case H5T_ENUM:
        classify_enum(type, found);
        break;
    case H5T_BITFIELD:
        classify_bitfield(type, found);
        break;
    case H5T_COMPOUND:
        set_other(found, "compound");
        break;
    case H5T_ARRAY:
        set_other(found, "array");
        break;
    case H5T_VLEN:
        set_other(found, "variable-length sequence");
        break;
    case H5T_OPAQUE:
        set_other(found, "opaque");
        found->raw = true;
        break;
    case H5T_REFERENCE:
        set_other(found, "reference");
        break;
    default:
        set_other(found, "unknown type");
        break;
    }
}
