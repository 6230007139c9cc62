# engram-batch: build, test, install. `make help` lists targets and variables.
#
# Sources are found by wildcard, one folder per layer (see src/). Objects go to build/ (the default
# configuration) or build/<configuration>; a change of any flag rebuilds what it touches.

# ---------------------------------------------------------------- variables to set
# CC         compiler: gcc >= 9 or clang                              [cc]
# CFLAGS     optimisation and debug flags; ours are added after it    [-O3 -g]
# LDFLAGS    added to every link                                      []
# DEBUG      1: -O0 -g3, in build/debug                               [0]
# SANITIZE   address,undefined | thread | ..., in build/asan, tsan    []
# WERROR     1: warnings are errors                                   [0]
# HARDEN     0: without the protections that the compiler can add     [1]
# BUILD      folder of objects and products                           [build[/configuration]]
# PREFIX     where `make install` puts things                         [/usr/local]
# DESTDIR    staging root put in front of PREFIX                      []
# HDF5_DIR   root of an HDF5 installation                             [found, see scripts/find-hdf5.sh]
# NO_LIBDEFLATE 1: inflate by zlib even where libdeflate is installed [0]
# MPI        1: also engram-batch-mpi, for several processes          [0]
# MPICC      the compiler that knows MPI                             [mpicc]
# PYTHON     interpreter with h5py and numpy, for the tests           [found]
# NO_INSTALL 1: test, demo, check and bench never install anything    [0]
# BENCH      options of `make bench`, such as --full                  [--quick]
# V          1: show every command                                    [0]
DEBUG ?= 0
V ?= 0
SANITIZE ?=
WERROR ?= 0
HARDEN ?= 1
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=
AR ?= ar
INSTALL ?= install

debug := $(filter-out 0,$(DEBUG))
comma := ,
sanitize := $(subst $(comma), ,$(SANITIZE))

# One word for the configuration; empty for the default one.
sanitize_name := $(if $(filter address,$(sanitize)),asan,$(if $(filter thread,$(sanitize)),tsan,$(subst $(comma),-,$(SANITIZE))))
config := $(if $(debug),debug$(if $(sanitize_name),-))$(sanitize_name)
BUILD ?= build$(if $(config),/$(config))

ifneq ($(debug),)
CFLAGS ?= -O0 -g3
else ifneq ($(sanitize),)
CFLAGS ?= -O1 -g
else
CFLAGS ?= -O3 -g
endif
LDFLAGS ?=

quiet := $(if $(filter-out 0,$(V)),,@)
say = $(if $(quiet),@echo "  $(1) $@")

# What sub-makes and scripts see.
export CC BUILD HDF5_DIR PYTHON NO_INSTALL WERROR

# Sub-makes use all cores unless the user said otherwise.
submake = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 2))

# ---------------------------------------------------------------- targets without a compiler
.PHONY: all test-programs fuzz-targets bench-library demo test check bench soak coverage install uninstall clean help FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

all:

help:
	@sed -n '/^# -* variables to set/,/^DEBUG/{/^#/!d;s/^# \{0,1\}//;p;}' Makefile | sed '1s/.*/Variables (make NAME=value):/;2,$$s/^/  /'
	@printf '%s\n' '' 'Targets:' \
	  '  all        the commands and libraries, in build/ (default)' \
	  '  demo       build, then find the nearest neighbours of a few words in data/' \
	  '  test       unit and black-box tests; installs what they need where it may' \
	  '  check      layers, symbols, headers, format, lint, and the tests under sanitizers' \
	  '  soak       what takes hours: kills, random jobs, faults, damaged files, fuzzing, Slurm' \
	  '  coverage   which lines and branches of src/ the tests run, by gcov' \
	  '  bench      build and run the benchmarks' \
	  '  install    commands, libraries, headers, pkg-config files, man page' \
	  '  uninstall  removes what install put there' \
	  '  clean      removes build/'

demo:
	@scripts/install-deps.sh demo
	+@$(submake) all
	@scripts/demo.sh

test:
	@scripts/install-deps.sh test
	+@$(submake) all test-programs
	@scripts/run-tests.sh

check:
	@scripts/install-deps.sh check
	@scripts/check.sh

bench:
	@scripts/install-deps.sh demo
	+@$(submake) all bench-library
	@scripts/bench.sh $(BENCH)

ifneq ($(wildcard scripts/soak.sh),)
soak:
	@scripts/install-deps.sh test
	+@$(submake) all test-programs
	@scripts/soak.sh
endif

coverage:
	@scripts/install-deps.sh test
	@scripts/coverage.sh

clean:
	rm -rf build

# ---------------------------------------------------------------- everything else
unconfigured := help clean demo test check bench soak coverage uninstall
ifneq ($(filter-out $(unconfigured),$(or $(MAKECMDGOALS),all)),)

VERSION := $(shell sed -n 's/^.define ENGRAM_VERSION "\(.*\)"/\1/p' include/engram/version.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

cc_version := $(shell $(CC) --version 2>/dev/null | head -n 1)
ifeq ($(cc_version),)
$(error no C compiler "$(CC)": run scripts/install-deps.sh, or set CC)
endif
machine := $(shell $(CC) -dumpmachine)
is_x86_64 := $(filter x86_64-% amd64-%,$(machine))
is_arm64 := $(filter aarch64-% arm64-%,$(machine))

ifeq ($(origin HDF5_LIBS),undefined)
HDF5_CFLAGS := $(shell scripts/find-hdf5.sh --cflags 2>/dev/null)
HDF5_LIBS := $(shell scripts/find-hdf5.sh --libs 2>/dev/null)
ifeq ($(HDF5_LIBS),)
$(error $(shell scripts/find-hdf5.sh --libs 2>&1))
endif
endif

# Optional: inflates more than twice as fast as zlib, which stays required.
NO_LIBDEFLATE ?= 0
MPI ?= 0
MPICC ?= mpicc
ifeq ($(filter-out 0,$(NO_LIBDEFLATE)),)
pkg_config := $(or $(PKG_CONFIG),pkg-config)
libdeflate_libs := $(shell $(pkg_config) --libs libdeflate 2>/dev/null)
libdeflate_cflags := $(if $(libdeflate_libs),-DENGRAM_HAVE_LIBDEFLATE $(shell $(pkg_config) --cflags libdeflate 2>/dev/null))
endif

warnings := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wcast-qual -Wformat=2 -Wundef \
            $(if $(filter-out 0,$(WERROR)),-Werror)

# -ffp-contract=off, and no fast-math whatever CFLAGS say: the canonical score is defined bit by
# bit. errno of libm is never looked at; without it sqrt becomes one instruction.
# -fPIC for all: one set of objects serves both kinds of library; hidden symbols make it free.
cflags := -std=c11 -fopenmp -fPIC -fvisibility=hidden -fno-semantic-interposition \
          -ffp-contract=off -fno-fast-math -fno-math-errno \
          $(warnings) -Iinclude -Isrc
ifneq ($(sanitize),)
cflags += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer \
          $(if $(filter undefined,$(sanitize)),-fno-sanitize-recover=undefined)
endif
# What makes a bug harder to exploit and costs nothing that can be measured (src/README.md), as far as
# this compiler knows it. Builds to debug, or with sanitizers, which look closer, go without.
ifeq ($(HARDEN)$(debug)$(sanitize),1)
accepts = $(if $(shell echo 'int main(void) { return 0; }' | $(CC) -O2 -Werror $(1) -x c - -o /dev/null 2>/dev/null && echo y),$(1))
# All at once, which is what most compilers take; else one by one.
accepted = $(or $(call accepts,$(1)),$(foreach f,$(1),$(call accepts,$(f))))
# It needs optimisation, and whoever sets it has set it.
fortify := $(if $(filter -O0,$(CFLAGS))$(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,$(if \
             $(filter -O%,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))
branches := $(call accepted,$(if $(is_x86_64),-fcf-protection=full) $(if $(is_arm64),-mbranch-protection=standard))
harden := $(call accepted,-fstack-protector-strong -fstack-clash-protection) $(branches)
z := -Wl,-z,
harden_link := $(call accepted,$(z)relro $(z)now $(z)noexecstack)
pie := $(call accepted,-pie)
harden += $(fortify)
endif

# Headers of HDF5 (and MPI) are not held to our warnings.
cflags_io := $(patsubst -I%,-isystem %,$(HDF5_CFLAGS))
ldflags := -fopenmp -Wl,--as-needed $(if $(sanitize),-fsanitize=$(SANITIZE)) $(harden_link)
libs := -lm
libs_h5 := $(HDF5_LIBS) $(libdeflate_libs) -lz -ldl -lpthread

# Flags of single files. The table of kernels is chosen at run time, so only these files may use
# instructions beyond the baseline.
isa_avx2 := -mavx2 -mfma -mf16c
isa_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma
foreign := $(if $(is_x86_64),,$(wildcard src/kernels/avx*.c)) \
           $(if $(is_arm64),,src/kernels/neon.c)

sources_of = $(filter-out $(foreign),$(sort $(foreach d,$(1),$(wildcard src/$(d)/*.c))))
objects_of = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(1))

core_src := $(call sources_of,base kernels search)
h5_src := $(filter-out src/job/ranks_mpi.c,$(call sources_of,io job))
cli_src := $(call sources_of,cli)
bench_src := $(call sources_of,bench)
test_src := $(sort $(wildcard tests/unit/test_*.c))

core_a := $(BUILD)/libengram.a
core_so := $(BUILD)/libengram.so.$(VERSION)
h5_a := $(if $(h5_src),$(BUILD)/libengram-h5.a)
h5_so := $(if $(h5_src),$(BUILD)/libengram-h5.so.$(VERSION))
# The commands without their main(): tests link these too.
cli_a := $(if $(cli_src),$(BUILD)/obj/cli.a)
bench_a := $(if $(bench_src),$(BUILD)/obj/bench.a)
commands := $(if $(wildcard src/cli/main.c),$(BUILD)/engram-batch) \
            $(if $(wildcard src/bench/main.c),$(BUILD)/engram-bench) \
            $(if $(filter 1,$(MPI)),$(BUILD)/engram-batch-mpi)
shared := $(core_so) $(h5_so)
shared_links := $(foreach l,$(shared),$(l:.$(VERSION)=.$(SOVERSION)) $(l:.$(VERSION)=))
tests := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(test_src))
fuzz := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

all: $(commands) $(core_a) $(h5_a) $(if $(sanitize),,$(shared) $(shared_links))
test-programs: $(commands) $(tests) $(fuzz)
fuzz-targets: $(fuzz)
bench-library: $(BUILD)/libengram-bench.so

# ---- stamps: rewritten only when their text changes
flags_text := $(cc_version) $(CC) $(CFLAGS) $(cflags) $(harden) $(cflags_io) $(LDFLAGS) $(ldflags) $(pie) $(libs) $(libs_h5) \
              $(libdeflate_cflags) $(isa_avx2) $(isa_avx512)
sources_text := $(core_src) $(h5_src) $(cli_src) $(bench_src)
# (A name of its own: several makes may look at one folder.)
stamp = mkdir -p $(@D); new=$@.$$$$; printf '%s\n' '$(subst ','\'',$(1))' >$$new; \
        if cmp -s $$new $@; then rm $$new; else mv $$new $@; fi
$(BUILD)/obj/flags: FORCE
	@$(call stamp,$(flags_text))
$(BUILD)/obj/sources: FORCE
	@$(call stamp,$(sources_text))

# ---- objects
$(BUILD)/obj/io/%.o: cflags += $(cflags_io)
# Kernels see numbers only, a few of them between call and return.
$(BUILD)/obj/kernels/%.o: harden := $(branches)
$(BUILD)/obj/io/codec.o: cflags += $(patsubst -I%,-isystem %,$(libdeflate_cflags))
ifneq ($(is_x86_64),)
$(BUILD)/obj/kernels/avx2.o $(BUILD)/obj/kernels/avx2_pack.o $(BUILD)/obj/kernels/avx2_bits.o: cflags += $(isa_avx2)
$(BUILD)/obj/kernels/avx512.o $(BUILD)/obj/kernels/avx512_pack.o $(BUILD)/obj/kernels/avx512_bits.o: cflags += $(isa_avx512)
endif
$(BUILD)/obj/%.o: src/%.c $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(quiet)$(CC) $(CPPFLAGS) $(CFLAGS) $(cflags) $(harden) -MMD -MP -c -o $@ $<

# ---- libraries and commands
archive = rm -f $@; $(AR) rcs $@ $(filter %.o,$^)
$(core_a): $(call objects_of,$(core_src)) $(BUILD)/obj/sources
	$(call say,AR)
	$(quiet)$(archive)
$(BUILD)/libengram-h5.a: $(call objects_of,$(h5_src)) $(BUILD)/obj/sources
	$(call say,AR)
	$(quiet)$(archive)
$(BUILD)/obj/cli.a: $(call objects_of,$(filter-out %/main.c,$(cli_src))) $(BUILD)/obj/sources
	$(call say,AR)
	$(quiet)$(archive)
$(BUILD)/obj/bench.a: $(call objects_of,$(filter-out %/main.c,$(bench_src))) $(BUILD)/obj/sources
	$(call say,AR)
	$(quiet)$(archive)

link_shared = $(CC) $(CFLAGS) $(LDFLAGS) $(ldflags) -shared -Wl,--version-script=scripts/exports.map \
              -Wl,-soname,$(notdir $(@:.$(VERSION)=.$(SOVERSION)))
$(core_so): $(call objects_of,$(core_src)) $(BUILD)/obj/sources scripts/exports.map
	$(call say,LD)
	$(quiet)$(link_shared) -Wl,-z,defs -o $@ $(filter %.o,$^) $(libs)
# Calls of the public functions go to libengram.so; the few hidden helpers of src/base that files
# and jobs use too come from the archive, and stay hidden.
$(BUILD)/libengram-h5.so.$(VERSION): $(call objects_of,$(h5_src)) $(core_so) $(core_a) $(BUILD)/obj/sources scripts/exports.map
	$(call say,LD)
	$(quiet)$(link_shared) -Wl,-z,defs -Wl,--exclude-libs,libengram.a -o $@ \
	  $(filter %.o,$^) $(core_so) $(core_a) $(libs_h5) $(libs)
# For scripts/bench.py: searches go through libengram.so, only the yardsticks come from here.
$(BUILD)/libengram-bench.so: $(patsubst %,$(BUILD)/obj/bench/%.o,shared rates util) $(core_so) $(core_a) $(BUILD)/obj/sources $(shared_links)
	$(call say,LD)
	$(quiet)$(link_shared) -Wl,-z,defs -Wl,-rpath,'$$ORIGIN' -Wl,--exclude-libs,libengram.a -o $@ \
	  $(filter %.o,$^) $(core_so) $(core_a) $(libs)
$(BUILD)/%.so.$(SOVERSION): $(BUILD)/%.so.$(VERSION)
	@ln -sf $(notdir $<) $@
$(BUILD)/%.so: $(BUILD)/%.so.$(VERSION)
	@ln -sf $(notdir $<) $@

archives = $(filter %.a,$^)
$(BUILD)/engram-batch: $(BUILD)/obj/cli/main.o $(cli_a) $(h5_a) $(core_a)
	$(call say,LD)
	$(quiet)$(CC) $(CFLAGS) $(LDFLAGS) $(ldflags) $(pie) -o $@ $< $(archives) $(libs_h5) $(libs)
# The same command with one object in place of ranks_one.o, which nobody asks the archive for then.
# The compiler behind mpicc is ours: OMPI_CC for Open MPI, MPICH_CC for MPICH and its kin.
mpicc := OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPICC)
$(BUILD)/obj/job/ranks_mpi.o: src/job/ranks_mpi.c $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(quiet)$(mpicc) $(CPPFLAGS) $(CFLAGS) $(cflags) -MMD -MP -c -o $@ $<
$(BUILD)/engram-batch-mpi: $(BUILD)/obj/cli/main.o $(BUILD)/obj/job/ranks_mpi.o $(cli_a) $(h5_a) $(core_a)
	$(call say,LD)
	$(quiet)$(mpicc) $(CFLAGS) $(LDFLAGS) $(ldflags) $(pie) -o $@ $(filter %.o,$^) $(archives) $(libs_h5) $(libs)
$(BUILD)/engram-bench: $(BUILD)/obj/bench/main.o $(bench_a) $(h5_a) $(core_a)
	$(call say,LD)
	$(quiet)$(CC) $(CFLAGS) $(LDFLAGS) $(ldflags) $(pie) -o $@ $< $(archives) $(libs_h5) $(libs)

# ---- unit tests: one program each; tests/unit/test_x.flags may hold more flags or files
test_flags = $(shell sed 's/\#.*//' tests/unit/$*.flags 2>/dev/null)
.SECONDEXPANSION:
$(BUILD)/tests/%: tests/unit/%.c $$(wildcard tests/unit/$$*.flags) $(cli_a) $(bench_a) $(h5_a) $(core_a) $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(quiet)$(CC) $(CPPFLAGS) $(CFLAGS) $(cflags) $(cflags_io) -Itests/unit -MMD -MP -MF $@.d $(LDFLAGS) $(ldflags) \
	  -o $@ $< $(test_flags) $(archives) $(libs_h5) -lcmocka $(libs)

# ---- fuzz targets: with SANITIZE=fuzzer-no-link,... (clang) for libFuzzer, else to replay files
fuzz_shared := tests/fuzz/fuzz.c $(if $(filter fuzzer%,$(sanitize)),,tests/fuzz/replay.c)
fuzz_h5 := tests/fuzz/h5_target.c tests/fuzz/image.c tests/fuzz/isolate.c
$(patsubst %,$(BUILD)/fuzz/%,layout reader column result merge): $(fuzz_h5)
$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(fuzz_shared) $(wildcard tests/fuzz/*.h) $(cli_a) $(h5_a) $(core_a) $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(quiet)$(CC) $(CPPFLAGS) $(CFLAGS) $(cflags) $(cflags_io) -Itests/fuzz $(LDFLAGS) $(ldflags) \
	  $(if $(filter fuzzer%,$(sanitize)),-fsanitize=fuzzer) -o $@ $(filter %.c,$^) $(archives) $(libs_h5) $(libs)

-include $(patsubst %.o,%.d,$(call objects_of,$(core_src) $(h5_src) $(cli_src) $(bench_src)))
-include $(BUILD)/obj/job/ranks_mpi.d
-include $(addsuffix .d,$(tests))

# ---- installation
pc_edit = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
              -e 's|@VERSION@|$(VERSION)|' -e 's|@HDF5_LIBS@|$(strip $(HDF5_LIBS) $(libdeflate_libs))|'
dest_lib := $(DESTDIR)$(LIBDIR)
install: all
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(dest_lib)/pkgconfig $(DESTDIR)$(INCLUDEDIR)/engram $(DESTDIR)$(MANDIR)/man1
	$(INSTALL) -m 755 $(commands) $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 644 $(core_a) $(h5_a) $(dest_lib)
	$(INSTALL) -m 755 $(shared) $(dest_lib)
	for l in $(notdir $(shared)); do \
	  ln -sf $$l $(dest_lib)/$${l%.$(VERSION)}.$(SOVERSION); ln -sf $$l $(dest_lib)/$${l%.$(VERSION)}; done
	$(INSTALL) -m 644 include/engram/*.h $(DESTDIR)$(INCLUDEDIR)/engram
	$(pc_edit) scripts/engram.pc.in >$(dest_lib)/pkgconfig/engram.pc
	$(pc_edit) scripts/engram-h5.pc.in >$(dest_lib)/pkgconfig/engram-h5.pc
	$(BUILD)/engram-batch --print-man-page >$(DESTDIR)$(MANDIR)/man1/engram-batch.1

endif

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/engram-batch $(DESTDIR)$(BINDIR)/engram-bench
	rm -f $(DESTDIR)$(LIBDIR)/libengram.a $(DESTDIR)$(LIBDIR)/libengram.so*
	rm -f $(DESTDIR)$(LIBDIR)/libengram-h5.a $(DESTDIR)$(LIBDIR)/libengram-h5.so*
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/engram.pc $(DESTDIR)$(LIBDIR)/pkgconfig/engram-h5.pc
	rm -f $(DESTDIR)$(MANDIR)/man1/engram-batch.1
	rm -rf $(DESTDIR)$(INCLUDEDIR)/engram
