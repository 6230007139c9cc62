#include "io/h5type.h"

#include <stdbool.h>
#include <stdio.h>

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

    if (precision == 8 * bytes && (is_signed || sign == H5T_SGN_NONE) && has_plain_order(type)) {
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

static bool get_fields(hid_t type, struct float_fields *f)
{
    f->bytes = H5Tget_size(type);
    f->precision = H5Tget_precision(type);
    f->bias = H5Tget_ebias(type);
    f->implied = H5Tget_norm(type) == H5T_NORM_IMPLIED;
    return f->bytes > 0 && H5Tget_fields(type, &f->sign_at, &f->exponent_at, &f->exponent_bits,
                                         &f->mantissa_at, &f->mantissa_bits) >= 0;
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
        snprintf(found->name, sizeof found->name, "float of %zu bits%s", f.precision, suffix);
    } else {
        /* One-byte floats too: the common E4M3 has no infinities, which HDF5's description of a
         * type cannot say, so its largest values would come out wrong. */
        found->content = ENGRAM_CONTENT_OTHER;
        snprintf(found->name, sizeof found->name, "float of %zu bits", f.precision);
    }
}

void engram_h5_classify(hid_t type, struct engram_h5_type *found)
{
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
        set_other(found, "enumeration");
        break;
    case H5T_BITFIELD:
        set_other(found, "bit field");
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
        break;
    case H5T_REFERENCE:
        set_other(found, "reference");
        break;
    default:
        set_other(found, "unknown type");
        break;
    }
}
